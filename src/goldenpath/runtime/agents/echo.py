"""The `echo` agent: says the last user message back. What clients and tests can rely on is in docs/protocol.md."""

from __future__ import annotations

from typing import Any, Final

from goldenpath.runtime.run import Run
from goldenpath.wire.errors import RequestError
from goldenpath.wire.messages import UserMessage

DELTA: Final = 8
"""Characters in a delta. A character outside the Basic Multilingual Plane counts as two, as JavaScript counts it."""
MAX_DELAY: Final = 1000
"""Milliseconds."""


async def echo(run: Run) -> None:
    """Says back what you say, a few characters at a time.

    `input.forwarded_props.delay_ms` (0 to 1000, default 0) waits before each delta. Raises `RequestError`
    (`bad_request`) for another delay, and where the thread has no user message. Cancelling is safe.
    """
    delay = delay_of(run.input.forwarded_props)
    if not any(isinstance(message, UserMessage) for message in run.messages):
        raise RequestError("bad_request", "echo: the thread has no user message")
    pieces = deltas(run.user_text)
    async with run.message() as message:
        for piece in pieces:
            if delay:
                await run.clock.sleep(delay)
            await message.write(piece)


def deltas(text: str) -> list[str]:
    """`text` cut into pieces of up to 8 characters; joined they equal it. A character is never cut."""
    size = DELTA if not text or max(text) <= "\uffff" else DELTA // 2
    return [text[start : start + size] for start in range(0, len(text), size)]


def delay_of(forwarded_props: Any) -> float:
    """The delay before each delta, in seconds. Raises `RequestError` (`bad_request`)."""
    if not isinstance(forwarded_props, dict):
        return 0.0
    delay = forwarded_props.get("delay_ms", 0)
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= MAX_DELAY:
        raise RequestError("bad_request", f"echo: delay_ms is a number from 0 to {MAX_DELAY}")
    return delay / 1000
