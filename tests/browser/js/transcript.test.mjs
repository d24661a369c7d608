import assert from "node:assert/strict";
import test from "node:test";

import { Transcript } from "../../../src/goldenpath/runtime/gateway/pages/js/transcript.js";

/** A transcript fed with events, numbered from `seq` on. */
class Feed {
  constructor(messages = [], seq = 0, ends = []) {
    this.transcript = new Transcript();
    this.transcript.load(messages);
    this.transcript.settle(ends, seq);
    this.seq = seq;
  }

  put(runId, ...events) {
    for (const event of events) this.transcript.apply({ thread_id: "t", run_id: runId, seq: ++this.seq, event });
    return this;
  }

  get kinds() {
    return this.transcript.items.map((item) => item.kind);
  }

  item(kind) {
    return this.transcript.items.find((item) => item.kind === kind);
  }
}

const user = (id, content) => ({ id, role: "user", content });
const assistant = (id, content, toolCalls) => ({ id, role: "assistant", content, toolCalls });
const started = (...messages) => ({ type: "RUN_STARTED", threadId: "t", runId: "r", input: { messages } });
const finished = (outcome, result) => ({ type: "RUN_FINISHED", threadId: "t", runId: "r", outcome, result });
const textStart = (messageId) => ({ type: "TEXT_MESSAGE_START", messageId, role: "assistant" });
const text = (messageId, delta) => ({ type: "TEXT_MESSAGE_CONTENT", messageId, delta });
const textEnd = (messageId) => ({ type: "TEXT_MESSAGE_END", messageId });
const snapshot = (...messages) => ({ type: "MESSAGES_SNAPSHOT", messages });
const plain = ({ transcript }) => transcript.items.map((item) => `${item.role ?? item.kind}: ${item.text ?? ""}`);

test("a run shows the question and the answer as it grows", () => {
  const feed = new Feed().put("r", started(user("u1", "hi")), textStart("a1"), text("a1", "Hel"), text("a1", "lo"));
  assert.deepEqual(plain(feed), ["user: hi", "assistant: Hello"]);
  assert.equal(feed.item("message").open, false);
  assert.equal(feed.transcript.items[1].open, true);
  assert.equal(feed.transcript.activeRun, "r");
  feed.put("r", textEnd("a1"), finished());
  assert.equal(feed.transcript.items[1].open, false);
  assert.equal(feed.transcript.activeRun, null);
});

test("only what is new or changed is to be drawn again", () => {
  const feed = new Feed([user("u1", "hi")], 1);
  assert.equal(feed.transcript.takeChanges().reset, true);
  feed.put("r", textStart("a1"), text("a1", "x"));
  const changes = feed.transcript.takeChanges();
  assert.equal(changes.reset, false);
  assert.deepEqual([...changes.changed].map((item) => item.id), ["a1"]);
  assert.equal(feed.transcript.takeChanges().changed.size, 0);
});

test("events go on in the middle of a message that the history holds", () => {
  const feed = new Feed([user("u1", "hi"), assistant("a1", "Hel")], 3);
  feed.transcript.running("r");
  feed.put("r", text("a1", "lo"));
  assert.deepEqual(plain(feed), ["user: hi", "assistant: Hello"]);
  assert.equal(feed.transcript.items[1].open, true);
  assert.equal(feed.transcript.activeRun, "r");
});

test("an open message that had no text in the history yet gets it", () => {
  const feed = new Feed([user("u1", "hi"), assistant("a1", "")], 2).put("r", text("a1", "Hello"));
  assert.deepEqual(plain(feed), ["user: hi", "assistant: Hello"]);
});

/** How a run ended, as the server says it for a history. */
const end = (run_id, seq, event, after, answers = null, resume = null) => ({ run_id, seq, event, after, resume, answers });
const failed = { type: "RUN_ERROR", message: "x", code: "run_interrupted" };
const stopped = finished({ type: "cancelled" });

