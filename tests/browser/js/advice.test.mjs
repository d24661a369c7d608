import assert from "node:assert/strict";
import { test } from "node:test";

import { adviceFor, adviceForRun, loginAdvice } from "../../../src/goldenpath/runtime/gateway/pages/js/advice.js";

test("a conversation that is full and an answer that is too large are not the same to their reader", () => {
  const problem = { code: "payload_too_large", message: "an event of 2000000 bytes" };
  assert.equal(adviceFor(problem).what, "This conversation is full.");
  assert.equal(adviceForRun(problem).what, "The answer was too large.");
  assert.equal(adviceForRun(problem).again, false);
  assert.equal(adviceForRun(problem).detail, "payload_too_large: an event of 2000000 bytes");
});

test("whatever else ends a run is told in the same words", () => {
  const problem = { code: "timeout", message: "after 60 s" };
  assert.deepEqual(adviceForRun(problem), adviceFor(problem));
  assert.equal(adviceFor(problem).again, true);
  assert.equal(adviceForRun({ code: "unheard_of", message: "" }).what, "Something went wrong.");
});

test("an answer that had not begun was not stopped in the middle", () => {
  const lost = { code: "run_interrupted", message: "the server stopped" };
  assert.match(adviceForRun({ ...lost, begun: true }).what, /in the middle/);
  assert.match(adviceForRun({ ...lost, begun: false }).what, /before this answer began/);
  assert.deepEqual(adviceForRun({ code: "timeout", message: "", begun: false }), adviceFor({ code: "timeout", message: "" }));
});

test("no time is named that nobody knows", () => {
  const down = { code: "upstream_unavailable", message: "the search is down" };
  assert.doesNotMatch(adviceForRun(down).next, /minute|second/);
  assert.equal(adviceFor({ ...down, retryAfter: 2 }).next, "Try again in 2 seconds.");
});

test("a login is advised to do only what is possible here", () => {
  const wrong = { status: 401, code: "unauthorized", message: "" };
  assert.match(loginAdvice(wrong, "login", true), /create an account/);
  assert.doesNotMatch(loginAdvice(wrong, "login", false), /account/);
  assert.match(loginAdvice(wrong, "token", true), /token/);
  const down = { status: 503, code: "upstream_unavailable", message: "" };
  assert.match(loginAdvice(down, "token", false), /cannot be checked at present/);
});
