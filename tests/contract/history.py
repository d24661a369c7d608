"""What every client of a test saw, in the order in which it was seen. Written while the test runs, judged afterwards.

A record is a fact: nothing here interprets. `asked_at` is the length of the history when the request was sent: whatever
stood in the history then, the server had told somebody before it was asked, so its answer must know of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

Log = tuple[str, str, str]
"""(user, thread_id, epoch): one log."""


class Opened(msgspec.Struct, frozen=True, gc=False):
    """A subscription began after `seq`, because its client asked for `after` (epoch, seq), or for what follows (None).

    `head` is None where the server does not tell it: in the reply to `run`, and over SSE.
    """

    subscription: int
    user: str
    thread_id: str
    epoch: str
    seq: int
    head: int | None
    gap: bool
    after: tuple[str | None, int] | None
    asked_at: int


class Saw(msgspec.Struct, frozen=True, gc=False):
    """An event came; `event` is its JSON, byte for byte. `run_id` is None for the snapshot after a gap."""

    subscription: int
    seq: int
    run_id: str | None
    event: bytes


class Closed(msgspec.Struct, frozen=True, gc=False):
    """A subscription ended: nothing of it may come any more. `deleted`: because its thread was."""

    subscription: int
    deleted: bool = False


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """A run was accepted, or had been before."""

    user: str
    thread_id: str
    epoch: str
    run_id: str
    asked_at: int


class Messages(msgspec.Struct, frozen=True, gc=False):
    """The history of a thread up to `seq`: a JSON array."""

    user: str
    thread_id: str
    epoch: str
    seq: int
    messages: bytes
    asked_at: int


class Status(msgspec.Struct, frozen=True, gc=False):
    """What the server said of a run."""

    user: str
    thread_id: str
    run_id: str
    status: str
    error: str | None


class Deleting(msgspec.Struct, frozen=True, gc=False):
    """A client began to delete a thread: from here on its name may mean another log."""

    user: str
    thread_id: str


class Deleted(msgspec.Struct, frozen=True, gc=False):
    """The server said that the thread is deleted: from here on nothing of the logs it had is told."""

    user: str
    thread_id: str


class Said(msgspec.Struct, frozen=True, gc=False):
    """Anything else that a user got to read: an answer's body, a reply, a notice."""

    user: str
    text: bytes


Record = Opened | Saw | Closed | Accepted | Messages | Status | Deleting | Deleted | Said


class History:
    """The records of one test, and `markers`: a text for each user that nobody else may ever read."""

    def __init__(self, records: Iterable[Record] = (), markers: dict[str, bytes] | None = None) -> None:
        self.records: list[Record] = list(records)
        self.markers = markers or {}
        self._subscriptions = 0

    def __len__(self) -> int:
        return len(self.records)

    def add(self, record: Record) -> None:
        """Write a record down."""
        self.records.append(record)

    def new_subscription(self) -> int:
        """A number for a subscription."""
        self._subscriptions += 1
        return self._subscriptions