test("each end stands after what its run said, also where that is no message", () => {
  const call = { id: "c1", type: "function", function: { name: "f", arguments: "{}" } };
  const history = [user("u1", "1"), user("u2", "2"), assistant("a2", "", [call]), user("u3", "3")];
  const ends = [
    end("r1", 4, failed, ["empty", "u1"]),
    end("r2", 9, stopped, ["c1", "a2", "u2"]),
    end("r2-again", 11, failed, ["c1", "a2", "u2"]),
    end("r3", 13, stopped, ["u3"]),
    end("r4", 17, failed, ["u4"]), // it ended after the history was read: its end comes as an event
  ];
  const feed = new Feed(history, 13, ends);
  const expected = ["message", "error", "message", "tool", "stopped", "error", "message", "stopped"];
  assert.deepEqual(feed.kinds, expected);
  assert.deepEqual(feed.transcript.items.filter((item) => item.runId).map((item) => item.runId), ["r1", "r2", "r2-again", "r3"]);
  feed.transcript.settle(ends, 13);
  assert.deepEqual(feed.kinds, expected);
});

test("a failed run that had said nothing is known as such, live and from the history", () => {
  const live = new Feed().put("r1", started(user("u1", "1")), failed);
  assert.equal(live.item("error").begun, false);
  live.put("r2", started(user("u2", "2")), textStart("a2"), text("a2", "so far"), textEnd("a2"), failed);
  assert.deepEqual(live.transcript.items.filter((item) => item.kind === "error").map((item) => item.begun), [false, true]);
  const history = [user("u1", "1"), user("u2", "2"), assistant("a2", "so far"), user("u3", "3")];
  const ends = [end("r1", 2, failed, ["u1"]), end("r2", 7, failed, ["a2", "u2"]), end("r2-again", 9, failed, ["a2"]), end("r3", 11, failed, ["u3"])];
  const read = new Feed(history, 11, ends);
  const begun = read.transcript.items.filter((item) => item.kind === "error").map((item) => item.begun);
  assert.deepEqual(begun, [false, true, true, false]);
});

test("an end before every message stands first, and one that knows no place behind the end before it", () => {
  const feed = new Feed([user("u1", "1"), user("u2", "2")], 9, [
    end("r0", 2, failed, []),
    end("r1", 4, failed, ["u1"]),
    end("r2", 7, failed, ["gone"]),
  ]);
  assert.deepEqual(feed.kinds, ["error", "message", "error", "error", "message"]);
});

test("an end that was seen live is not shown again when the ends are read after a gap", () => {
  const feed = new Feed().put(null, snapshot(user("u1", "1")));
  feed.put("r2", started(user("u2", "2")), failed);
  feed.transcript.settle([end("r1", 1, stopped, ["u1"]), end("r2", 3, failed, ["u2", "u1"])], 1);
  assert.deepEqual(feed.kinds, ["message", "stopped", "message", "error"]);
});

test("a question of the history is answered by what the next run brought, or passed over, or open", () => {
  const asked = finished({ type: "interrupt", interrupts: [{ id: "i1", reason: "x" }] });
  const yes = [{ interruptId: "i1", status: "resolved", payload: true }];
  const answers = (given) => new Feed([user("u1", "1")], 9, [end("r1", 3, asked, ["u1"], given)]).item("question").answers;
  assert.deepEqual(answers(yes), yes);
  assert.deepEqual(answers([]), [{ interruptId: "i1", status: "passed" }]);
  assert.equal(answers(null), null);
});

test("what a failed run of the history answered is known, so that it can be tried again", () => {
  const resume = [{ interruptId: "i1", status: "cancelled" }];
  const feed = new Feed([user("u1", "1")], 9, [end("r2", 5, failed, ["u1"], null, resume)]);
  assert.deepEqual(feed.transcript.resumeOf("r2"), resume);
});

