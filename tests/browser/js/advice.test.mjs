import assert from "node:assert/strict";
import { test } from "node:test";

import { adviceFor, adviceForRun } from "../../../src/goldenpath/runtime/gateway/pages/js/advice.js";

test("a message that is too long and an answer that is are not the same to their reader", () => {
  const problem = { code: "payload_too_large", message: "an event of 2000000 bytes" };
  assert.equal(adviceFor(problem).what, "This is too long.");
  assert.equal(adviceForRun(problem).what, "The answer was too large.");
  assert.equal(adviceForRun(problem).detail, "payload_too_large: an event of 2000000 bytes");
});

test("whatever else ends a run is told in the same words", () => {
  const problem = { code: "timeout", message: "after 60 s" };
  assert.deepEqual(adviceForRun(problem), adviceFor(problem));
  assert.equal(adviceForRun({ code: "unheard_of", message: "" }).what, "Something went wrong.");
});
