"""Identifiers: their types, the patterns docs/protocol.md gives them, and how new ones are made."""

from __future__ import annotations

import random
import re
import secrets
from typing import NewType

UserId = NewType("UserId", str)
ThreadId = NewType("ThreadId", str)
RunId = NewType("RunId", str)
SessionId = NewType("SessionId", str)
ConnectionId = NewType("ConnectionId", str)
RequestId = NewType("RequestId", str)
Epoch = NewType("Epoch", str)

NAME_PATTERN = r"[A-Za-z0-9._:-]{1,128}"
"""What a client may choose as thread id or run id, and what an agent may be called."""
EPOCH_PATTERN = r"[A-Za-z0-9_-]{1,64}"
POSITION_PATTERN = rf"({EPOCH_PATTERN})\.([0-9]{{1,18}})"
"""An event's id over SSE, EPOCH.SEQ."""

# Seeded by the operating system. Asking it for each id would cost a system call for each message of each run.
_random = random.Random()  # noqa: S311
_name = re.compile(NAME_PATTERN)
_epoch = re.compile(EPOCH_PATTERN)


def is_name(value: str) -> bool:
    """Whether `value` may be a thread id, a run id or an agent's name."""
    return _name.fullmatch(value) is not None


def is_epoch(value: str) -> bool:
    """Whether `value` has the form of an epoch."""
    return _epoch.fullmatch(value) is not None


def new_id(prefix: str) -> str:
    """A new random identifier, `prefix` then 96 bits in hexadecimal. Unique, but no secret: owning is what protects."""
    return f"{prefix}_{_random.getrandbits(96):024x}"


def new_epoch(now: float) -> Epoch:
    """A new name for a log; never given twice. `now` is in Unix seconds.

    It begins with the time, so that what is stored under the epochs of one moment lies together in the database's
    indexes: a commit then touches few pages, whatever number of threads it holds.
    """
    return Epoch(f"{int(now * 1000):012x}{secrets.token_urlsafe(9)}")