test("tool calls that wait for their results are a question, live and in the history", () => {
  const pending = finished({ type: "success", pendingToolCallIds: ["c1"] });
  const live = new Feed().put("r", { type: "TOOL_CALL_START", toolCallId: "c1", toolCallName: "weather" }, pending);
  const call = { id: "c1", type: "function", function: { name: "weather", arguments: "" } };
  const read = new Feed([assistant("a1", "", [call])], 5, [end("r", 5, pending, ["c1"])]);
  for (const feed of [live, read]) {
    assert.deepEqual(feed.kinds, ["tool", "question"]);
    const { interrupts, answers, wantsResults } = feed.item("question");
    assert.deepEqual([interrupts.length, interrupts[0].id, answers, wantsResults], [1, "c1", null, true]);
    assert.match(interrupts[0].message, /weather/);
    feed.put("r2", started({ id: "m1", role: "tool", toolCallId: "c1", content: "sunny" }));
    const answered = [{ interruptId: "c1", status: "resolved", payload: "sunny" }];
    assert.deepEqual(feed.item("question").answers, answered);
    assert.equal(feed.item("tool").result, "sunny");
  }
});

test("a message that the history holds is not shown twice", () => {
  const feed = new Feed([user("u1", "hi")], 1).put("r", started(user("u1", "hi"), user("u2", "more")));
  assert.deepEqual(plain(feed), ["user: hi", "user: more"]);
});

test("the thread's record of a running run counts until its end was seen", () => {
  const feed = new Feed();
  feed.transcript.running("r");
  assert.equal(feed.transcript.activeRun, "r");
  feed.put("r", finished());
  feed.transcript.running("r");
  assert.equal(feed.transcript.activeRun, null);
});

test("a tool call shows its arguments and then its result", () => {
  const feed = new Feed().put(
    "r",
    { type: "TOOL_CALL_START", toolCallId: "c1", toolCallName: "search" },
    { type: "TOOL_CALL_ARGS", toolCallId: "c1", delta: '{"q":' },
    { type: "TOOL_CALL_ARGS", toolCallId: "c1", delta: "1}" },
    { type: "TOOL_CALL_END", toolCallId: "c1" },
    { type: "TOOL_CALL_RESULT", messageId: "m1", toolCallId: "c1", content: "found" },
  );
  const { name, args, result, open } = feed.item("tool");
  assert.deepEqual({ name, args, result, open }, { name: "search", args: '{"q":1}', result: "found", open: false });
});

test("the history's tool calls look the same, with the results where their calls are", () => {
  const call = { id: "c1", type: "function", function: { name: "search", arguments: "{}" } };
  const tool = { id: "m1", role: "tool", toolCallId: "c1", content: "none", error: "failed" };
  const feed = new Feed([assistant("a1", "Let me look.", [call]), tool], 4);
  assert.deepEqual(feed.kinds, ["message", "tool"]);
  assert.equal(feed.item("tool").result, "none");
  assert.equal(feed.item("tool").error, "failed");
});

test("reasoning is kept apart from the answer", () => {
  const feed = new Feed().put(
    "r",
    { type: "REASONING_START", messageId: "g1" },
    { type: "REASONING_MESSAGE_START", messageId: "g1", role: "reasoning" },
    { type: "REASONING_MESSAGE_CONTENT", messageId: "g1", delta: "hm" },
    { type: "REASONING_MESSAGE_END", messageId: "g1" },
    { type: "REASONING_END", messageId: "g1" },
  );
  assert.deepEqual(feed.kinds, ["reasoning"]);
  assert.equal(feed.item("reasoning").text, "hm");
  assert.deepEqual(new Feed([{ id: "g1", role: "reasoning", content: "hm" }], 1).kinds, ["reasoning"]);
});

test("the end of a run closes what it left open", () => {
  const feed = new Feed().put("r", textStart("a1"), { type: "STEP_STARTED", stepName: "s" });
  feed.put("r", { type: "RUN_ERROR", message: "died", code: "run_interrupted" });
  assert.deepEqual(feed.transcript.items.map((item) => item.open), [false, false, false]);
  assert.equal(feed.item("error").code, "run_interrupted");
});

