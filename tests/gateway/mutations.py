"""Damage to JSON texts, from a seeded generator: what a careless or hostile client might send."""

from __future__ import annotations

import json
import random
from typing import Any

_TOKENS = [
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"null", b"true", b"-", b"1e999", b"0x1", b"NaN", b"\\ud800",
    b"\\u0000", b"\0", b"\xff", b"\xf0\x9f", b"\n", b"\r\n", b" ", b"//", b'"id":', b'"op":"run"', b"\xef\xbb\xbf",
]  # fmt: skip
_VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**31, 2**53 + 1, 2**64, -(2**100), 10**400, 1e308, "", "x", "x" * 300, "a b",
    "../..", "\0", "\ud800", "\u2028", "e\u0301" * 50, "' OR 1=1 --", "{{7*7}}", "<script>", "%00", [], {}, [[]],
    [None] * 50, {"": ""}, {"type": "RUN_STARTED"}, {"__proto__": 1}, [[[[[[[[]]]]]]]], "t1", "r1", "echo", "1.0",
]  # fmt: skip


class Damage:
    """Makes damaged copies of JSON values. The same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def of(self, value: Any) -> bytes:
        """A damaged copy of `value` as JSON text: in its structure, in its bytes, or in both."""
        kind = self._random.randrange(3)
        damaged = self.in_structure(value) if kind != 1 else value
        text = json.dumps(damaged).encode()
        return self.in_bytes(text) if kind != 0 else text

    def in_structure(self, value: Any) -> Any:
        """Replace, remove, double or add something somewhere inside."""
        choice = self._random
        if isinstance(value, dict) and value and choice.random() < 0.85:
            copy = dict(value)
            key = choice.choice(list(copy))
            match choice.randrange(6):
                case 0:
                    del copy[key]
                case 1:
                    copy[choice.choice(["extra", "", "op", key.upper(), "x" * 200])] = choice.choice(_VALUES)
                case 2:
                    copy[key] = [copy[key], copy[key]]
                case _:
                    copy[key] = self.in_structure(copy[key])
            return copy
        if isinstance(value, list) and value and choice.random() < 0.85:
            items = list(value)
            index = choice.randrange(len(items))
            match choice.randrange(4):
                case 0:
                    del items[index]
                case 1:
                    items.insert(index, choice.choice(_VALUES))
                case 2:
                    items *= 3
                case _:
                    items[index] = self.in_structure(items[index])
            return items
        return self.deep() if choice.random() < 0.03 else choice.choice(_VALUES)

    def deep(self) -> Any:
        """Lists in lists."""
        value: Any = 0
        for _ in range(self._random.choice([10, 100, 140, 500])):
            value = [value]
        return value

    def in_bytes(self, text: bytes) -> bytes:
        """Flip, remove, double or insert bytes at a few places."""
        choice = self._random
        data = bytearray(text)
        for _ in range(choice.choice([1, 1, 1, 2, 5])):
            start = choice.randrange(len(data) + 1)
            stop = min(len(data), start + choice.choice([1, 1, 2, 5, 30]))
            match choice.randrange(5):
                case 0:
                    del data[start:stop]
                case 1:
                    data[start:start] = data[start:stop]
                case 2 if start < len(data):
                    data[start] ^= 1 << choice.randrange(8)
                case 3:
                    data[start:stop] = choice.randbytes(stop - start)
                case _:
                    data[start:start] = choice.choice(_TOKENS)
        return bytes(data)
