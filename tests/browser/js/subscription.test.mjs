import assert from "node:assert/strict";
import test from "node:test";

import { Subscription } from "../../../src/goldenpath/runtime/gateway/pages/js/subscription.js";

const frame = (seq, type = "TEXT_MESSAGE_CONTENT") => ({ thread_id: "t", run_id: "r", seq, event: { type } });

function live(seq = 5) {
  const subscription = new Subscription("t", { epoch: "e", seq });
  subscription.attach();
  subscription.attached({ epoch: "e", seq, head: seq, gap: false });
  return subscription;
}

test("attaches after its last event, and from the start without an epoch", () => {
  assert.deepEqual(new Subscription("t", { epoch: "e", seq: 5 }).attach(), {
    op: "attach",
    thread_id: "t",
    after: { epoch: "e", seq: 5 },
  });
  assert.deepEqual(new Subscription("t", { epoch: null, seq: 0 }).attach().after, { seq: 0 });
});

test("takes the next event and moves its cursor", () => {
  const subscription = live(5);
  assert.equal(subscription.accept(frame(6)), "apply");
  assert.equal(subscription.accept(frame(7)), "apply");
  assert.equal(subscription.seq, 7);
});

for (const [name, seq] of [["repeated", 5], ["skipped ahead", 7], ["long gone", 1]]) {
  test(`an event that is ${name} is not shown and asks for a new attach`, () => {
    const subscription = live(5);
    assert.equal(subscription.accept(frame(seq)), "reattach");
    assert.equal(subscription.seq, 5);
    assert.equal(subscription.accept(frame(6)), "ignore");
    assert.deepEqual(subscription.attach().after, { epoch: "e", seq: 5 });
  });
}

test("events before the reply belong to an older subscription", () => {
  const subscription = new Subscription("t", { epoch: "e", seq: 5 });
  subscription.attach();
  assert.equal(subscription.accept(frame(6)), "ignore");
});

test("after a gap only the snapshot at the reply's place fits", () => {
  const subscription = live(5);
  subscription.cut();
  subscription.attach();
  subscription.attached({ epoch: "f", seq: 3, head: 9, gap: true });
  assert.equal(subscription.accept(frame(3, "MESSAGES_SNAPSHOT")), "apply");
  assert.equal(subscription.accept(frame(4)), "apply");
  assert.deepEqual([subscription.epoch, subscription.seq], ["f", 4]);
});

test("after a gap anything but the snapshot asks for a new attach", () => {
  const subscription = live(5);
  subscription.attached({ epoch: "f", seq: 3, head: 9, gap: true });
  assert.equal(subscription.accept(frame(4)), "reattach");
});

test("an unborn thread starts where its first run's reply says", () => {
  const subscription = new Subscription("t", null);
  assert.equal(subscription.accept(frame(1)), "ignore");
  subscription.cut();
  assert.equal(subscription.phase, "unborn");
  subscription.started({ epoch: "e", seq: 0 });
  assert.equal(subscription.accept(frame(1)), "apply");
});

test("the reply to a run leaves the cursor of a live thread alone", () => {
  const subscription = live(5);
  subscription.started({ epoch: "e", seq: 9 });
  assert.equal(subscription.seq, 5);
});

test("attaches are counted until an event fits", () => {
  const subscription = live(5);
  subscription.accept(frame(9));
  subscription.attach();
  assert.equal(subscription.attempts, 2);
  subscription.attached({ epoch: "e", seq: 5, head: 9, gap: false });
  subscription.accept(frame(6));
  assert.equal(subscription.attempts, 0);
});
