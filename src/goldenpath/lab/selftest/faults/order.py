"""The events of a run are not what a run's events have to be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from goldenpath.lab.selftest.connection import Connection, Subscription
from goldenpath.lab.selftest.faults.fault import Faulty, caught_by
from goldenpath.lab.selftest.reference import ReferenceServer
from goldenpath.lab.selftest.thread_log import AgUiEvent, Entry, Run, Thread

RATE = 8
"""One run in so many."""


@caught_by("order", "unstarted")
class MissingStart(Faulty):
    """A run begins without RUN_STARTED."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        if event["type"] != "RUN_STARTED" or not self.strikes(RATE):
            super().append(run, event)


@caught_by("order", "unopened")
class UnopenedMessage(Faulty):
    """Pieces of a text come without TEXT_MESSAGE_START."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        if event["type"] == "TEXT_MESSAGE_START" and self.strikes(RATE):
            run.thread.messages.append({"id": event["messageId"], "role": "assistant", "content": ""})
            return
        super().append(run, event)


@caught_by("order", "unclosed")
class UnclosedMessage(Faulty):
    """A run finishes while a message of its is open."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        if event["type"] != "TEXT_MESSAGE_END" or not self.strikes(RATE):
            super().append(run, event)


@caught_by("order", "unopened")
class WrongMessageId(Faulty):
    """A piece of a text names a message that there is not."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        if "delta" in event and self.strikes(100):
            event = {**event, "messageId": "another"}
        super().append(run, event)


@caught_by("terminal", "endless")
class MissingEnd(Faulty):
    """A run's terminal event never comes."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        if event["type"] != "RUN_FINISHED" or not self.strikes(RATE):
            super().append(run, event)


@caught_by("terminal", "twice")
class TwoEnds(Faulty):
    """A run ends twice."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        super().append(run, event)
        if event["type"] == "RUN_FINISHED" and self.strikes(RATE):
            super().append(run, {"type": "RUN_ERROR", "code": "agent_error", "message": "the agent failed"})


@caught_by("terminal", "late")
class EventsAfterEnd(Faulty):
    """A run goes on after its terminal event."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        super().append(run, event)
        if event["type"] == "RUN_FINISHED" and self.strikes(RATE):
            super().append(run, {"type": "CUSTOM", "name": "late", "value": 1})


@caught_by("order", "interleaved", "tabs")
class InterleavedRuns(ReferenceServer):
    """Runs of one thread go on at the same time."""

    async def work(self, thread: Thread) -> None:
        while thread.queue:
            run = thread.queue.popleft()
            self.spawn(self.execute(run))
            await asyncio.sleep(0)


@caught_by("order", "misnamed")
class AnothersName(Faulty):
    """The start of a run says that it is another thread's."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        if event["type"] == "RUN_STARTED" and self.strikes(RATE):
            event = {**event, "threadId": "another"}
        super().append(run, event)


@caught_by("order", "ownerless")
class OwnerlessText(Faulty):
    """A piece of a text is no run's."""

    def deliver(self, connection: Connection, subscription: Subscription, entries: Sequence[Entry]) -> Sequence[Entry]:
        return [
            Entry(entry.thread_id, None, entry.seq, entry.event)
            if "delta" in entry.event and self.strikes(100)
            else entry
            for entry in entries
        ]
