"""What users say where it does not matter what: texts of a given length, with characters of one to four bytes."""

from __future__ import annotations

from typing import Final

_WORDS: Final = "the quick brown fox jumps over the lazy dog and comes home along the golden path: grüße, 金の道 🦊 "


def filler(size: int) -> str:
    """A text of `size` characters."""
    return (_WORDS * (size // len(_WORDS) + 1))[:size]
