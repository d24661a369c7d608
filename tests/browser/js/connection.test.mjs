import assert from "node:assert/strict";
import test from "node:test";

import { Connection } from "../../../src/goldenpath/runtime/gateway/pages/js/connection.js";
import { Problem } from "../../../src/goldenpath/runtime/gateway/pages/js/http.js";
import { afterClose, delay } from "../../../src/goldenpath/runtime/gateway/pages/js/reconnect.js";
import { ManualClock, settle } from "./manual_clock.mjs";

const WELCOME = {
  type: "welcome",
  protocol: 1,
  connection_id: "c",
  user_id: "u",
  heartbeat: 25,
  limits: { max_message_bytes: 1000, max_attached_threads: 64, max_running: 2, max_queued: 16 },
};

/** The browser's end of a socket, with the network played by the test. */
class Socket {
  sent = [];
  closed = false;

  send(line) {
    this.sent.push(JSON.parse(line));
  }

  close() {
    this.closed = true;
  }

  /** The server sends frames in one message. */
  receive(...frames) {
    this.onmessage?.({ data: frames.map((frame) => JSON.stringify(frame)).join("\n") });
  }

  drop(code) {
    this.onclose?.({ code, reason: "" });
  }

  /** The commands of one kind, in order. */
  ops(op) {
    return this.sent.filter((command) => command.op === op);
  }
}

class Page {
  clock = new ManualClock();
  sockets = [];
  states = [];
  events = [];
  calls = [];
  hints = [];
  token = async () => "token";

  constructor() {
    const note = (name) => (...facts) => this.calls.push([name, ...facts]);
    this.connection = new Connection({
      open: (token) => {
        const socket = new Socket();
        socket.token = token;
        this.sockets.push(socket);
        return socket;
      },
      token: (hint) => {
        this.hints.push(hint);
        return this.token(hint);
      },
      clock: this.clock,
      random: () => 0.5,
      on: {
        state: (state) => this.states.push(state.kind),
        event: (threadId, frame) => this.events.push(`${threadId} ${frame.seq}`),
        deleted: note("deleted"),
        missing: note("missing"),
        problem: note("problem"),
        expiring: note("expiring"),
      },
    });
  }

  get socket() {
    return this.sockets.at(-1);
  }

  get state() {
    return this.connection.state.kind;
  }

  async open() {
    this.connection.connect();
    await this.welcome();
  }

  async welcome() {
    await settle();
    this.socket.receive(WELCOME);
    await settle();
  }

  /** Answer the last attach. */
  attached(threadId, { epoch = "e", seq, gap = false }) {
    const command = this.socket.ops("attach").filter((attach) => attach.thread_id === threadId).at(-1);
    return { re: command.id, ok: true, thread_id: threadId, epoch, seq, head: seq, gap };
  }

  async following(threadId, seq) {
    await this.open();
    this.connection.follow(threadId, { epoch: "e", seq });
    this.socket.receive(this.attached(threadId, { seq }));
  }
}

const frame = (seq, type = "TEXT_MESSAGE_CONTENT", threadId = "t") => ({
  thread_id: threadId,
  run_id: type === "MESSAGES_SNAPSHOT" ? null : "r",
  seq,
  event: { type },
});

test("the close codes decide what follows", () => {
  const actions = [4400, 4401, 4403, 4409, 4429, 4500, 4503, 4508, 1000, 1001, 1006, 1009].map(afterClose);
  assert.deepEqual(actions, [
    "stop", "renew", "stop", "stop", "stop", "wait", "wait", "wait", "wait", "soon", "wait", "wait",
  ]);
});

test("waits double up to half a minute, and half of each is drawn", () => {
  assert.deepEqual([0, 1, 2, 3].map((attempt) => delay(attempt, () => 1)), [500, 1000, 2000, 4000]);
  assert.equal(delay(2, () => 0), 1000);
  assert.equal(delay(99, () => 1), 30_000);
});

test("says connected only after the welcome", async () => {
  const page = new Page();
  page.connection.connect();
  await settle();
  assert.equal(page.state, "connecting");
  await page.welcome();
  assert.equal(page.state, "connected");
  assert.equal(page.connection.maxMessageBytes, 1000);
});

test("several frames in one message are taken in order, also right behind their reply", async () => {
  const page = new Page();
  await page.open();
  page.connection.follow("t", { epoch: "e", seq: 2 });
  page.socket.receive(page.attached("t", { seq: 2 }), frame(3), frame(4));
  assert.deepEqual(page.events, ["t 3", "t 4"]);
});

