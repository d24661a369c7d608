"""One thread of one user, as the reference server keeps it: its events, and the messages that they add up to."""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

import msgspec

AgUiEvent = dict[str, Any]


class Entry(msgspec.Struct, frozen=True):
    """One event in a log, as it goes over the wire."""

    thread_id: str
    run_id: str | None
    seq: int
    event: AgUiEvent


class Run:
    """One accepted run."""

    def __init__(self, thread: Thread, run_id: str, text: str) -> None:
        self.thread = thread
        self.run_id = run_id
        self.text = text
        self.status: Literal["queued", "running", "finished", "cancelled"] = "queued"
        self.before = 0
        """The seq after which its RUN_STARTED comes, once it has begun."""
        self.cancelled = False
        """Whether it was asked to stop."""

    @property
    def ended(self) -> bool:
        return self.status in ("finished", "cancelled")


class Thread:
    """A log. Appending is the only change, so that whoever reads needs nothing but a seq."""

    def __init__(self, user: str, thread_id: str, epoch: str, held: int) -> None:
        self.user = user
        self.thread_id = thread_id
        self.epoch = epoch
        self.head = 0
        """The seq of the last event."""
        self.entries: list[Entry] = []
        """The last events: at least `held`, where there have been so many."""
        self._held = held
        self.messages: list[dict[str, str]] = []
        self.runs: dict[str, Run] = {}
        self.queue: deque[Run] = deque()
        """Runs that have not ended, in their order; the first one may be under way."""

    def append(self, run_id: str, event: AgUiEvent) -> None:
        """The next event."""
        self.head += 1
        self.entries.append(Entry(self.thread_id, run_id, self.head, event))
        if len(self.entries) == 2 * self._held:
            del self.entries[: self._held]
        match event:
            case {"type": "RUN_STARTED", "input": {"messages": messages}}:
                self.messages.extend(messages)
            case {"type": "TEXT_MESSAGE_START", "messageId": message_id, "role": role}:
                self.messages.append({"id": message_id, "role": role, "content": ""})
            case {"type": "TEXT_MESSAGE_CONTENT", "delta": delta}:
                self.messages[-1]["content"] += delta

    def after(self, seq: int, most: int) -> list[Entry]:
        """The events after `seq`, not more than `most`."""
        begin = max(0, seq - self.head + len(self.entries))
        return self.entries[begin : begin + most]

    def holds(self, seq: int) -> bool:
        """Whether everything after `seq` is still there."""
        return self.head - len(self.entries) <= seq <= self.head

    def snapshot(self) -> Entry:
        """All messages up to the head, for a reader who cannot have the events."""
        messages = [dict(message) for message in self.messages]
        return Entry(self.thread_id, None, self.head, {"type": "MESSAGES_SNAPSHOT", "messages": messages})
