"""Whatever happens to the event log, in whatever order, the delivery contract holds.

A random life: runs on a few threads, readers that come and go, threads that are deleted, a store that fails or is slow,
retention of memory at its tightest, and processes that are killed and started again on what they left.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from goldenpath.runtime.interfaces import Commit, LogStore, ThreadKey
from goldenpath.runtime.run_states import ENDED
from goldenpath.runtime.stores.database import Database
from goldenpath.runtime.stores.memory_log import MemoryLog
from goldenpath.runtime.stores.sqlite_log import SCHEMA, SqliteLog
from goldenpath.runtime.thread_log import ThreadLog
from goldenpath.wire import events as ev
from goldenpath.wire.events import decode_event
from goldenpath.wire.ids import Epoch, RunId
from goldenpath.wire.messages import Message, decode_message
from goldenpath.wire.transcript import Transcript
from tests.runtime.logs import LiveRun, Logs, Subscriber, key

THREADS = tuple(key(f"t{number}") for number in range(3))
Events = list[tuple[RunId, bytes]]


class Life:
    """What happens, and what everybody saw of it."""

    def __init__(self, store: LogStore, numbers: Sequence[int]) -> None:
        self.store = store
        self.numbers = numbers
        self.place = 0
        self.logs = self.process()
        self.runs: dict[ThreadKey, LiveRun] = {}
        self.appended: dict[Epoch, Events] = {}
        self.seen: dict[Epoch, Events] = {}
        """What the best informed reader was given, for each log."""
        self.readers: list[Subscriber] = []
        self.deleted: set[Epoch] = set()
        """The logs whose deletion is durable."""
        self.deleting: set[Epoch] = set()
        self.made = 0

    def choose(self, limit: int) -> int:
        """The next number, below `limit`; 0 when there are no more."""
        self.place += 1
        return self.numbers[self.place - 1] % limit if self.place <= len(self.numbers) else 0

    def process(self) -> Logs:
        # Little memory, so that logs are dropped, forgotten and opened again all the time.
        return Logs(self.store, segment_bytes=400, cache_bytes=4000, retention_age=1e12)

    async def start(self) -> None:
        unfinished = await self.logs.event_log.start()
        await self.logs.recovery.run(unfinished)

    async def step(self) -> None:
        thread = THREADS[self.choose(len(THREADS))]
        match self.choose(12):
            case 0 | 1:
                await self.begin(thread)
            case 2 | 3:
                self.append(thread)
            case 4:
                self.finish(thread)
            case 5:
                await self.subscribe(thread)
            case 6 if self.readers:
                await self.read(self.readers[self.choose(len(self.readers))])
            case 7 if self.readers:
                self.readers.pop(self.choose(len(self.readers))).leave()
            case 8:
                self.logs.store.failing_commits = self.choose(4)
                self.logs.store.hold_commits() if self.choose(2) else self.logs.store.release_commits()
            case 9 if self.choose(3) == 0:
                await self.delete(thread)
            case 10 if self.choose(5) == 0:
                await self.kill()
            case _:
                self.logs.clock.advance(self.choose(3))
        for _ in range(self.choose(5)):
            await asyncio.sleep(0)

    async def begin(self, thread: ThreadKey) -> None:
        if thread in self.runs:
            return
        self.made += 1
        run = await self.logs.meanwhile(self.logs.accept(f"r{self.made}", thread))
        self.runs[thread] = run
        run.begin()
        self.note(run)

    def append(self, thread: ThreadKey) -> None:
        run = self.runs.get(thread)
        if run is None:
            return
        if ("message", f"reply-{run.row.run_id}") not in run.order.places:
            if run.log.transcript is not None and f"reply-{run.row.run_id}" in run.log.transcript.ids:
                run.put(ev.Custom("n", self.choose(10)))
            else:
                run.open_message()
        else:
            run.write(*(["x" * (self.choose(3) * 60 + 1)] * (self.choose(4) + 1)))
            if self.choose(4) == 0:
                run.put(ev.TextMessageEnd(f"reply-{run.row.run_id}"))
        self.note(run)

    def finish(self, thread: ThreadKey) -> None:
        run = self.runs.pop(thread, None)
        if run is not None:
            run.finish()
            self.note(run)

    def note(self, run: LiveRun) -> None:
        """Remember what was appended: it is still in memory, for it is not durable yet."""
        known = self.appended.setdefault(run.log.epoch, [])
        last = run.log.slices[-1]
        known += [(last.run_id, event) for event in last.events[len(known) + 1 - last.first_seq :]]
        assert len(known) == run.log.head

    async def subscribe(self, thread: ThreadKey) -> None:
        async def subscribe() -> None:
            async with self.logs.event_log.open(thread) as log:
                if log is not None:
                    self.readers.append(Subscriber(self.logs, log, self.choose(log.visible + 1)))

        self.logs.store.release_commits()  # who opens a log that is being made waits for its commit
        await self.logs.meanwhile(subscribe())

    async def read(self, reader: Subscriber) -> None:
        log = reader.follower.log
        assert self.logs.event_log.cache.logs.get(log.key) is log
        visible = log.visible
        await self.logs.meanwhile(reader.read((1, 150, 1 << 20)[self.choose(3)]))
        assert reader.follower.position >= visible
        self.check(reader)

    def check(self, reader: Subscriber) -> None:
        """A reader sees what was appended, from its start on, without a gap; and never what is not durable."""
        epoch = reader.follower.log.epoch
        stop = reader.start + len(reader.received)
        assert reader.received == self.appended[epoch][reader.start : stop]
        if stop > len(self.seen.get(epoch, [])):
            self.seen[epoch] = self.appended[epoch][:stop]

    async def delete(self, thread: ThreadKey) -> None:
        async def delete() -> ThreadLog | None:
            async with self.logs.event_log.open(thread) as log:
                if log is not None:
                    self.logs.event_log.delete(log)
                return log

        self.logs.store.release_commits()
        log = await self.logs.meanwhile(delete())
        if log is None:
            return
        self.runs.pop(thread, None)
        self.readers = [reader for reader in self.readers if not reader.deleted]
        assert all(reader.follower.log is not log for reader in self.readers)
        self.deleting.add(log.epoch)
        assert self.logs.event_log.cache.logs.get(thread) is None
        if self.choose(2):
            await self.logs.settle()
            self.deleted |= self.deleting
            self.deleting.clear()

    async def kill(self) -> None:
        """Kill this process, start another one, and look at every log."""
        self.logs.kill()
        # What had reached the disk has; nothing of the killed process happens after the next one's start.
        await self.store.commit(Commit(0, 0.0))
        for reader in self.readers:
            self.check(reader)
        self.readers, self.runs = [], {}
        self.logs = self.process()
        await self.start()
        await self.look(killed=True)

    async def look(self, *, killed: bool) -> None:
        for thread in THREADS:
            async with self.logs.event_log.open(thread) as log:
                if log is None:
                    continue
                assert log.epoch not in self.deleted
                self.deleting.discard(log.epoch)  # the process died before this was durable
                found = await self.logs.whole(thread)
                known = self.appended[log.epoch]
                if killed:
                    same = 0
                    while same < min(len(found), len(known)) and found[same] == known[same]:
                        same += 1
                    assert same >= len(self.seen.get(log.epoch, []))
                    assert all(is_end(event) for _, event in found[same:])
                    self.appended[log.epoch] = found
                else:
                    assert found == known
                check_runs(found, ended=killed)
                seq, messages = await self.logs.event_log.history(log)
                assert [decode_message(message) for message in messages] == folded(found[:seq])
                for row in await self.store.runs(log.epoch, 1000):
                    assert not killed or row.status in ENDED
        self.deleted |= self.deleting
        self.deleting.clear()

    async def end(self) -> None:
        """Let everything become durable, and look at it; then once more from another process."""
        self.logs.store.failing_commits = 0
        self.logs.store.release_commits()
        for reader in self.readers:
            await self.read(reader)
        await self.logs.settle()
        for reader in self.readers:
            await self.read(reader)
            assert reader.follower.position == reader.follower.log.head
            reader.leave()
        await self.look(killed=False)
        for thread in list(self.runs):
            self.finish(thread)
        await self.logs.settle()
        statistics = self.logs.event_log.statistics()
        assert statistics.followers == 0
        assert statistics.logs == statistics.idle_logs
        assert statistics.bytes <= 4000
        assert statistics.quiet_bytes <= 4000
        await self.logs.meanwhile(self.logs.event_log.stop())
        self.logs, self.readers = self.process(), []
        await self.start()
        await self.look(killed=True)
        await self.logs.meanwhile(self.logs.event_log.stop())


def is_end(event: bytes) -> bool:
    """Whether recovery may have appended this."""
    decoded = decode_event(event)
    return isinstance(decoded, ev.TextMessageEnd | ev.RunStarted) or (
        isinstance(decoded, ev.RunError) and decoded.code == "run_interrupted"
    )


def check_runs(found: Events, *, ended: bool) -> None:
    """Runs do not interleave, and each has one start and one end."""
    active: RunId | None = None
    seen: set[RunId] = set()
    for run_id, event in found:
        decoded = decode_event(event)
        if isinstance(decoded, ev.RunStarted):
            assert active is None
            assert run_id not in seen
            active = run_id
            seen.add(run_id)
        assert run_id == active
        if isinstance(decoded, ev.RunFinished | ev.RunError):
            active = None
    assert active is None or not ended


def folded(found: Events) -> list[Message]:
    transcript = Transcript()
    for _, event in found:
        transcript.apply(decode_event(event))
    return transcript.messages


async def live(store: LogStore, numbers: Sequence[int]) -> None:
    life = Life(store, numbers)
    await life.start()
    while life.place < len(numbers):
        await life.step()
    await life.end()


CHOICES = st.lists(st.integers(0, 59), min_size=30, max_size=600)


@settings(max_examples=60, deadline=None)
@given(CHOICES)
def test_the_contract_holds_in_memory(choices: list[int]) -> None:
    asyncio.run(live(MemoryLog(), choices))


def numbers(seed: int, count: int) -> list[int]:
    source = random.Random(seed)
    return [source.randrange(60) for _ in range(count)]


def test_the_contract_holds_through_long_lives(long_run: bool) -> None:
    for seed in range(1000 if long_run else 60):
        asyncio.run(live(MemoryLog(), numbers(seed, 5000 if long_run else 1500)))


async def test_the_contract_holds_on_sqlite(tmp_path: Path, long_run: bool) -> None:
    for seed in range(100 if long_run else 15):
        database = Database(tmp_path / f"{seed}.db", [SCHEMA])
        await database.open()
        try:
            await live(SqliteLog(database), numbers(seed, 3000 if long_run else 1000))
        finally:
            await database.close()
