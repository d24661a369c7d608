from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import jsonpatch
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldenpath.wire.depth import MAX_DEPTH
from goldenpath.wire.json_patch import PatchedDocument, PatchError, PatchTooLargeError, apply_patch

KEYS = st.sampled_from(["a", "b", "/", "~", "0"])
VALUES = st.recursive(
    st.one_of(st.none(), st.integers(0, 2), st.sampled_from(["", "x"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
STEPS = st.sampled_from(["a", "b", "~1", "~0", "0", "1", "-", "01", "x"])
POINTERS = st.lists(STEPS, min_size=1, max_size=3).map(lambda steps: "/" + "/".join(steps))
OPERATIONS = st.one_of(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "replace", "test"]), "path": st.one_of(st.just(""), POINTERS), "value": VALUES}
    ),
    st.fixed_dictionaries({"op": st.just("remove"), "path": POINTERS}),
    st.fixed_dictionaries({"op": st.sampled_from(["copy", "move"]), "path": POINTERS, "from": POINTERS}),
)


@given(VALUES, st.lists(OPERATIONS, max_size=4))
@settings(max_examples=1000)
def test_it_does_what_another_implementation_does(document: Any, patch: list[dict[str, Any]]) -> None:
    before = copy.deepcopy((document, patch))
    try:
        expected = jsonpatch.apply_patch(document, patch)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError):
        with pytest.raises(PatchError):
            apply_patch(document, patch)
    else:
        assert apply_patch(document, patch) == expected
    assert (document, patch) == before


# The examples of RFC 6902, appendix A.
@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ('{"foo":"bar"}', '[{"op":"add","path":"/baz","value":"qux"}]', '{"baz":"qux","foo":"bar"}'),
        ('{"foo":["bar","baz"]}', '[{"op":"add","path":"/foo/1","value":"qux"}]', '{"foo":["bar","qux","baz"]}'),
        ('{"baz":"qux","foo":"bar"}', '[{"op":"remove","path":"/baz"}]', '{"foo":"bar"}'),
        ('{"foo":["bar","qux","baz"]}', '[{"op":"remove","path":"/foo/1"}]', '{"foo":["bar","baz"]}'),
        ('{"baz":"qux"}', '[{"op":"replace","path":"/baz","value":"boo"}]', '{"baz":"boo"}'),
        ('{"a":{"b":1,"c":2},"d":{}}', '[{"op":"move","from":"/a/b","path":"/d/e"}]', '{"a":{"c":2},"d":{"e":1}}'),
        ('{"foo":["a","b","c"]}', '[{"op":"move","from":"/foo/1","path":"/foo/2"}]', '{"foo":["a","c","b"]}'),
        ('{"foo":"bar"}', '[{"op":"add","path":"/child","value":{"x":{}}}]', '{"foo":"bar","child":{"x":{}}}'),
        ('{"foo":"bar"}', '[{"op":"add","path":"/baz","value":1,"xyz":2}]', '{"foo":"bar","baz":1}'),
        ('{"foo":["bar"]}', '[{"op":"add","path":"/foo/-","value":["abc"]}]', '{"foo":["bar",["abc"]]}'),
        ('{"/":9,"~1":10}', '[{"op":"test","path":"/~01","value":10}]', '{"/":9,"~1":10}'),
        ('{"a":1}', '[{"op":"add","path":"","value":[]}]', "[]"),
    ],
)
def test_it_follows_the_examples_of_the_standard(document: str, patch: str, expected: str) -> None:
    assert apply_patch(json.loads(document), json.loads(patch)) == json.loads(expected)


@pytest.mark.parametrize(
    "patch",
    [
        [{"op": "add", "path": "/no/where", "value": 1}],
        [{"op": "add", "path": "a", "value": 1}],
        [{"op": "add", "path": "/a"}],
        [{"op": "add", "value": 1}],
        [{"op": "test", "path": "/a", "value": True}],
        [{"op": "test", "path": "/list", "value": [True]}],
        [{"op": "remove", "path": "/list/1"}],
        [{"op": "remove", "path": "/list/-"}],
        [{"op": "replace", "path": "/list/00", "value": 1}],
        [{"op": "replace", "path": f"/list/{'9' * 5000}", "value": 1}],
        [{"op": "replace", "path": "/list/\u0661", "value": 1}],
        [{"op": "move", "from": "/list", "path": "/list/0"}],
        [{"op": "invent", "path": "/a"}],
        [{"path": "/a"}],
        [{"op": ["add"], "path": "/a"}],
        [{"op": "add", "path": "/b", "value": 1}, {"op": "remove", "path": "/c"}],
    ],
)
def test_a_patch_that_does_not_fit_is_refused_and_leaves_no_trace(patch: list[dict[str, Any]]) -> None:
    document = {"a": 1, "list": [1]}
    with pytest.raises(PatchError):
        apply_patch(document, patch)
    assert document == {"a": 1, "list": [1]}


