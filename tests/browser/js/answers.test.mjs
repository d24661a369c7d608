import assert from "node:assert/strict";
import test from "node:test";

import { answerFrom, fieldsOf, isYesOrNo } from "../../../src/goldenpath/runtime/gateway/pages/js/answers.js";

const object = (properties, required = []) => ({ type: "object", properties, required });
const types = (schema) => fieldsOf(schema).map((field) => field.type);

test("without a schema any text is an answer", () => {
  assert.deepEqual(types(undefined), ["long"]);
  assert.equal(answerFrom(undefined, fieldsOf(undefined), ["To the lake"]), "To the lake");
});

test("yes or no is a boolean, alone or as the only property", () => {
  const named = object({ approved: { type: "boolean" } }, ["approved"]);
  assert.equal(isYesOrNo({ type: "boolean" }), true);
  assert.equal(isYesOrNo(named), true);
  assert.equal(isYesOrNo(object({ a: { type: "boolean" }, b: { type: "boolean" } })), false);
  assert.equal(answerFrom({ type: "boolean" }, fieldsOf({ type: "boolean" }), [false]), false);
  assert.deepEqual(answerFrom(named, fieldsOf(named), [true]), { approved: true });
});

test("each property is a field with a name to read", () => {
  const schema = object({ sendNow: { type: "boolean" }, how_many: { type: "integer" }, to: { title: "To whom", type: "string" } }, ["to"]);
  assert.deepEqual(fieldsOf(schema).map(({ label, required }) => [label, required]), [
    ["Send now", false],
    ["How many", false],
    ["To whom", true],
  ]);
});

test("what is not required and left empty is left out", () => {
  const schema = object({ a: { type: "string" }, b: { type: "number" } });
  assert.deepEqual(answerFrom(schema, fieldsOf(schema), ["", "1.5"]), { b: 1.5 });
});

test("choices keep the type they have in the schema", () => {
  const schema = { enum: [1, "two", null] };
  assert.deepEqual(types(schema), ["choice"]);
  assert.equal(answerFrom(schema, fieldsOf(schema), ["0"]), 1);
  assert.equal(answerFrom(schema, fieldsOf(schema), ["2"]), null);
});

test("what a form cannot show is answered as JSON", () => {
  const nested = object({ inner: object({ a: { type: "string" } }) });
  assert.deepEqual(types(nested), ["json"]);
  assert.deepEqual(types({ type: "array" }), ["json"]);
  assert.deepEqual(answerFrom(nested, fieldsOf(nested), ['{"inner":{"a":"b"}}']), { inner: { a: "b" } });
});

test("wrong answers are refused with a sentence that names the field", () => {
  const schema = object({ seats: { type: "integer" }, note: { type: "string" } }, ["seats", "note"]);
  const refusal = (...values) => assert.throws(() => answerFrom(schema, fieldsOf(schema), values), TypeError);
  refusal("", "x");
  refusal("1.5", "x");
  refusal("many", "x");
  refusal("1", "");
  assert.throws(() => answerFrom({}, fieldsOf({}), ["{"]), /not JSON/);
});

test("an object without properties needs no field", () => {
  assert.deepEqual(fieldsOf(object({})), []);
  assert.deepEqual(answerFrom(object({}), [], []), {});
});
