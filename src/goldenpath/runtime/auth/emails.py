"""E-mail addresses as account names: one spelling for each, and a check that catches typing errors.

An address is only a name here; nothing is sent to it. So the check is about form and never asks the network.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_LENGTH: Final = 254

_ATOM = r"[^\s@.\"(),:;<>\[\]\\]+"
_LABEL = r"[^\W_](?:[^\W_]|-(?=[^\W_]|-))*"
_pattern = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


def normalize(text: str) -> str:
    """The one spelling of an address: trimmed, composed (NFC), without case. Not a check: any string is taken."""
    text = text.strip()
    if len(text) > MAX_LENGTH:
        return text  # no address; composing a long run of combining marks would take quadratic time
    # Not in lower case: that of a word which ends with a sigma depends on how the word was written.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def is_email(normalized: str) -> bool:
    """Whether a normalised string has the form of an address. A domain without a dot (`me@localhost`) is fine."""
    return len(normalized) <= MAX_LENGTH and normalized.isprintable() and _pattern.fullmatch(normalized) is not None