def test_values_nested_beyond_what_python_can_compare_are_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(PatchError):
        apply_patch({"a": deep}, [{"op": "test", "path": "/a", "value": [deep]}])


# --- bounds -----------------------------------------------------------------------------------------------------------

LIMIT = 100_000


@given(VALUES, st.lists(st.lists(OPERATIONS, max_size=3), max_size=4))
@settings(max_examples=500)
def test_a_document_knows_its_size_and_a_refused_patch_leaves_it_as_it_was(
    value: Any, patches: list[list[dict[str, Any]]]
) -> None:
    document = PatchedDocument(value)
    for patch in patches:
        before = copy.deepcopy(document.value)
        try:
            document.apply(patch)
        except PatchError:
            assert document.value == before
        assert document.size == len(msgspec.json.encode(document.value))


def test_what_it_was_made_from_and_its_patches_stay_as_they_are() -> None:
    value = {"a": [1]}
    added = {"b": [2]}
    document = PatchedDocument(value)
    document.apply([{"op": "add", "path": "/c", "value": added}, {"op": "copy", "from": "/a", "path": "/d"}])
    document.apply([{"op": "add", "path": f"{path}/-", "value": 3} for path in ("/a", "/c/b", "/d")])
    assert document.value == {"a": [1, 3], "c": {"b": [2, 3]}, "d": [1, 3]}
    assert (value, added) == ({"a": [1]}, {"b": [2]})


def test_a_document_that_is_copied_into_itself_again_and_again_stays_within_its_bound() -> None:
    document = PatchedDocument({"a": 1}, LIMIT)
    with pytest.raises(PatchTooLargeError, match=str(LIMIT)):
        document.apply([{"op": "copy", "from": "", "path": f"/k{number}"} for number in range(60)])
    assert document.value == {"a": 1}
    for number in range(60):
        with contextlib.suppress(PatchTooLargeError):
            document.apply([{"op": "copy", "from": "", "path": f"/k{number}"}])
    assert LIMIT / 3 < document.size <= LIMIT


def test_a_document_over_its_bound_may_shrink_but_not_grow() -> None:
    document = PatchedDocument({"a": "x" * 10, "b": 1}, 10)
    with pytest.raises(PatchTooLargeError):
        document.apply([{"op": "add", "path": "/c", "value": 1}])
    document.apply([{"op": "replace", "path": "/b", "value": 2}, {"op": "remove", "path": "/a"}])
    assert document.value == {"b": 2}


@pytest.mark.parametrize(
    "again",
    [
        [{"op": "copy", "from": "/big", "path": "/big"}],
        [{"op": "move", "from": "/big", "path": "/b"}, {"op": "move", "from": "/b", "path": "/big"}],
        [{"op": "add", "path": "/big/0", "value": 1}, {"op": "remove", "path": "/big/0"}],
    ],
)
def test_a_patch_that_grows_nothing_but_takes_long_is_refused(again: list[dict[str, Any]]) -> None:
    document = PatchedDocument({"big": [0] * (LIMIT // 3)}, LIMIT)
    before = document.size
    with pytest.raises(PatchTooLargeError, match="too much"):
        document.apply(again * 10_000)
    assert document.size == before
    assert document.value == {"big": [0] * (LIMIT // 3)}
    assert document.work < 20 * LIMIT


@pytest.mark.parametrize("kind", ["copy", "move"])
def test_values_are_nested_no_deeper_than_an_event(kind: str) -> None:
    document = PatchedDocument({"a": {}}, LIMIT)
    wrap: list[dict[str, Any]] = [
        {"op": "add", "path": "/b", "value": {}},
        {"op": kind, "from": "/a", "path": "/b/c"},
        {"op": kind, "from": "/b", "path": "/a"},
    ]
    for _ in range(MAX_DEPTH - 3):
        document.apply(wrap)
    with pytest.raises(PatchTooLargeError, match="deeper"):
        document.apply(wrap * 3)
