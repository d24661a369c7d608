import assert from "node:assert/strict";
import { test } from "node:test";

import { Feed } from "../../../src/goldenpath/runtime/gateway/pages/js/dashboard/feed.js";
import { flagCall, flagState } from "../../../src/goldenpath/runtime/gateway/pages/js/dashboard/flags.js";
import { ago, bytes, milliseconds, number, plural, seconds } from "../../../src/goldenpath/runtime/gateway/pages/js/dashboard/format.js";
import { timeline } from "../../../src/goldenpath/runtime/gateway/pages/js/dashboard/timeline.js";
import { verdict } from "../../../src/goldenpath/runtime/gateway/pages/js/dashboard/verdict.js";

const SERVICE = { state: "ready", log_healthy: true, breaches: [], dependencies: [], environment: "testing", version: "1" };
const LIVE = { connected: true, stale: false };

function snapshot(time, sections = {}) {
  return { type: "snapshot", sample: { time, runs_running: time }, sections };
}

// --- numbers --------------------------------------------------------------------------------------------------------

test("numbers have few digits and their unit, and what is unknown is a dash", () => {
  assert.deepEqual([0, 0.0421, 4.21, 42.1, 421.4, 4214].map(number), ["0", "0.042", "4.2", "42", "421", "4,214"]);
  assert.deepEqual([0.42, 42, 1234, 130_000].map(milliseconds), ["0.42 ms", "42 ms", "1.2 s", "2.2 min"]);
  assert.deepEqual([812, 4210, 12_000_000].map(bytes), ["812 B", "4.2 KB", "12 MB"]);
  for (const format of [number, milliseconds, seconds, bytes]) assert.equal(format(null), "–");
  assert.equal(seconds(0.0421), "42 ms");
  assert.deepEqual([-5, 4000, 130_000, 7_300_000, 200_000_000].map(ago), ["0 s ago", "4 s ago", "2 min ago", "2 h ago", "2 days ago"]);
  assert.deepEqual([plural(1, "run"), plural(2, "run")], ["1 run", "2 runs"]);
});

// --- the feed -------------------------------------------------------------------------------------------------------

test("snapshots go on where the history ends, and none counts twice", () => {
  const feed = new Feed();
  feed.take({ type: "history", identities: true, columns: { time: [1, 2], runs_running: [1, 2] } }, 0);
  assert.deepEqual(feed.take(snapshot(2, { flags: 1 }), 0), ["flags"]);
  assert.deepEqual(feed.take(snapshot(3), 10), []);
  assert.deepEqual(feed.columns, { time: [1, 2, 3], runs_running: [1, 2, 3] });
  assert.deepEqual([feed.identities, feed.sections, feed.heard], [true, { flags: 1 }, 10]);
  assert.equal(feed.take({ type: "somebody else's" }, 99), null);
  assert.equal(feed.heard, 10);
});

test("ten minutes are kept, and a figure that is new begins with nothing", () => {
  const feed = new Feed();
  for (let time = 1; time <= 700; time++) feed.take(snapshot(time), time);
  assert.deepEqual([feed.columns.time.length, feed.columns.time[0]], [600, 101]);
  feed.take({ type: "snapshot", sample: { time: 701, fresh: 5 }, sections: {} }, 701);
  assert.deepEqual([feed.columns.fresh.length, feed.columns.fresh.at(-1), feed.columns.fresh.at(-2)], [600, 5, null]);
});

test("after a reconnect the history replaces what was known, and the gap is filled", () => {
  const feed = new Feed();
  feed.take(snapshot(1), 0);
  feed.take({ type: "history", identities: false, columns: { time: [1, 2, 3], runs_running: [1, 2, 3] } }, 9);
  assert.deepEqual(feed.columns.time, [1, 2, 3]);
});

test("what was heard long ago is stale; what never was is not", () => {
  const feed = new Feed();
  assert.equal(feed.stale(10 ** 9), false);
  feed.take(snapshot(1), 1000);
  assert.deepEqual([feed.stale(5000), feed.stale(5001)], [false, true]);
});

// --- the verdict ----------------------------------------------------------------------------------------------------

test("without news nothing is well, whatever was told before", () => {
  assert.equal(verdict({}, LIVE).level, "unknown");
  assert.equal(verdict({ service: SERVICE }, { connected: false, stale: false }).level, "unknown");
  assert.equal(verdict({ service: SERVICE }, { connected: true, stale: true }).level, "unknown");
  assert.equal(verdict({ service: SERVICE }, LIVE).level, "good");
});

