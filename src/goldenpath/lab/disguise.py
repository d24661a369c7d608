"""Canaries in other clothes: escaped, encoded, in upper case or backwards.

A server that leaks need not leak bytes as they came: a text is escaped for JSON or a URL, packed into a token, folded
for a search. Each of these makes the same of what all canaries of a run begin with: a needle. Only where one is found
something is decoded.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

_ESCAPE: Final = b"\\u00"
_ESCAPED: Final = re.compile(rb"\\+u00([2-7][0-9a-fA-F])")
"""A character of ASCII that JSON has no reason to escape; with more than one backslash in JSON within JSON."""
_HEX: Final = re.compile(rb"(?:[0-9a-fA-F]{2})+")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]+")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


class Disguises:
    """Finds `mark`, which is ASCII, under other clothes."""

    def __init__(self, mark: bytes) -> None:
        self._upper = mark.upper()
        self._backwards = mark[::-1]
        self._hex = mark.hex().encode()
        self._hex_upper = self._hex.upper()
        self._base64 = {
            needle: skipped
            for before, skipped in ((0, 0), (1, 2), (2, 3))
            for needle in _needles(mark, before, skipped)
        }
        """By needle: how many characters of its group of four stand before it."""

    def undone(self, payload: bytes) -> Iterator[bytes]:
        """What `payload` says where it says it otherwise: each time all of it, or the part that is coded. Nothing where
        nothing that can hold the mark is in it."""
        if b"\\" in payload and _ESCAPE in payload:
            yield _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), payload)
        if b"%" in payload:
            yield unquote_to_bytes(payload)
        if self._upper in payload:
            yield payload.lower()
        if self._backwards in payload:
            yield payload[::-1]
        for needle in (self._hex, self._hex_upper):
            for place in _places(needle, payload):
                found = _HEX.match(payload, place)
                if found is not None:
                    yield bytes.fromhex(found[0].decode())
        for needle, skipped in self._base64.items():
            for place in _places(needle, payload):
                found = _BASE64.match(payload, max(0, place - skipped))
                if found is not None:
                    yield _decoded(found[0])


def _needles(mark: bytes, before: int, skipped: int) -> set[bytes]:
    """What the mark looks like in base64, of both alphabets, behind so many bytes of a group of three: the characters
    that nothing but the mark decides."""
    whole = (before + len(mark)) * 8 // 6
    needle = b64encode(b"\0" * before + mark)[skipped:whole]
    return {needle, needle.translate(_URL_SAFE)}


def _places(needle: bytes, payload: bytes) -> Iterator[int]:
    place = payload.find(needle)
    while place >= 0:
        yield place
        place = payload.find(needle, place + len(needle))


def _decoded(text: bytes) -> bytes:
    """Base64 of either alphabet, as far as it goes."""
    text = text.translate(_STANDARD)
    text = text[: len(text) - 1] if len(text) % 4 == 1 else text
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4))
