"""A Hypothesis strategy for any struct of `wire.events`, made from its field types."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from goldenpath.wire.events import Interrupt

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=4,
)
OBJECTS = st.dictionaries(st.text(max_size=3), JSON, max_size=2)
PARTS: list[dict[str, Any]] = [
    {"type": "text", "text": "hello"},
    {"type": "image", "source": {"type": "url", "value": "https://example.org/a.png"}},
    {"type": "document", "source": {"type": "data", "value": "aGk=", "mimeType": "text/plain"}},
]
OPERATIONS: list[dict[str, Any]] = [
    {"op": "add", "path": "/a", "value": 1},
    {"op": "remove", "path": "/a"},
    {"op": "move", "from": "/a", "path": "/b"},
]
# Fields that our types leave open and AG-UI's do not.
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "usage": st.sampled_from([None, [{"provider": "p", "model": "m", "inputTokens": 1}]]),
    "delta": st.lists(st.sampled_from(OPERATIONS), max_size=2),
    "patch": st.lists(st.sampled_from(OPERATIONS), max_size=2),
    "content": st.one_of(st.text(max_size=5), st.lists(st.sampled_from(PARTS), max_size=2)),
}


def instances(struct: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Instances of `struct` that AG-UI must accept. Values are what JSON can carry exactly."""
    return st.builds(struct, **{field.name: _field(struct, field) for field in msgspec.structs.fields(struct)})


def _field(struct: type[msgspec.Struct], field: msgspec.structs.FieldInfo) -> st.SearchStrategy[Any]:
    kinds = _members(field.type)
    if field.name == "outcome" and struct.__name__ == "SubagentFinished":
        return st.sampled_from([None, {"type": "success"}, {"type": "suspended", "interruptIds": ["i"]}])
    if field.name == "interrupts":
        return st.lists(instances(Interrupt), min_size=1, max_size=2)
    if field.name in SPECIAL and (field.name == "usage" or list[dict[str, Any]] in kinds):
        return SPECIAL[field.name]
    return _of(field.type)


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _of(kind: Any) -> st.SearchStrategy[Any]:
    members = _members(kind)
    if len(members) > 1:
        return st.one_of([_of(member) for member in members])
    if kind is Any:
        return JSON
    if kind is str:
        return st.text(max_size=8)
    if kind is int:
        return st.integers(0, 2**53 - 1)
    if kind is bool:
        return st.booleans()
    if kind is type(None):
        return st.none()
    if kind is msgspec.UnsetType:
        return st.just(msgspec.UNSET)
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) is list:
        return st.lists(_of(get_args(kind)[0]), max_size=2)
    if get_origin(kind) is dict:
        return OBJECTS
    assert issubclass(kind, msgspec.Struct), kind
    return instances(kind)
