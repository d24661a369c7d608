"""Who comes back does not get exactly the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from goldenpath.lab.selftest.connection import Connection, Subscription
from goldenpath.lab.selftest.faults.fault import Faulty, caught_by
from goldenpath.lab.selftest.reference import ReferenceServer
from goldenpath.lab.selftest.thread_log import Entry, Thread


@caught_by("resume", "skipped", "reconnects")
class ResumeSkips(Faulty):
    """Who comes back misses an event, and the reply counts it as seen."""

    def resume(self, thread: Thread, epoch: str | None, seq: int) -> tuple[int, bool]:
        position, gap = super().resume(thread, epoch, seq)
        return (position + 1 if 0 < position < thread.head and self.strikes(2) else position), gap


@caught_by("resume", "rewound", "reconnects")
class ResumeRepeats(Faulty):
    """Who comes back gets again what they had."""

    def resume(self, thread: Thread, epoch: str | None, seq: int) -> tuple[int, bool]:
        position, gap = super().resume(thread, epoch, seq)
        return (position - 1 if position > 1 and self.strikes(2) else position), gap


@caught_by("delivery", "lost", "reconnects")
class ResumeLate(Faulty):
    """Who comes back gets only what happens from now on, though the reply says otherwise."""

    def attach(self, connection: Connection, command: dict[str, Any]) -> dict[str, Any]:
        reply = super().attach(connection, command)
        subscription = connection.subscriptions[reply["thread_id"]]
        subscription.seq = subscription.thread.head
        return reply


@caught_by("delivery", "duplicate", "reconnects")
class ResumeEarly(Faulty):
    """Who comes back gets the last event again, though the reply says otherwise."""

    def attach(self, connection: Connection, command: dict[str, Any]) -> dict[str, Any]:
        reply = super().attach(connection, command)
        subscription = connection.subscriptions[reply["thread_id"]]
        subscription.seq = max(0, subscription.seq - 1)
        return reply


@caught_by("resume", "skipped", "forgotten")
class SilentGap(ReferenceServer):
    """Who comes back after events were forgotten is not told of it."""

    def resume(self, thread: Thread, epoch: str | None, seq: int) -> tuple[int, bool]:
        return super().resume(thread, epoch, seq)[0], False


@caught_by("resume", "snapshot", "forgotten")
class GapWithoutSnapshot(ReferenceServer):
    """A gap is announced, and no snapshot fills it."""

    def attach(self, connection: Connection, command: dict[str, Any]) -> dict[str, Any]:
        reply = super().attach(connection, command)
        connection.subscriptions[reply["thread_id"]].snapshot = None
        return reply


@caught_by("snapshot", "stale", "forgotten")
class StaleSnapshot(ReferenceServer):
    """The snapshot that fills a gap lacks what was said last."""

    def attach(self, connection: Connection, command: dict[str, Any]) -> dict[str, Any]:
        reply = super().attach(connection, command)
        snapshot = connection.subscriptions[reply["thread_id"]].snapshot
        if snapshot is not None:
            snapshot.event["messages"][-1]["content"] = ""
        return reply


@caught_by("resume", "epoch", "reconnects")
class SilentEpoch(Faulty):
    """The log is another one after a reconnect, and no gap is announced."""

    def resume(self, thread: Thread, epoch: str | None, seq: int) -> tuple[int, bool]:
        if self.strikes(2):
            thread.epoch += "x"
        return min(seq, thread.head), False


@caught_by("delivery", "duplicate", "reconnects")
class SeqRestarts(Faulty):
    """After a reconnect the numbers begin at 1 again in the same epoch."""

    def attach(self, connection: Connection, command: dict[str, Any]) -> dict[str, Any]:
        reply = super().attach(connection, command)
        if self.strikes(2):
            connection.subscriptions[reply["thread_id"]].offset = reply["seq"]  # type: ignore[attr-defined]
        return reply

    def deliver(self, connection: Connection, subscription: Subscription, entries: Sequence[Entry]) -> Sequence[Entry]:
        offset = getattr(subscription, "offset", 0)
        return [Entry(each.thread_id, each.run_id, each.seq - offset, each.event) for each in entries]


@caught_by("resume", "changed", "tabs")
class ChangedReplay(Faulty):
    """What is read from the log again is not what was sent first."""

    def attach(self, connection: Connection, command: dict[str, Any]) -> dict[str, Any]:
        reply = super().attach(connection, command)
        thread = connection.subscriptions[reply["thread_id"]].thread
        place = next(place for place, entry in enumerate(thread.entries) if "delta" in entry.event)
        entry = thread.entries[place]
        event = {**entry.event, "delta": entry.event["delta"].upper()}
        thread.entries[place] = Entry(entry.thread_id, entry.run_id, entry.seq, event)
        return reply