test("a run on a new thread shows its events from the first on, in the message of the reply too", async () => {
  const page = new Page();
  await page.open();
  page.connection.follow("t", null);
  page.connection.run({ agent: "echo", thread_id: "t", run_id: "r", text: "x" });
  const [command] = page.socket.ops("run");
  assert.equal(page.socket.ops("attach").length, 0);
  page.socket.receive(
    { re: command.id, ok: true, thread_id: "t", run_id: "r", status: "running", epoch: "e", seq: 0 },
    frame(1, "RUN_STARTED"),
  );
  assert.deepEqual(page.events, ["t 1"]);
});

test("after a cut it attaches after the last event seen, once for each thread", async () => {
  const page = new Page();
  await page.following("t", 5);
  page.socket.receive(frame(6));
  page.socket.drop(1006);
  assert.equal(page.state, "waiting");
  await page.clock.advance(500);
  await page.welcome();
  assert.deepEqual(page.socket.ops("attach").map((command) => command.after), [{ epoch: "e", seq: 6 }]);
  page.socket.receive(page.attached("t", { seq: 6 }), frame(7));
  assert.deepEqual(page.events, ["t 6", "t 7"]);
});

test("an event out of order is dropped, and the thread is attached again", async () => {
  const page = new Page();
  await page.following("t", 5);
  page.socket.receive(frame(7), frame(8));
  assert.deepEqual(page.events, []);
  assert.deepEqual(page.socket.ops("attach").map((command) => command.after.seq), [5, 5]);
  page.socket.receive(page.attached("t", { seq: 5 }), frame(6), frame(7));
  assert.deepEqual(page.events, ["t 6", "t 7"]);
});

test("a server that is out of step for good is left, and tried again later", async () => {
  const page = new Page();
  await page.following("t", 5);
  for (let round = 0; round < 4 && !page.socket.closed; round++) {
    page.socket.receive(frame(9));
    if (!page.socket.closed) page.socket.receive(page.attached("t", { seq: 5 }));
  }
  assert.equal(page.socket.closed, true);
  assert.equal(page.state, "waiting");
});

test("a run without an answer is sent again with its run id, after the attach", async () => {
  const page = new Page();
  await page.following("t", 5);
  const reply = page.connection.run({ agent: "echo", thread_id: "t", run_id: "r1", text: "x" });
  page.socket.drop(1006);
  await page.clock.advance(500);
  await page.welcome();
  assert.deepEqual(page.socket.sent.map((command) => command.op), ["attach", "run"]);
  const [command] = page.socket.ops("run");
  assert.equal(command.run_id, "r1");
  page.socket.receive({ re: command.id, ok: true, thread_id: "t", run_id: "r1", status: "queued", epoch: "e", seq: 5 });
  assert.equal((await reply).status, "queued");
  page.socket.drop(1006);
  await page.clock.advance(2000);
  await page.welcome();
  assert.equal(page.socket.ops("run").length, 0);
});

test("a run asked for without a connection is sent when there is one", async () => {
  const page = new Page();
  page.connection.connect();
  page.connection.run({ agent: "echo", thread_id: "t", run_id: "r1", text: "x" });
  await page.welcome();
  assert.equal(page.socket.ops("run").length, 1);
});

test("a run refused because the server drains waits for the next server", async () => {
  const page = new Page();
  await page.following("t", 5);
  page.connection.run({ agent: "echo", thread_id: "t", run_id: "r1", text: "x" });
  const [command] = page.socket.ops("run");
  page.socket.receive({ re: command.id, ok: false, error: { code: "draining", message: "", retryable: true } });
  page.socket.drop(1001);
  await page.clock.advance(500);
  await page.welcome();
  assert.equal(page.socket.ops("run")[0].run_id, "r1");
});

test("a refused run rejects with what the server said", async () => {
  const page = new Page();
  await page.open();
  const reply = page.connection.run({ agent: "echo", thread_id: "t", run_id: "r1", text: "x" });
  page.socket.receive({
    re: 1,
    ok: false,
    error: { code: "quota_exceeded", message: "full", retryable: true, definite: true, retry_after: 1.5 },
  });
  await assert.rejects(reply, { code: "quota_exceeded", retryable: true, retryAfter: 1.5 });
});

test("with 4401 the token is renewed and the connection comes back at once", async () => {
  const page = new Page();
  await page.following("t", 5);
  page.token = async ({ rejected }) => (rejected === "token" ? "newer" : "token");
  page.socket.drop(4401);
  await page.welcome();
  assert.equal(page.socket.token, "newer");
  assert.equal(page.state, "connected");
});