test("a cancelled run says that it was stopped, in both of AG-UI's ways", () => {
  assert.deepEqual(new Feed().put("r", finished({ type: "cancelled" })).kinds, ["stopped"]);
  assert.deepEqual(new Feed().put("r", { type: "RUN_ERROR", message: "", code: "cancelled" }).kinds, ["stopped"]);
});

test("steps of one name are closed one by one, the last first", () => {
  const step = (type) => ({ type, stepName: "s" });
  const feed = new Feed().put("r", step("STEP_STARTED"), step("STEP_FINISHED"), step("STEP_STARTED"));
  assert.deepEqual(feed.transcript.items.map((item) => item.open), [false, true]);
});

test("subagents are shown as steps, and a failed one as failed", () => {
  const feed = new Feed().put("r", { type: "SUBAGENT_STARTED", subagentRunId: "x", name: "helper" });
  feed.put("r", { type: "SUBAGENT_ERROR", subagentRunId: "x", message: "no" });
  const { name, failed, open } = feed.item("step");
  assert.deepEqual({ name, failed, open }, { name: "helper", failed: true, open: false });
});

test("the state follows snapshots and patches; a patch that does not fit changes nothing", () => {
  const feed = new Feed().put("r", { type: "STATE_SNAPSHOT", snapshot: { a: [1] } });
  feed.put("r", { type: "STATE_DELTA", delta: [{ op: "add", path: "/a/-", value: 2 }] });
  assert.deepEqual(feed.transcript.state, { a: [1, 2] });
  feed.put("r", { type: "STATE_DELTA", delta: [{ op: "remove", path: "/a/0" }, { op: "remove", path: "/b" }] });
  assert.deepEqual(feed.transcript.state, { a: [1, 2] });
});

test("custom events of one name in a row are counted, not listed", () => {
  const custom = (name, value) => ({ type: "CUSTOM", name, value });
  const feed = new Feed().put("r", custom("p", 1), custom("p", 2), custom("q", 3));
  assert.deepEqual(feed.transcript.items.map((item) => [item.name, item.value, item.count]), [["p", 2, 2], ["q", 3, 1]]);
});

test("activities are replaced and patched in place", () => {
  const feed = new Feed().put("r", {
    type: "ACTIVITY_SNAPSHOT",
    messageId: "v",
    activityType: "plan",
    content: { steps: 1 },
  });
  const patch = [{ op: "replace", path: "/steps", value: 2 }];
  feed.put("r", { type: "ACTIVITY_DELTA", messageId: "v", activityType: "plan", patch });
  assert.deepEqual(feed.item("activity").content, { steps: 2 });
  feed.put("r", text("v", "not for activities"));
  assert.deepEqual(feed.kinds, ["activity"]);
});

test("chunks read as the events they stand for", () => {
  const chunk = (fields) => ({ type: "TEXT_MESSAGE_CHUNK", ...fields });
  const feed = new Feed().put("r", chunk({ messageId: "a1", delta: "He" }), chunk({ delta: "y" }));
  feed.put("r", { type: "TOOL_CALL_CHUNK", toolCallId: "c1", toolCallName: "f", delta: "{}" });
  assert.deepEqual(feed.kinds, ["message", "tool"]);
  assert.equal(feed.item("message").text, "Hey");
  assert.equal(feed.item("message").open, false);
  assert.equal(feed.item("tool").args, "{}");
});

test("a run that asks shows the question until a run answers it", () => {
  const interrupts = [{ id: "i1", reason: "approval", message: "May I?" }];
  const feed = new Feed().put("r", finished({ type: "interrupt", interrupts }));
  assert.deepEqual(feed.item("question").interrupts, interrupts);
  assert.equal(feed.item("question").answers, null);
  const resume = [{ interruptId: "i1", status: "resolved", payload: true }];
  feed.put("r2", { type: "RUN_STARTED", threadId: "t", runId: "r2", input: { messages: [], resume } });
  assert.deepEqual(feed.item("question").answers, resume);
  assert.deepEqual(feed.transcript.resumeOf("r2"), resume);
});

