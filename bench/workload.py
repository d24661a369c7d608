"""The reference workload: one simulated tool call, then 50 deltas of 8 characters.

Both servers stream exactly these events, so that events per second and CPU per run compare like with like. Every delta
begins with the marker that the user sent, so that the load client can tell from any single delta whose it is.
"""

from __future__ import annotations

from typing import Final

AGENT: Final = "reference"
DELTAS: Final = 50
MARKER_LENGTH: Final = 6
TOOL: Final = "look_up"

EVENT_TYPES: Final = (
    "RUN_STARTED",
    "TOOL_CALL_START",
    "TOOL_CALL_ARGS",
    "TOOL_CALL_END",
    "TOOL_CALL_RESULT",
    "TEXT_MESSAGE_START",
    *("TEXT_MESSAGE_CONTENT",) * DELTAS,
    "TEXT_MESSAGE_END",
    "RUN_FINISHED",
)
"""The types of one run's events, in order."""
EVENTS: Final = len(EVENT_TYPES)
FIRST_DELTA: Final = EVENT_TYPES.index("TEXT_MESSAGE_CONTENT")

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_ENDINGS: Final = tuple(f"{index:02d}" for index in range(DELTAS))
_PATTERN: Final = "".join("?" * MARKER_LENGTH + ending for ending in _ENDINGS)


def marker(user: int, message: int) -> str:
    """Six characters that name one message of one user; up to 1.6 million users and 1,296 messages each."""
    return _base36(user, 4) + _base36(message, 2)


def _base36(number: int, length: int) -> str:
    return "".join(_DIGITS[number // 36**place % 36] for place in reversed(range(length)))


def prompt(mark: str, delay_ms: int = 0) -> str:
    """What a user sends: whose it is, and how long the agent is to wait before each delta."""
    return f"{mark} {delay_ms:04d} please look up the weather and tell me about it"


def marker_of(text: str) -> str:
    """The marker at the head of what a user sent."""
    return text[:MARKER_LENGTH].ljust(MARKER_LENGTH, "-")


def delay_of(text: str) -> float:
    """The wait before each delta that a user asked for, in seconds; 0 where they did not."""
    digits = text[MARKER_LENGTH + 1 : MARKER_LENGTH + 5]
    return int(digits) / 1000 if digits.isdecimal() else 0.0


def deltas(mark: str) -> list[str]:
    """The answer, as its 50 deltas."""
    return [mark + ending for ending in _ENDINGS]


def answer(mark: str) -> str:
    """The whole answer."""
    return _PATTERN.replace("?" * MARKER_LENGTH, mark)


def tool_arguments(mark: str) -> str:
    return f'{{"query":"{mark}"}}'


def tool_answer(mark: str) -> str:
    return f"{mark}: sunny, 21 degrees"
