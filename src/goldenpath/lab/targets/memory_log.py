"""A thread of the server in memory: its events, its runs, and who follows it."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class Follower(Protocol):
    """Somebody who is brought what comes."""

    def bring(self, payload: bytes) -> None:
        """One frame."""
        ...


class Run(msgspec.Struct):
    """One that was asked for."""

    text: str
    is_cancelled: bool = False
    has_ended: bool = False


class Log:
    """One thread of one user."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.events: list[bytes] = []
        """The frame of each event; the first has seq 1."""
        self.runs: dict[str, Run] = {}
        self.queue: list[str] = []
        """Runs that have not ended, in the order of asking; the first one runs."""
        self.followers: list[Follower] = []
        self.messages: list[dict[str, str]] = []

    def append(self, thread: str, run: str, event: dict[str, Any]) -> None:
        """Put an event at the end, and bring it to who follows."""
        frame = {"thread_id": thread, "run_id": run, "seq": len(self.events) + 1, "event": event}
        self.events.append(msgspec.json.encode(frame))
        for follower in list(self.followers):
            follower.bring(self.events[-1])
