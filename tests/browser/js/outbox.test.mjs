import assert from "node:assert/strict";
import test from "node:test";

import { Outbox } from "../../../src/goldenpath/runtime/gateway/pages/js/outbox.js";

function memory() {
  const values = new Map();
  return {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => values.set(key, value),
    removeItem: (key) => values.delete(key),
  };
}

const entry = (run_id, thread_id = "t") => ({ run_id, thread_id, agent: "echo", text: `text of ${run_id}` });

test("a reload finds what was not begun, in order", () => {
  const storage = memory();
  const outbox = new Outbox(storage, "u");
  outbox.add(entry("r1"));
  outbox.add(entry("r2"));
  outbox.mark("r2", "accepted");
  outbox.remove("r1");
  assert.deepEqual(new Outbox(storage, "u").entries.map((found) => [found.run_id, found.status]), [["r2", "accepted"]]);
});

test("users do not see each other's", () => {
  const storage = memory();
  new Outbox(storage, "u").add(entry("r1"));
  assert.deepEqual(new Outbox(storage, "v").entries, []);
});

test("entries belong to a thread", () => {
  const outbox = new Outbox(memory(), "u");
  outbox.add(entry("r1", "t1"));
  outbox.add(entry("r2", "t2"));
  assert.deepEqual(outbox.of("t2").map((found) => found.run_id), ["r2"]);
  outbox.removeThread("t2");
  assert.deepEqual(outbox.entries.map((found) => found.run_id), ["r1"]);
});

test("a run is asked for by its text, or by an input that names it", () => {
  const outbox = new Outbox(memory(), "u");
  const typed = outbox.add(entry("r1"));
  assert.deepEqual(Outbox.command(typed), { agent: "echo", thread_id: "t", run_id: "r1", text: "text of r1" });
  const answer = outbox.add({ run_id: "r2", thread_id: "t", agent: "echo", input: { messages: [], resume: [] } });
  assert.deepEqual(Outbox.command(answer), {
    agent: "echo",
    thread_id: "t",
    run_id: "r2",
    input: { messages: [], resume: [], threadId: "t", runId: "r2" },
  });
});

test("a full storage loses nothing while the page lives", () => {
  const storage = { ...memory(), setItem: () => { throw new Error("QuotaExceededError"); } };
  const outbox = new Outbox(storage, "u");
  outbox.add(entry("r1"));
  assert.equal(outbox.entries.length, 1);
});
