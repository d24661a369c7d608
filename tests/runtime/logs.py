"""An event log on a store that a test controls, and what a run does to it, without an agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from goldenpath.clock import ManualClock
from goldenpath.runtime.engine import Outcome
from goldenpath.runtime.event_log import EventLog
from goldenpath.runtime.interfaces import LogStore, RunRow, ThreadKey
from goldenpath.runtime.recovery import Recovery
from goldenpath.runtime.run_events import append_started, end_run
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.signals import Signals
from goldenpath.runtime.stores.memory_log import MemoryLog
from goldenpath.runtime.thread_log import Follower, ThreadLog
from goldenpath.runtime.turns import Turns
from goldenpath.wire import events as ev
from goldenpath.wire.events import encode
from goldenpath.wire.ids import RunId, ThreadId, UserId
from goldenpath.wire.messages import RunAgentInput, UserMessage
from goldenpath.wire.order import RunOrder
from tests.runtime.stores.controlled_log import ControlledLog

T = TypeVar("T")


def key(thread: str = "t1", user: str = "ann") -> ThreadKey:
    return ThreadKey(UserId(user), ThreadId(thread))


class LiveRun:
    """A run that appends, as `Execution` and `Run` do."""

    def __init__(self, logs: Logs, log: ThreadLog, row: RunRow) -> None:
        self.logs = logs
        self.log = log
        self.row = row
        self.order = RunOrder()

    def begin(self, text: str = "hello") -> None:
        message = UserMessage(text, id=f"user-{self.row.run_id}")
        append_started(self.log, self.row, RunAgentInput(messages=[message]), self.logs.clock.time())
        self.logs.event_log.commits.touch(self.log)

    def put(self, *events: ev.Event) -> None:
        for event in events:
            self.order.check(event)
            self.log.append(encode(event))
        self.logs.event_log.commits.touch(self.log)

    def open_message(self) -> None:
        self.put(ev.TextMessageStart(f"reply-{self.row.run_id}", role="assistant"))

    def write(self, *deltas: str) -> None:
        self.put(*(ev.TextMessageContent(f"reply-{self.row.run_id}", delta) for delta in deltas))

    def say(self, *deltas: str) -> None:
        self.open_message()
        self.write(*deltas)
        self.put(ev.TextMessageEnd(f"reply-{self.row.run_id}"))

    def finish(self) -> None:
        end_run(self.log, self.row, self.order, Outcome("finished"), self.logs.clock.time())
        self.logs.event_log.finish(self.log, self.row)


class Subscriber:
    """Reads a log from a cursor on, and keeps what it was given."""

    def __init__(self, logs: Logs, log: ThreadLog, after: int) -> None:
        self.logs = logs
        self.start = after
        self.received: list[tuple[RunId, bytes]] = []
        self.told = 0
        self.deleted = False
        self.follower = Follower(log, after, self._notify, self._on_deleted)
        logs.event_log.subscribe(self.follower)

    def _notify(self) -> None:
        self.told += 1

    def _on_deleted(self) -> None:
        self.deleted = True

    async def read(self, max_bytes: int = 1 << 20) -> int:
        """Take what there is. Returns how many events that were."""
        before = len(self.received)
        while self.follower.behind and not self.deleted:
            batch = await self.logs.event_log.read(self.follower.log, self.follower.position, max_bytes)
            if batch is None:
                break
            assert batch.first_seq == self.follower.position + 1
            self.follower.position = batch.last_seq
            self.received += [(batch.run_id, event) for event in batch.events]
        return len(self.received) - before

    def leave(self) -> None:
        self.logs.event_log.unsubscribe(self.follower)


class Logs:
    """One process's event log. The clock stands still; commits follow each other without a pause."""

    def __init__(self, store: LogStore | None = None, clock: ManualClock | None = None, **settings: Any) -> None:
        self.store = ControlledLog(store or MemoryLog())
        self.clock = clock or ManualClock()
        # The clock of a test goes far ahead: only the time-outs that it asks for are to fire.
        patient = {"agent_execution_timeout": 3600.0, "factory_timeout": 3600.0}
        self.settings = Settings(**{"commit_interval": 0.0, **patient, **settings})
        self.turns = Turns(self.clock)
        self.signals = Signals()
        self.event_log = EventLog(self.store, self.clock, self.settings, self.turns, self.signals)
        self.recovery = Recovery(self.event_log, self.event_log.commits, self.store, self.clock, self.settings)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Logs]:
        """Start, end what is unfinished, and stop at the end."""
        await self.recovery.run(await self.event_log.start())
        try:
            yield self
        finally:
            self.store.release_commits()
            self.store.failing_commits = 0
            await self.meanwhile(self.event_log.stop())

    async def meanwhile(self, awaitable: Awaitable[T]) -> T:
        """Wait for something that needs the time to go on."""
        task = asyncio.ensure_future(awaitable)
        async with asyncio.timeout(30):
            while not task.done():
                for _ in range(20):
                    await asyncio.sleep(0)
                if not task.done():
                    self.clock.advance(1.0)
                    await asyncio.wait([task], timeout=0 if self.store.in_memory else 0.001)
        return task.result()

    async def settle(self) -> None:
        """Until everything appended so far is durable."""
        await self.meanwhile(self.event_log.commits.committed())

    def kill(self) -> None:
        """What kill -9 leaves of this process: nothing but what the store has."""
        for task in asyncio.all_tasks():
            if task.get_name() in ("goldenpath-commits", "goldenpath-retention"):
                task.cancel()

    async def accept(self, run_id: str = "r1", thread: ThreadKey | None = None) -> LiveRun:
        """A run that has its place in the thread, and has not begun."""
        async with self.event_log.create(thread or key()) as log:
            row = RunRow(log.epoch, RunId(run_id), "echo", "running", self.clock.time(), input=b'{"messages":[]}')
            log.runs[row.run_id] = row
            log.updated_at = self.clock.time()
            self.event_log.commits.save(log, row)
            await self.event_log.prepare_transcript(log)
            return LiveRun(self, log, row)

    async def run(self, run_id: str = "r1", thread: ThreadKey | None = None, *deltas: str) -> LiveRun:
        """A whole run, appended at once."""
        run = await self.accept(run_id, thread)
        run.begin()
        run.say(*(deltas or ("hello",)))
        run.finish()
        return run

    async def subscribe(self, thread: ThreadKey | None = None, after: int = 0) -> Subscriber:
        async with self.event_log.open(thread or key()) as log:
            assert log is not None
            return Subscriber(self, log, after)

    async def whole(self, thread: ThreadKey | None = None) -> list[tuple[RunId, bytes]]:
        """Every event of a thread, read from the start."""
        reader = await self.subscribe(thread)
        await reader.read()
        reader.leave()
        return reader.received
