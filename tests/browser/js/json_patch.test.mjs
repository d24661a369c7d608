import assert from "node:assert/strict";
import test from "node:test";

import { applyPatch } from "../../../src/goldenpath/runtime/gateway/pages/js/json_patch.js";

const done = [
  ["adds a member", { a: 1 }, [{ op: "add", path: "/b", value: 2 }], { a: 1, b: 2 }],
  ["inserts into an array", [1, 3], [{ op: "add", path: "/1", value: 2 }], [1, 2, 3]],
  ["appends to an array", [1], [{ op: "add", path: "/-", value: 2 }], [1, 2]],
  ["replaces the whole document", { a: 1 }, [{ op: "replace", path: "", value: 7 }], 7],
  ["removes", { a: [1, 2] }, [{ op: "remove", path: "/a/0" }], { a: [2] }],
  ["moves", { a: { x: 1 } }, [{ op: "move", from: "/a/x", path: "/y" }], { a: {}, y: 1 }],
  ["copies", { a: [1] }, [{ op: "copy", from: "/a", path: "/b" }], { a: [1], b: [1] }],
  ["unescapes names", { "a/b": 1, "c~d": 2 }, [{ op: "remove", path: "/a~1b" }, { op: "remove", path: "/c~0d" }], {}],
  ["tests and goes on", { a: { b: [1] } }, [{ op: "test", path: "/a", value: { b: [1] } }], { a: { b: [1] } }],
];

for (const [name, before, patch, after] of done) {
  test(`a patch ${name}`, () => assert.deepEqual(applyPatch(before, patch), after));
}

const refused = [
  ["of what is not there", {}, { op: "remove", path: "/a" }],
  ["beyond an array", [1], { op: "add", path: "/2", value: 1 }],
  ["with a leading zero", [1, 2], { op: "remove", path: "/01" }],
  ["inside a value", { a: 1 }, { op: "add", path: "/a/b", value: 1 }],
  ["whose test fails", { a: 1 }, { op: "test", path: "/a", value: 2 }],
  ["of an unknown kind", {}, { op: "burn", path: "" }],
  ["of a move into itself", { a: {} }, { op: "move", from: "/given/a", path: "/a/b" }],
  ["of an inherited name", {}, { op: "remove", path: "/toString" }],
];

for (const [name, before, operation] of refused) {
  test(`a patch ${name} is refused, and what came before it in the patch is taken back`, () => {
    const document = { given: structuredClone(before), list: [1, 2, 3], a: { x: 1 } };
    const original = structuredClone(document);
    const inside = { ...operation, path: `/given${operation.path}` };
    const patch = [
      { op: "remove", path: "/list/1" },
      { op: "add", path: "/list/-", value: 9 },
      { op: "replace", path: "/a/x", value: { y: 2 } },
      { op: "move", from: "/a", path: "/b" },
      { op: "add", path: "/given", value: original.given },
      inside,
    ];
    assert.throws(() => applyPatch(document, patch), TypeError);
    assert.deepEqual(document, original);
    assert.throws(() => applyPatch(before, [operation]), TypeError);
  });
}

test("a patch that copies a document into itself again and again is refused, and taken back", () => {
  const document = { a: 1 };
  const patch = Array.from({ length: 40 }, (_, index) => ({ op: "copy", from: "", path: `/k${index}` }));
  const started = performance.now();
  assert.throws(() => applyPatch(document, patch), TypeError);
  assert.deepEqual(document, { a: 1 });
  assert.ok(performance.now() - started < 2000);
});

test("the name __proto__ is a name like any other", () => {
  const result = applyPatch({}, [{ op: "add", path: "/__proto__", value: { polluted: true } }]);
  assert.deepEqual(Object.keys(result), ["__proto__"]);
  assert.equal({}.polluted, undefined);
  assert.throws(() => applyPatch({}, [{ op: "add", path: "/__proto__/polluted", value: true }]), TypeError);
});
