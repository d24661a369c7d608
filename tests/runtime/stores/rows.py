"""Rows to store: short ways to make those of interfaces.py."""

from __future__ import annotations

from typing import Any

from goldenpath.runtime.interfaces import (
    Commit,
    JournalEntry,
    MessageRows,
    RunRow,
    RunStatus,
    Segment,
    ThreadKey,
    ThreadRow,
)
from goldenpath.wire.ids import Epoch, RunId, ThreadId, UserId


def key(user: str = "ann", thread: str = "t1") -> ThreadKey:
    return ThreadKey(UserId(user), ThreadId(thread))


def thread(user: str = "ann", name: str = "t1", *, epoch: str = "e1", updated: float = 2.5, **fields: Any) -> ThreadRow:
    return ThreadRow(key(user, name), Epoch(epoch), 1.5, updated, **fields)


def run(name: str = "r1", status: RunStatus = "running", *, epoch: str = "e1", **fields: Any) -> RunRow:
    return RunRow(Epoch(epoch), RunId(name), "echo", status, 1.25, **fields)


def events(first: int, last: int) -> list[bytes]:
    """Events that say their own place."""
    return [b'{"seq":%d}' % seq for seq in range(first, last + 1)]


def journal(first: int, last: int, *, run_id: str = "r1", epoch: str = "e1") -> JournalEntry:
    return JournalEntry(Epoch(epoch), RunId(run_id), first, events(first, last))


def segment(first: int, last: int, *, run_id: str = "r1", epoch: str = "e1") -> Segment:
    return Segment(Epoch(epoch), RunId(run_id), first, events(first, last))


def messages(position: int, *bodies: str, epoch: str = "e1") -> MessageRows:
    return MessageRows(Epoch(epoch), position, [body.encode() for body in bodies])


def commit(number: int = 1, *, now: float = 100.0, **fields: Any) -> Commit:
    return Commit(number, now, **fields)
