"""Events get lost, come twice, come changed."""

from __future__ import annotations

from collections.abc import Sequence

from goldenpath.lab.selftest.connection import Connection, Socket, Subscription
from goldenpath.lab.selftest.faults.fault import Faulty, caught_by
from goldenpath.lab.selftest.thread_log import AgUiEvent, Entry, Run

RATE = 100
"""One event in so many."""


class _Delivering(Faulty):
    """Wrong on the way to one reader; the log is right."""

    def deliver(self, connection: Connection, subscription: Subscription, entries: Sequence[Entry]) -> Sequence[Entry]:
        return [sent for entry in entries for sent in self.sent(subscription, entry)]

    def sent(self, subscription: Subscription, entry: Entry) -> Sequence[Entry]:
        """What is sent instead of one event."""
        raise NotImplementedError


@caught_by("delivery", "lost")
class DroppedEvent(_Delivering):
    """An event does not reach a reader."""

    def sent(self, subscription: Subscription, entry: Entry) -> Sequence[Entry]:
        return () if self.strikes(RATE) else (entry,)


@caught_by("delivery", "duplicate")
class DuplicatedEvent(_Delivering):
    """An event reaches a reader twice."""

    def sent(self, subscription: Subscription, entry: Entry) -> Sequence[Entry]:
        return (entry, entry) if self.strikes(RATE) else (entry,)


@caught_by("delivery", "reordered")
class ReorderedEvents(_Delivering):
    """Two events reach a reader in the wrong order."""

    held: dict[Subscription, Entry]

    def sent(self, subscription: Subscription, entry: Entry) -> Sequence[Entry]:
        held = self.__dict__.setdefault("held", {})
        if subscription in held:
            return entry, held.pop(subscription)
        if entry.event["type"] == "TEXT_MESSAGE_CONTENT" and self.strikes(RATE):
            held[subscription] = entry
            return ()
        return (entry,)


@caught_by("delivery", "altered")
class ChangedText(_Delivering):
    """A text arrives with another character in it."""

    def sent(self, subscription: Subscription, entry: Entry) -> Sequence[Entry]:
        if "delta" in entry.event and self.strikes(RATE):
            event = {**entry.event, "delta": "?" + entry.event["delta"][1:]}
            return (Entry(entry.thread_id, entry.run_id, entry.seq, event),)
        return (entry,)


@caught_by("delivery", "altered")
class DroppedDelta(Faulty):
    """A piece of an answer gets lost before it has a number, so that the numbers are without a gap."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        if "delta" not in event or not self.strikes(RATE):
            super().append(run, event)


@caught_by("delivery", "altered")
class RepeatedDelta(Faulty):
    """A piece of an answer is in the log twice, with numbers of their own."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        super().append(run, event)
        if "delta" in event and self.strikes(RATE):
            super().append(run, event)


@caught_by("delivery", "altered")
class ReorderedDeltas(Faulty):
    """Two pieces of an answer change places before they are numbered."""

    waiting: dict[Run, AgUiEvent]

    def append(self, run: Run, event: AgUiEvent) -> None:
        waiting = self.__dict__.setdefault("waiting", {})
        if "delta" in event and run not in waiting and self.strikes(RATE):
            waiting[run] = event
            return
        if "delta" in event or run not in waiting:
            super().append(run, event)
        if run in waiting:
            super().append(run, waiting.pop(run))
            if "delta" not in event:
                super().append(run, event)


@caught_by("delivery", "altered")
class LostUmlauts(Faulty):
    """What is not ASCII gets lost on the way."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        if "delta" in event:
            event = {**event, "delta": event["delta"].encode("ascii", "replace").decode()}
        super().append(run, event)


@caught_by("delivery", "altered")
class HalfAnAnswer(Faulty):
    """The agent fails half way, and the run says that it went well."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        failed = self.__dict__.setdefault("failed", set())
        if event["type"] == "TEXT_MESSAGE_START" and self.strikes(10):
            failed.add(run)
        if "delta" not in event or run not in failed:
            super().append(run, event)


@caught_by("delivery", "malformed")
class BrokenFrame(Faulty):
    """A frame is cut off in the middle."""

    async def send(self, connection: Connection, socket: Socket, text: str) -> None:
        await super().send(connection, socket, text[: len(text) // 2] if self.strikes(RATE) else text)


@caught_by("delivery", "malformed")
class UnnumberedEvent(_Delivering):
    """An event arrives without its number."""

    def sent(self, subscription: Subscription, entry: Entry) -> Sequence[Entry]:
        return (Entry(entry.thread_id, entry.run_id, 0, entry.event),) if self.strikes(RATE) else (entry,)


@caught_by("delivery", "unsubscribed")
class EventsBeforeReply(Faulty):
    """Events of a subscription come before the reply that begins it."""

    def next_lines(self, connection: Connection) -> list[bytes]:
        lines = super().next_lines(connection)
        return sorted(lines, key=lambda line: line.startswith(b'{"re":')) if self.strikes(3) else lines
