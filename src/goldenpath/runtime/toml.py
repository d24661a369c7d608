"""TOML that people write: what makes no sense is one kind of error, and one line."""

from __future__ import annotations

import tomllib
from typing import Any, Final

NESTED: Final = "it is nested too deeply"


def parse(text: str) -> dict[str, Any]:
    """The document that `text` holds. Raises ValueError, which says what is wrong: where it is no TOML, and where it
    is, but Python does not take it."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError(NESTED) from None