test("4401 again and again waits longer and longer instead of spinning", async () => {
  const page = new Page();
  await page.open();
  page.socket.drop(4401);
  await page.welcome();
  page.socket.drop(4401);
  assert.equal(page.state, "waiting");
});

test("without a login it stops", async () => {
  const page = new Page();
  page.token = async () => {
    throw new Problem({ code: "unauthorized", message: "over", status: 401 });
  };
  page.connection.connect();
  await settle();
  assert.equal(page.state, "stopped");
  assert.equal(page.clock.next, null);
});

test("other 44xx codes stop it until the user asks again", async () => {
  const page = new Page();
  await page.open();
  page.socket.drop(4429);
  assert.deepEqual(page.connection.state, { kind: "stopped", code: 4429, reason: "", refused: false });
  await page.clock.advance(120_000);
  assert.equal(page.sockets.length, 1);
  await page.open();
  assert.equal(page.state, "connected");
});

test("a refused handshake makes it ask whether the token is good", async () => {
  const page = new Page();
  page.connection.connect();
  await settle();
  page.socket.drop(1006);
  await page.clock.advance(500);
  assert.deepEqual(page.hints.map((hint) => hint.suspect), [false, true]);
});

test("a server that answers calls and lets no socket open is told from one that is away", async () => {
  const page = new Page();
  page.connection.connect();
  await settle();
  page.socket.drop(1006);
  assert.equal(page.connection.state.refused, false); // the server may just be away
  await page.clock.advance(page.clock.next);
  page.socket.drop(1006);
  assert.deepEqual([page.state, page.connection.state.refused], ["waiting", true]);
  await page.clock.advance(page.clock.next);
  assert.deepEqual([page.state, page.connection.state.refused], ["connecting", true]);
  await page.welcome();
  assert.equal(page.connection.state.refused, false);
  page.socket.drop(1006);
  assert.equal(page.connection.state.refused, false);
});

test("a server that says why it closes, or answers no calls, does not refuse the page", async () => {
  const page = new Page();
  page.connection.connect();
  await settle();
  page.socket.drop(1006);
  await page.clock.advance(page.clock.next);
  page.socket.drop(4503);
  assert.equal(page.connection.state.refused, false);
  await page.clock.advance(page.clock.next);
  page.socket.drop(1006);
  assert.equal(page.connection.state.refused, true);
  page.token = async () => {
    throw Problem.unreachable();
  };
  await page.clock.advance(page.clock.next);
  assert.equal(page.connection.state.refused, false);
});

test("a run that is taken back while away is not sent again, and cancelled should it have arrived", async () => {
  const page = new Page();
  await page.open();
  page.connection.follow("t", null);
  const refusal = page.connection.run({ agent: "echo", thread_id: "t", run_id: "r", text: "hi" }).catch(({ code }) => code);
  page.socket.drop(1006);
  page.connection.takeBack("t", "r");
  assert.equal(await refusal, "closed");
  await page.clock.advance(page.clock.next);
  await page.welcome();
  assert.deepEqual(page.socket.ops("run"), []);
  assert.deepEqual(page.socket.ops("cancel").map(({ thread_id, run_id }) => [thread_id, run_id]), [["t", "r"]]);
});

test("waits grow while the server stays away, and start small after a good connection", async () => {
  const page = new Page();
  page.token = async () => {
    throw Problem.unreachable();
  };
  page.connection.connect();
  await settle();
  const waits = [];
  for (let round = 0; round < 3; round++) {
    waits.push(page.clock.next);
    await page.clock.advance(page.clock.next);
  }
  assert.deepEqual(waits, [375, 750, 1500]);
  page.token = async () => "token";
  await page.open();
  await page.clock.advance(5000);
  page.socket.drop(1006);
  assert.equal(page.clock.next, 375);
});

test("a silent socket is asked after a heartbeat, and left when it does not answer", async () => {
  const page = new Page();
  await page.open();
  const silent = page.socket;
  await page.clock.advance(25_000);
  assert.equal(silent.ops("ping").length, 1);
  await page.clock.advance(10_000);
  assert.equal(silent.closed, true);
  assert.equal(page.state, "waiting");
});

test("a socket that answers the question is kept", async () => {
  const page = new Page();
  await page.open();
  await page.clock.advance(25_000);
  const [ping] = page.socket.ops("ping");
  await page.clock.advance(1000);
  page.socket.receive({ re: ping.id, ok: true, time: "2030-01-01T00:00:00Z" });
  await page.clock.advance(20_000);
  assert.equal(page.state, "connected");
  assert.equal(page.sockets.length, 1);
});

