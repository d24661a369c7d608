"""JSON Patch (RFC 6902), as ACTIVITY_DELTA and STATE_DELTA carry it.

A patch of a few bytes can ask for gigabytes: each `copy` of the whole document into itself doubles it. So a document
says how large it may become, and a patch that would make more of it, or move too much about in it, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from goldenpath.wire.depth import MAX_DEPTH, depth
from goldenpath.wire.errors import GoldenpathError

MAX_DOCUMENT_BYTES: Final = 4 << 20
"""How large patches make a document where nobody says otherwise."""
_WORK: Final = 2
"""One patch may read and write as much as so many of the largest documents have."""
_MOVED: Final = 64
"""So many items of a list that make room for one count as a byte."""
_LEVELS: Final = 4
"""Counting the levels of a value takes as long as copying it so many times."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode


class PatchError(GoldenpathError, ValueError):
    """A patch that is malformed or does not fit its document: a missing path, a failed test."""


class PatchTooLargeError(PatchError):
    """A patch that would make its document larger or deeper than allowed, or that takes too long."""


class PatchedDocument:
    """A JSON value that patches change in place, its own copy of what it was made from.

    A change costs what the patch takes, however large the document is. Patches make it no larger than `max_bytes`, as
    JSON; one that is larger already does not grow. Raises `PatchError` for what is no JSON.
    """

    __slots__ = ("_depth", "_holder", "_limit", "_max_bytes", "_undo", "size", "work")

    def __init__(self, value: Any, max_bytes: int = MAX_DOCUMENT_BYTES) -> None:
        data = _written(value)
        self._holder = [_decode(data)]
        self._max_bytes = self._limit = max_bytes
        self._depth = _levels(data)
        """It has no more levels; it may have fewer."""
        self._undo: list[Callable[[], object]] = []
        self.size = len(data)
        """How many bytes it has as JSON."""
        self.work = 0
        """How many bytes patches read and wrote so far beside their own: what they copied, moved and took away."""

    @property
    def value(self) -> Any:
        """What it is now; the next patch changes it."""
        return self._holder[0]

    def apply(self, patch: Sequence[dict[str, Any]], *, to_object: bool = False) -> None:
        """Carry out all operations of `patch`, or none: raises `PatchError`, and the document is as before; also where
        `to_object` is set and the result is none. The work done counts in either case."""
        size = self.size
        try:
            self._apply_all(patch)
            _check_kind(self.value, to_object=to_object)
        except (PatchError, RecursionError) as error:
            for undo in reversed(self._undo):
                undo()
            self.size = size
            if isinstance(error, RecursionError):  # a test of two values that are nested very deeply
                raise PatchError("too deep") from None
            raise
        finally:
            self._undo.clear()

    def _apply_all(self, patch: Sequence[dict[str, Any]]) -> None:
        self._limit = max(self._max_bytes, self.size)
        enough = self.work + _WORK * self._max_bytes
        for operation in patch:
            self._apply(operation)
            if self.work > enough:
                raise PatchTooLargeError("the patch reads and writes too much")

    def _apply(self, operation: dict[str, Any]) -> None:
        kind = operation.get("op")
        path = _parse(operation.get("path"))
        if kind in ("add", "replace", "test") and "value" not in operation:
            raise PatchError(f"{kind}: value is missing")
        match kind:
            case "add":
                self._add(path, _written(operation["value"]))
            case "replace":
                self._look_up(path)
                self._add(path, _written(operation["value"]), over=True)
            case "remove":
                self._remove(path)
            case "test":
                if not _same(self._look_up(path), operation["value"]):
                    raise PatchError(f"test: another value at {operation['path']!r}")
            case "copy":
                source = _parse(operation.get("from"))
                data = _encode(self._look_up(source))
                self.work += len(data)
                self._add(path, data, self._depth - len(source))
            case "move":
                source = _parse(operation.get("from"))
                value = self._look_up(source)
                if path == source:
                    return
                if path[: len(source)] == source:
                    raise PatchError("move: a value cannot move into itself")
                self._add(path, self._remove(source), self._depth - len(source), value)
            case _:
                raise PatchError(f"unknown operation {kind!r}")

    def _look_up(self, path: list[str]) -> Any:
        value = self.value
        for step in path:
            value = _inside(value, step)
        return value

    def _place(self, path: list[str]) -> tuple[Any, Any]:
        """The container of what `path` names, which may not be there yet, and the last step. The whole document is in
        a list of its own."""
        return (self._look_up(path[:-1]), path[-1]) if path else (self._holder, "0")

    def _add(
        self, path: list[str], data: bytes, levels: int | None = None, value: Any = None, *, over: bool = False
    ) -> None:
        """Put what `data` holds at `path`; in a list before what is there, or with `over` in its place. `levels`: it
        has no more; None: it is the patch's own. `value`: what it holds, where that is not needed elsewhere."""
        parent, step = self._place(path)
        key = _key(parent, step, end=not over)
        if isinstance(parent, list) and path and not over:
            self._check(data, len(data) + bool(parent), len(path), levels)
            self.work += (len(parent) - key) // _MOVED
            parent.insert(key, _decode(data) if value is None else value)
            self._undo.append(lambda: parent.pop(key))
        elif isinstance(parent, list) or key in parent:
            before = parent[key]
            self._check(data, len(data) - self._measure(before), len(path), levels)
            parent[key] = _decode(data) if value is None else value
            self._undo.append(lambda: parent.__setitem__(key, before))
        else:
            self._check(data, len(_written(key)) + 1 + len(data) + bool(parent), len(path), levels)
            parent[key] = _decode(data) if value is None else value
            self._undo.append(lambda: parent.pop(key))

    def _check(self, data: bytes, growth: int, above: int, levels: int | None) -> None:
        """Count what `data` holds in, for a place inside so many others, where the document grows by `growth`."""
        self.size += growth
        if self.size > self._limit:
            raise PatchTooLargeError(f"the patch makes more than {self._limit} bytes")
        most = _levels(data) if levels is None else min(levels, _levels(data))
        if above + most > MAX_DEPTH:
            self.work += 0 if levels is None else _LEVELS * len(data)
            most = depth(data)
            if above + most > MAX_DEPTH:
                raise PatchTooLargeError(f"the patch nests values deeper than {MAX_DEPTH}")
        self._depth = max(self._depth, above + most)

    def _remove(self, path: list[str]) -> bytes:
        """Take away what is at `path`, and return it as JSON."""
        data = _encode(self._look_up(path))
        self.work += len(data)
        parent, step = self._place(path)
        key = _key(parent, step)
        if not path:
            self.size += len(b"null") - len(data)
            before = self.value
            self._holder[0] = None
            self._undo.append(lambda: self._holder.__setitem__(0, before))
            return data
        self.size -= len(data) + (len(parent) > 1)
        if isinstance(parent, list):
            self.work += (len(parent) - key) // _MOVED
            value = parent.pop(key)
            self._undo.append(lambda: parent.insert(key, value))
        else:
            self.size -= len(_written(key)) + 1
            value = parent.pop(key)
            self._undo.append(lambda: parent.__setitem__(key, value))
        return data

    def _measure(self, value: Any) -> int:
        size = len(_encode(value))
        self.work += size
        return size


def apply_patch(document: Any, patch: Sequence[dict[str, Any]], max_bytes: int = MAX_DOCUMENT_BYTES) -> Any:
    """`document` (what JSON can hold) after all operations of `patch`; neither is changed. Raises `PatchError`."""
    patched = PatchedDocument(document, max_bytes)
    patched.apply(patch)
    return patched.value


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


def _check_kind(value: Any, *, to_object: bool) -> None:
    if to_object and not isinstance(value, dict):
        raise PatchError("the document would be no object")


def _levels(data: bytes) -> int:
    """It has no more levels than this: a bound that costs nothing."""
    return min(data.count(b"[") + data.count(b"{"), MAX_DEPTH)


def _written(value: Any) -> bytes:
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError):
        raise PatchError("a value that is no JSON") from None


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


def _inside(container: Any, step: str) -> Any:
    key = _key(container, step)
    if isinstance(container, dict) and key not in container:
        raise PatchError(f"nothing at {step!r}")
    return container[key]


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON values: true is not 1, however Python sees it."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