test("what is bad goes before what warns, and each reason leads somewhere", () => {
  const alert = (name, state) => ({ name, state, summary: "slow" });
  const told = {
    service: { ...SERVICE, breaches: ["connect_p95_ms < 5000"], dependencies: [{ what: "redis", verdict: "waiting", found: "no answer" }] },
    alerts: { alerts: [alert("a", "pending"), alert("b", "firing"), alert("c", "inactive")], history: [] },
    degradation: { level: "shed_low", meaning: "Less.", forced: true },
    breakers: [{ dependency: "model:x", breaker: { state: "open", forced: null } }, { dependency: "y", breaker: { state: "open", forced: "closed" } }],
    rollback: { in_effect: ["flags"] },
    overload: { taken: 0.4 },
    flags: { problem: null },
  };
  const { level, reasons } = verdict(told, LIVE);
  assert.equal(level, "bad");
  assert.deepEqual(reasons.map((reason) => reason.level), ["bad", "bad", "warn", "warn", "warn", "warn", "warn", "warn"]);
  assert.deepEqual(reasons.slice(0, 2).map((reason) => reason.to), ["figures", "alerts"]);
  assert.match(reasons.map((reason) => reason.text).join(" "), /1 dependency may not be asked: model:x\./);
  assert.equal(verdict({ ...told, service: SERVICE, alerts: { alerts: [] } }, LIVE).level, "warn");
});

test("a server that drains, is not ready, or cannot write serves nobody well", () => {
  for (const change of [{ state: "draining" }, { state: "not_ready" }, { log_healthy: false }]) {
    assert.equal(verdict({ service: { ...SERVICE, ...change } }, LIVE).level, "bad");
  }
});

// --- flags ----------------------------------------------------------------------------------------------------------

const RULE = { stage: "full", percent: null, variant: null, tiers: [], environments: [], why: "", by: "" };
const flag = (facts) => ({ name: "f", description: "", default: false, variants: null, rule: null, ...facts });

test("a flag is on or off for everybody, or somewhere between", () => {
  assert.equal(flagState(flag({ default: true })).kind, "on");
  assert.equal(flagState(flag({})).kind, "off");
  assert.equal(flagState(flag({ rule: RULE })).kind, "on");
  assert.equal(flagState(flag({ default: true, rule: { ...RULE, stage: "off" } })).kind, "off");
  assert.deepEqual(flagState(flag({ rule: { ...RULE, stage: "canary" } })), { kind: "partial", text: "On for internal users and 10 %" });
  assert.equal(flagState(flag({ rule: { ...RULE, percent: 30, tiers: ["pro"] } })).text, "On for 30 % of the tiers pro");
  assert.equal(flagState(flag({ rule: { ...RULE, environments: ["staging"] } })).text, "On for everybody in staging");
  const variants = { default: "a", variants: { a: 1, b: 2 } };
  assert.deepEqual(flagState(flag(variants)), { kind: "variant", text: "a" });
  assert.equal(flagState(flag({ ...variants, rule: { ...RULE, variant: "b" } })).text, "b for everybody, else a");
});

test("switching to the default takes the rule away, anything else sets one", () => {
  const on = flag({ name: "agent.a b", default: true });
  assert.deepEqual(flagCall(on, false, "why"), { method: "PUT", path: "v1/admin/flags/agent.a%20b", body: { stage: "off", why: "why" } });
  assert.deepEqual(flagCall(on, true, "a & b"), { method: "DELETE", path: "v1/admin/flags/agent.a%20b?why=a+%26+b" });
  assert.equal(flagCall(flag({}), true, "x").body.stage, "full");
  assert.equal(flagCall(flag({}), null, "x").method, "DELETE");
});

// --- timelines ------------------------------------------------------------------------------------------------------

const moments = (...pairs) => pairs.map(([what, after]) => ({ what, after }));

test("a run that ended is phases and steps on one scale", () => {
  const told = {
    run: { queue_wait: 1, duration: 4 },
    moments: moments(["accepted", 0], ["has its place", 1], ["history loaded", 1.5], ["engine made", 2], ["first words", 2.5], ["ended", 5]),
    steps: [{ kind: "tool", name: "search", began: 3, ended: 4, failed: false }, { kind: "call", name: "model:x", began: 4, ended: null, failed: false }],
  };
  const { rows, length } = timeline(told);
  assert.equal(length, 5);
  assert.deepEqual(rows.map(({ name, from, to, open }) => [name, from, to, open]), [
    ["waits in the queue", 0, 1, false],
    ["history is loaded", 1, 1.5, false],
    ["engine is made", 1.5, 2, false],
    ["agent works", 2, 5, false],
    ["search", 3, 4, false],
    ["model:x", 4, 5, true],
  ]);
});

test("a run that waits, and one that never began, have a queue and nothing else", () => {
  const waiting = timeline({ run: { queue_wait: 3, duration: null }, moments: moments(["accepted", 0]), steps: [] });
  assert.deepEqual(waiting.rows.map(({ name, to, open }) => [name, to, open]), [["waits in the queue", 3, true]]);
  const cancelled = timeline({ run: { queue_wait: 2, duration: null }, moments: moments(["accepted", 0], ["ended", 2]), steps: [] });
  assert.deepEqual(cancelled.rows.map(({ to, open }) => [to, open]), [[2, false]]);
  assert.ok(timeline({ run: { queue_wait: 0, duration: null }, moments: moments(["accepted", 0], ["ended", 0]), steps: [] }).length > 0);
});