test("nothing a socket does after it was left counts", async () => {
  const page = new Page();
  await page.following("t", 5);
  const old = page.socket;
  const late = { message: old.onmessage, close: old.onclose };
  page.connection.connect();
  late.message({ data: JSON.stringify(frame(6)) });
  late.close({ code: 4403, reason: "" });
  assert.deepEqual(page.events, []);
  assert.equal(page.state, "connecting");
});

test("a newer token is shown to the server once", async () => {
  const page = new Page();
  await page.open();
  page.connection.renew("token");
  page.connection.renew("newer");
  page.connection.renew("newer");
  assert.deepEqual(page.socket.ops("refresh").map((command) => command.token), ["newer"]);
});

test("a message over the limit is not repeated for ever", async () => {
  const page = new Page();
  await page.open();
  const small = page.connection.run({ agent: "echo", thread_id: "t", run_id: "r1", text: "x" });
  const large = page.connection.run({ agent: "echo", thread_id: "t", run_id: "r2", text: "x".repeat(99) });
  small.catch(() => {});
  page.socket.drop(1009);
  await assert.rejects(large, { code: "payload_too_large" });
  await page.clock.advance(500);
  await page.welcome();
  assert.deepEqual(page.socket.ops("run").map((command) => command.run_id), ["r1"]);
});

test("a thread that was deleted is told, and followed no more", async () => {
  const page = new Page();
  await page.following("t", 5);
  page.socket.receive({ type: "detached", thread_id: "t", reason: "deleted" }, frame(6));
  assert.deepEqual(page.calls, [["deleted", "t"]]);
  assert.deepEqual(page.events, []);
});

test("a thread that is gone at the reconnect is told, and a repeated run may make it again", async () => {
  const page = new Page();
  await page.following("t", 5);
  page.connection.run({ agent: "echo", thread_id: "t", run_id: "r1", text: "x" });
  page.socket.drop(1006);
  await page.clock.advance(500);
  await page.welcome();
  const [attach] = page.socket.ops("attach");
  const [run] = page.socket.ops("run");
  page.socket.receive(
    { re: attach.id, ok: false, error: { code: "not_found", message: "", retryable: false } },
    { re: run.id, ok: true, thread_id: "t", run_id: "r1", status: "running", epoch: "f", seq: 0 },
    frame(1, "RUN_STARTED"),
  );
  assert.deepEqual(page.calls, [["missing", "t"]]);
  assert.deepEqual(page.events, ["t 1"]);
});

test("an attach refused for now is tried again", async () => {
  const page = new Page();
  await page.open();
  page.connection.follow("t", { epoch: "e", seq: 5 });
  const [attach] = page.socket.ops("attach");
  const error = { code: "overloaded", message: "", retryable: true, retry_after: 3 };
  page.socket.receive({ re: attach.id, ok: false, error });
  await page.clock.advance(3000);
  assert.equal(page.socket.ops("attach").length, 2);
});

test("a gap shows the snapshot and goes on after it", async () => {
  const page = new Page();
  await page.open();
  page.connection.follow("t", { epoch: "old", seq: 50 });
  page.socket.receive(page.attached("t", { seq: 8, gap: true }), frame(8, "MESSAGES_SNAPSHOT"), frame(9));
  assert.deepEqual(page.events, ["t 8", "t 9"]);
});

test("the reply to a run that nobody here looks at detaches from its thread", async () => {
  const page = new Page();
  await page.open();
  page.connection.run({ agent: "echo", thread_id: "other", run_id: "r", text: "x" });
  page.socket.receive({ re: 1, ok: true, thread_id: "other", run_id: "r", status: "running", epoch: "e", seq: 0 });
  assert.deepEqual(page.socket.ops("detach").map((command) => command.thread_id), ["other"]);
});

test("closing ends every command and every timer", async () => {
  const page = new Page();
  await page.open();
  const reply = page.connection.run({ agent: "echo", thread_id: "t", run_id: "r", text: "x" });
  page.connection.close();
  await assert.rejects(reply, { code: "closed" });
  assert.equal(page.socket.closed, true);
  assert.equal(page.clock.next, null);
});

test("when the network is back a wait ends at once", async () => {
  const page = new Page();
  await page.open();
  page.socket.drop(1006);
  page.connection.online();
  await page.welcome();
  assert.equal(page.state, "connected");
});
