"""Whether and when to connect again after a connection ended."""

from __future__ import annotations

from random import Random
from typing import Literal

import msgspec

from goldenpath.wire.errors import CLOSE_CODES, UNAUTHORIZED, RequestError

ABNORMAL = 1006
"""The close code of a connection that ended without one."""
_STANDARD_RETRY = frozenset({1005, ABNORMAL, 1011, 1012, 1013, 1014})
"""Codes of the WebSocket standard and its registry that a proxy or a restarting server may send."""

Advice = Literal["again", "refresh", "stop"]


class Backoff(msgspec.Struct, frozen=True):
    """Exponential backoff with full jitter: before attempt n (0, 1, 2 ...) a random wait between 0 and
    min(`cap`, `base` * 2**n) seconds, so that the clients of a restarted server do not return in step."""

    base: float = 0.25
    cap: float = 10.0

    def delay(self, attempt: int, random: Random, retry_after: float | None = None) -> float:
        """Seconds to wait; at least `retry_after` where the server said so."""
        longest = min(self.cap, self.base * 2 ** min(attempt, 62))
        return random.uniform(0, longest) + (retry_after or 0.0)


def after_close(code: int) -> Advice:
    """What a close code asks for: connect again, after a token refresh, or not at all."""
    if code == UNAUTHORIZED:
        return "refresh"
    row = CLOSE_CODES.get(code)
    if row is not None:
        return "again" if row.reconnect else "stop"
    return "again" if code in _STANDARD_RETRY or 4500 <= code < 4600 else "stop"


def after_refusal(error: RequestError) -> Advice:
    """What a refused upgrade asks for, by its problem document."""
    if error.code == "unauthorized":
        return "refresh"
    return "again" if error.row.retryable else "stop"
