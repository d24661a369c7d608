"""Texts that others wrote, as they may be shown: nothing in them steers the terminal or the page that shows them."""

from __future__ import annotations

import re
from typing import Final

_STEERS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Control characters (Unicode's category Cc), what turns the direction of a text around or takes no room (Cf), line and
paragraph separators, and halves of surrogate pairs, which no encoding can write."""
_PICTURES: Final = 0x2400
"""Where Unicode has a picture of each of the first control characters."""


def plain(text: str) -> str:
    """The text in one line, with a visible sign for each character that would do something instead of being seen: a
    line's end is `␊`, escape is `␛`."""
    return _STEERS.sub(_picture, text)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(_PICTURES + code)
    return "\N{SYMBOL FOR DELETE}" if code == 0x7F else "\N{REPLACEMENT CHARACTER}"
