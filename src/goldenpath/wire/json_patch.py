"""JSON Patch (RFC 6902), as ACTIVITY_DELTA and STATE_DELTA carry it.

A patch is applied whole or not at all, and changes neither the document nor itself: only what lies on the path of a
change is copied, the rest is shared with the result. Treat all three as frozen.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from goldenpath.wire.errors import GoldenpathError


class PatchError(GoldenpathError, ValueError):
    """A patch that is malformed or does not fit its document: a missing path, a failed test."""


def apply_patch(document: Any, patch: Sequence[dict[str, Any]]) -> Any:
    """`document` (what JSON can hold) after all operations of `patch`. Raises `PatchError` and leaves no trace."""
    try:
        for operation in patch:
            document = _apply(document, operation)
    except RecursionError:  # a test of two values that are nested very deeply
        raise PatchError("too deep") from None
    return document


def check_patch(patch: Sequence[dict[str, Any]]) -> None:
    """Raise `PatchError` for a patch that is malformed, whatever document it is for: AG-UI clients refuse it."""
    for operation in patch:
        kind = operation.get("op")
        if kind not in ("add", "remove", "replace", "move", "copy", "test"):
            raise PatchError(f"unknown operation {kind!r}")
        _parse(operation.get("path"))
        if kind in ("add", "replace", "test") and "value" not in operation:
            raise PatchError(f"{kind}: value is missing")
        if kind in ("copy", "move"):
            _parse(operation.get("from"))


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    kind = operation.get("op")
    path = _parse(operation.get("path"))
    if kind in ("add", "replace", "test") and "value" not in operation:
        raise PatchError(f"{kind}: value is missing")
    match kind:
        case "add":
            return _put(document, path, operation["value"], insert=True)
        case "replace":
            return _put(document, path, operation["value"], insert=False)
        case "remove":
            return _drop(document, path)
        case "test":
            if not _same(_look_up(document, path), operation["value"]):
                raise PatchError(f"test: another value at {operation['path']!r}")
            return document
        case "copy" | "move":
            source = _parse(operation.get("from"))
            value = _look_up(document, source)
            if kind == "copy":
                return _put(document, path, value, insert=True)
            if path[: len(source)] == source:
                if path == source:
                    return document
                raise PatchError("move: a value cannot move into itself")
            return _put(_drop(document, source), path, value, insert=True)
    raise PatchError(f"unknown operation {kind!r}")


def _parse(pointer: object) -> list[str]:
    """The steps of a JSON pointer (RFC 6901)."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise PatchError(f"not a JSON pointer: {pointer!r}")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _key(container: Any, step: str, *, end: bool = False) -> Any:
    """What `step` means inside `container`; with `end`, the place after a list's last item is one too."""
    if isinstance(container, dict):
        return step
    if isinstance(container, list):
        if end and step == "-":
            return len(container)
        if step.isascii() and step.isdigit() and (step == "0" or step[0] != "0") and len(step) < 10:
            index = int(step)
            if index < len(container) or (end and index == len(container)):
                return index
    raise PatchError(f"no place {step!r}")


def _look_up(document: Any, path: list[str]) -> Any:
    for step in path:
        key = _key(document, step)
        if isinstance(document, dict) and key not in document:
            raise PatchError(f"nothing at {step!r}")
        document = document[key]
    return document


def _put(document: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    changed, parent = _copied(document, path)
    key = _key(parent, path[-1], end=insert)
    if insert and isinstance(parent, list):
        parent.insert(key, value)
        return changed
    if not insert and isinstance(parent, dict) and key not in parent:
        raise PatchError(f"replace: nothing at {key!r}")
    parent[key] = value
    return changed


def _drop(document: Any, path: list[str]) -> Any:
    if not path:
        return None
    _look_up(document, path)
    changed, parent = _copied(document, path)
    del parent[_key(parent, path[-1])]
    return changed


def _copied(document: Any, path: list[str]) -> tuple[Any, Any]:
    """`document` with every container on `path` copied, and the last of them: the one that holds the changed place."""
    changed = parent = copy.copy(document)
    for step in path[:-1]:
        key = _key(parent, step)
        if isinstance(parent, dict) and key not in parent:
            raise PatchError(f"nothing at {step!r}")
        parent[key] = copy.copy(parent[key])
        parent = parent[key]
    return changed, parent


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON values: true is not 1, however Python sees it."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