test("a question that the next run does not answer is passed over", () => {
  const feed = new Feed().put("r", finished({ type: "interrupt", interrupts: [{ id: "i1", reason: "x" }] }));
  feed.put("r2", started(user("u2", "never mind")));
  assert.deepEqual(feed.item("question").answers, [{ interruptId: "i1", status: "passed" }]);
});

test("what a run returned is shown where there is something", () => {
  assert.deepEqual(new Feed().put("r", finished(undefined, { answer: 42 })).item("result").value, { answer: 42 });
  assert.deepEqual(new Feed().put("r", finished(undefined, null)).kinds, []);
});

test("after a gap the snapshot replaces all, and events may continue its open message", () => {
  const feed = new Feed().put("r", started(user("u1", "hi")), textStart("a1"), text("a1", "lost"));
  feed.put(null, snapshot(user("u1", "hi"), user("u2", "more"), assistant("a2", "Sure")));
  assert.equal(feed.transcript.activeRun, null);
  assert.equal(feed.transcript.takeChanges().reset, true);
  feed.put("r2", text("a2", "!"));
  assert.deepEqual(plain(feed), ["user: hi", "user: more", "assistant: Sure!"]);
  assert.equal(feed.transcript.activeRun, "r2");
});

test("an agent's own snapshot keeps the places of what stays, and what is no message", () => {
  const feed = new Feed().put("r", started(user("u1", "hi")), { type: "STEP_STARTED", stepName: "s" }, textStart("a1"));
  feed.put("r", snapshot(assistant("a1", "short"), user("u3", "added")));
  assert.deepEqual(feed.kinds, ["step", "message", "message"]);
  assert.equal(feed.transcript.activeRun, "r");
  feed.put("r", text("a1", "er"));
  assert.deepEqual(plain(feed), ["step: ", "assistant: shorter", "user: added"]);
});

test("types nobody knows yet are left out", () => {
  assert.deepEqual(new Feed().put("r", { type: "SOMETHING_NEW" }, { type: "RAW", event: {} }).kinds, []);
});

test("reading the history and reading the events give the same messages, wherever the history ends", () => {
  const events = [
    started(user("u1", "hi")),
    textStart("a1"),
    text("a1", "one "),
    text("a1", "two"),
    textEnd("a1"),
    { type: "TOOL_CALL_START", toolCallId: "c1", toolCallName: "f", parentMessageId: "a1" },
    { type: "TOOL_CALL_ARGS", toolCallId: "c1", delta: "{}" },
    { type: "TOOL_CALL_END", toolCallId: "c1" },
    { type: "TOOL_CALL_RESULT", messageId: "m1", toolCallId: "c1", content: "ok" },
    finished(),
  ];
  const call = (args) => [{ id: "c1", type: "function", function: { name: "f", arguments: args } }];
  const u1 = user("u1", "hi");
  const histories = [
    [],
    [u1],
    [u1, assistant("a1", "")],
    [u1, assistant("a1", "one ")],
    [u1, assistant("a1", "one two")],
    [u1, assistant("a1", "one two")],
    [u1, assistant("a1", "one two", call(""))],
    [u1, assistant("a1", "one two", call("{}"))],
    [u1, assistant("a1", "one two", call("{}"))],
    [u1, assistant("a1", "one two", call("{}")), { id: "m1", role: "tool", toolCallId: "c1", content: "ok" }],
  ];
  const whole = new Feed().put("r", ...events).transcript.items;
  histories.forEach((history, seq) => {
    assert.deepEqual(new Feed(history, seq).put("r", ...events.slice(seq)).transcript.items, whole, `from ${seq}`);
  });
});
