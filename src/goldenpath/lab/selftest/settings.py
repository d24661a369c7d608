"""What a reference server may be set to, and how it says no."""

from __future__ import annotations

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What differs between scenarios, not between right and wrong."""

    pace: float = 0.001
    """Seconds before each delta of an answer."""
    places: int = 64
    """How many runs go on at once."""
    held: int = 100_000
    """How many events a log holds."""
    token_seconds: float = 900.0
    max_queued: int = 1_000
    """How many runs of one user may wait or be under way."""


class Refusal(Exception):
    """What was asked is not done."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
