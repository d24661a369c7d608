from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from goldenpath.clock import ManualClock
from goldenpath.runtime import group_commit, log_cache
from goldenpath.runtime.group_commit import JOURNAL_ROWS, TRIM_ROWS
from goldenpath.runtime.interfaces import LogStore, StoreError
from goldenpath.runtime.recovery import RecoveryError
from goldenpath.runtime.stores.memory_log import MemoryLog
from goldenpath.runtime.stores.sqlite_log import SqliteLog
from goldenpath.runtime.thread_log import LogDeletedError
from goldenpath.wire import events as ev
from goldenpath.wire.errors import RequestError
from goldenpath.wire.events import decode_event, encode
from goldenpath.wire.ids import RunId
from goldenpath.wire.messages import AssistantMessage, UserMessage, decode_message
from tests.runtime.logs import Logs, key


@pytest.fixture
async def logs(store: LogStore) -> AsyncIterator[Logs]:
    async with Logs(store).running() as running:
        yield running


@pytest.fixture
async def memory_logs() -> AsyncIterator[Logs]:
    async with Logs().running() as running:
        yield running


async def turns(count: int = 20) -> None:
    """Let everything that can go on do so."""
    for _ in range(count):
        await asyncio.sleep(0)


# --- the group commit -------------------------------------------------------------------------------------------------


async def test_events_are_visible_when_they_are_durable_and_not_before(logs: Logs) -> None:
    run = await logs.accept()
    await logs.settle()
    reader = await logs.subscribe()
    logs.store.hold_commits()
    run.begin()
    run.say("one")
    await asyncio.wait_for(logs.store.in_flight.wait(), 10)
    assert (await reader.read(), reader.told, run.log.visible) == (0, 0, 0)
    logs.store.release_commits()
    await logs.settle()
    assert reader.told == 1
    assert await reader.read() == 4
    assert reader.received == await logs.whole()


async def test_what_gathers_while_a_commit_is_under_way_goes_together_with_the_next(logs: Logs) -> None:
    runs = [await logs.accept(thread=key(f"t{number}")) for number in range(10)]
    await logs.settle()
    readers = [await logs.subscribe(key(f"t{number}")) for number in range(10)]
    before = len(logs.store.commits)
    logs.store.hold_commits()
    runs[0].begin()
    await asyncio.wait_for(logs.store.in_flight.wait(), 10)
    for run in runs[1:]:
        run.begin()
    for run in runs:
        run.say("a", "b")
    logs.store.release_commits()
    await logs.settle()
    first, second, *_ = logs.store.commits[before:]
    assert [entry.epoch for entry in first.journal] == [runs[0].log.epoch]
    assert {entry.epoch for entry in second.journal} == {run.log.epoch for run in runs}
    assert len(second.journal) == 10
    assert [reader.told for reader in readers] == [2, *[1] * 9]
    assert [await reader.read() for reader in readers] == [5] * 10


async def test_a_lone_event_is_committed_at_once_and_a_flood_once_in_an_interval() -> None:
    async with Logs(commit_interval=5.0).running() as logs:
        run = await logs.accept()
        await logs.settle()
        logs.clock.advance(100.0)
        run.begin()
        await turns()  # without the time going on
        assert run.log.visible == 1
        for number in range(3):
            before = len(logs.store.commits)
            for _ in range(20):
                run.put(ev.Custom("n", number))
                await asyncio.sleep(0)
            logs.clock.advance(4.9)
            await turns()
            assert len(logs.store.commits) == before
            logs.clock.advance(0.2)
            await turns()
            assert len(logs.store.commits) == before + 1
            assert run.log.visible == run.log.head


async def test_an_agent_waits_for_room_until_the_commit_that_holds_its_events(memory_logs: Logs) -> None:
    logs = memory_logs
    run = await logs.accept()
    await logs.settle()
    logs.store.hold_commits()
    run.begin()
    room = asyncio.create_task(logs.event_log.commits.room(run.log))
    await asyncio.wait_for(logs.store.in_flight.wait(), 10)
    assert not room.done()
    logs.store.release_commits()
    await asyncio.wait_for(room, 10)
    assert run.log.visible == run.log.head == 1


async def test_cancelling_who_waits_loses_nothing(memory_logs: Logs) -> None:
    logs = memory_logs
    run = await logs.accept()
    logs.store.hold_commits()
    run.begin()
    commits = logs.event_log.commits
    waiters = [asyncio.create_task(commits.committed()), asyncio.create_task(commits.room(run.log))]
    other = asyncio.create_task(commits.room(run.log))
    await asyncio.wait_for(logs.store.in_flight.wait(), 10)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    logs.store.release_commits()
    await logs.settle()
    await asyncio.wait_for(other, 10)
    assert not commits._waiting
    assert [decode_event(event) for _, event in await logs.whole()][0:1] != []
    assert run.log.visible == run.log.head == 1


async def test_stopping_commits_what_is_pending(store: LogStore) -> None:
    logs = Logs(store)
    async with logs.running():
        run = await logs.run()
        events = [event for each in run.log.slices for event in each.events]
    async with Logs(store).running() as again:
        assert [event for _, event in await again.whole()] == events


async def test_stopping_before_the_start_is_harmless() -> None:
    await Logs().event_log.stop()


async def test_a_log_that_ends_while_the_store_is_broken_says_so() -> None:
    logs = Logs()
    await logs.event_log.start()
    await logs.run()
    logs.store.failing_commits = 1 << 30
    with pytest.raises(StoreError, match="could not be written"):
        await logs.meanwhile(logs.event_log.stop())
    assert not logs.event_log.commits.healthy
    assert logs.event_log.statistics().failures > 0


# --- a store that fails -----------------------------------------------------------------------------------------------


async def test_a_commit_that_fails_is_tried_again_and_nothing_is_lost_or_reordered(logs: Logs) -> None:
    run = await logs.accept()
    await logs.settle()
    reader = await logs.subscribe()
    logs.store.failing_commits = 4
    run.begin()
    committed = asyncio.create_task(logs.event_log.commits.committed())
    sizes: list[int] = []
    while not committed.done():
        if ("message", "reply-r1") not in run.order.places:
            run.open_message()
        run.write(str(len(sizes)))
        sizes.append(run.log.visible)
        await asyncio.wait([committed], timeout=0.001)
        logs.clock.advance(0.5)
    assert logs.store.failing_commits == 0
    assert sizes[0] == 0
    run.put(ev.TextMessageEnd("reply-r1"))
    run.finish()
    await logs.settle()
    await reader.read()
    assert reader.received == await logs.whole()
    texts = [
        event.delta for _, data in reader.received if isinstance(event := decode_event(data), ev.TextMessageContent)
    ]
    assert texts == [str(number) for number in range(len(sizes))]
    statistics = logs.event_log.statistics()
    assert (statistics.failures, statistics.healthy) == (4, True)


async def test_a_failing_store_is_told_of_while_it_fails(memory_logs: Logs) -> None:
    logs = memory_logs
    assert logs.event_log.commits.healthy
    logs.store.failing_commits = 3
    run = await logs.accept()
    run.begin()
    healthy = []
    while run.log.visible == 0:
        healthy.append(logs.event_log.commits.healthy)
        logs.clock.advance(0.1)
        await asyncio.sleep(0)
    assert False in healthy
    assert logs.event_log.commits.healthy


async def test_retries_wait_longer_and_longer_but_no_more_than_two_seconds(memory_logs: Logs) -> None:
    logs = memory_logs
    logs.store.failing_commits = 12
    start = logs.clock.monotonic()
    committed = asyncio.create_task(logs.event_log.commits.committed())
    times: list[float] = []
    while not committed.done():
        if logs.store.attempts > len(times):
            times.append(logs.clock.monotonic() - start)
        await asyncio.sleep(0)
        logs.clock.advance(0.01)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(pauses) == 12
    assert pauses[0] < 0.15
    assert all(later > earlier for earlier, later in itertools.pairwise(pauses[:6]))
    assert all(1.9 < pause < 2.2 for pause in pauses[7:])


# --- opening ----------------------------------------------------------------------------------------------------------


async def test_a_thread_that_nobody_made_is_none(logs: Logs) -> None:
    async with logs.event_log.open(key()) as log:
        assert log is None
    assert logs.event_log.statistics().logs == 0


async def test_a_log_exists_for_others_once_a_run_was_accepted_and_committed(logs: Logs) -> None:
    logs.store.hold_commits()
    await logs.accept()
    opening = asyncio.create_task(logs.subscribe())
    while not logs.store.in_flight.is_set():
        await asyncio.sleep(0)
    assert not opening.done()
    logs.store.release_commits()
    await logs.meanwhile(opening)
    assert opening.result().follower.log.durable


async def test_a_log_that_was_made_for_nothing_is_forgotten(logs: Logs) -> None:
    async with logs.event_log.create(key()) as log, logs.event_log.create(key()) as same:
        assert log is same
        epoch = log.epoch
    assert logs.event_log.statistics().logs == 0
    async with logs.event_log.create(key()) as log:
        assert log.epoch != epoch


async def test_a_log_is_opened_from_the_store_once_however_many_ask(store: LogStore) -> None:
    async with Logs(store).running() as logs:
        made = (await logs.run()).log
    async with Logs(store).running() as logs:
        readers = await asyncio.gather(*(logs.subscribe() for _ in range(20)))
        assert logs.store.reads.count("thread") == 1
        assert len({id(reader.follower.log) for reader in readers}) == 1
        log = readers[0].follower.log
        assert (log.epoch, log.head, log.visible) == (made.epoch, made.head, made.head)


async def test_when_who_opens_a_log_is_cancelled_another_one_goes_on(memory_logs: Logs) -> None:
    logs = memory_logs
    async with Logs(logs.store.store).running() as earlier:
        await earlier.run()
    gate = logs.store.hold_read("thread")
    first = asyncio.create_task(logs.subscribe())
    second = asyncio.create_task(logs.subscribe())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    reader = await asyncio.wait_for(second, 10)
    gate.set()
    assert await reader.read() == 5


async def test_a_log_that_cannot_be_read_is_not_kept(memory_logs: Logs) -> None:
    logs = memory_logs
    logs.store.reads_fail = True
    with pytest.raises(StoreError):
        await logs.subscribe()
    logs.store.reads_fail = False
    async with logs.event_log.open(key()) as log:
        assert log is None


# --- deleting ---------------------------------------------------------------------------------------------------------


async def gone(logs: Logs) -> bool:
    async with logs.event_log.open(key()) as log:
        return log is None


@pytest.mark.parametrize("moment", ["before it was committed", "while a commit is under way", "when it is durable"])
async def test_a_log_can_be_deleted_at_any_moment(logs: Logs, moment: str) -> None:
    other = await logs.run("r9", key("t2"))
    run = await logs.accept()
    if moment == "when it is durable":
        await logs.settle()
    logs.store.hold_commits()
    run.begin()
    run.say("one")
    if moment == "while a commit is under way":
        await asyncio.wait_for(logs.store.in_flight.wait(), 10)
    logs.event_log.delete(run.log)
    logs.event_log.delete(run.log)
    assert await gone(logs)
    with pytest.raises(LogDeletedError):
        run.put(ev.Custom("n", 1))
    with pytest.raises(LogDeletedError):
        await logs.event_log.commits.room(run.log)
    with pytest.raises(LogDeletedError):
        await logs.event_log.history(run.log)
    logs.event_log.finish(run.log, run.row)
    logs.event_log.commits.save(run.log, run.row)
    logs.store.release_commits()
    await logs.settle()
    assert await gone(logs)
    inner = logs.store.store
    assert await inner.thread(key()) is None
    assert await inner.runs(run.log.epoch, 10) == []
    assert await inner.segments(run.log.epoch, 0, 1000) == []
    assert await inner.messages(run.log.epoch) == []
    assert len(await logs.whole(key("t2"))) == other.log.head


async def test_deleting_tells_every_follower_and_wakes_who_waits(memory_logs: Logs) -> None:
    logs = memory_logs
    run = await logs.run()
    await logs.settle()
    readers = [await logs.subscribe() for _ in range(3)]
    run = await logs.accept("r2")
    run.begin()
    room = asyncio.create_task(logs.event_log.commits.room(run.log))
    await asyncio.sleep(0)
    logs.event_log.delete(run.log)
    assert [reader.deleted for reader in readers] == [True] * 3
    await asyncio.wait_for(room, 10)
    for reader in readers:
        reader.leave()
        reader.leave()
    assert logs.event_log.statistics().followers == 0
    assert logs.event_log.statistics().logs == 0


async def test_a_deleted_thread_does_not_come_back_while_its_deletion_is_not_durable(logs: Logs) -> None:
    run = await logs.run()
    await logs.settle()
    logs.store.hold_commits()
    logs.event_log.delete(run.log)
    assert await gone(logs)
    await asyncio.wait_for(logs.store.in_flight.wait(), 10)
    assert await gone(logs)
    again = await logs.accept("r2")
    assert again.log.epoch != run.log.epoch
    assert again.log.head == 0
    again.begin()
    logs.store.release_commits()
    await logs.settle()
    assert len(await logs.whole()) == 1
    row = await logs.store.store.thread(key())
    assert row is not None
    assert row.epoch == again.log.epoch


async def test_a_thread_deleted_twice_in_a_row_is_gone(logs: Logs) -> None:
    first = await logs.run()
    await logs.settle()
    logs.store.hold_commits()
    logs.event_log.delete(first.log)
    await asyncio.wait_for(logs.store.in_flight.wait(), 10)
    second = await logs.run("r2")
    logs.event_log.delete(second.log)
    logs.store.release_commits()
    await logs.settle()
    assert await gone(logs)
    assert await logs.store.store.threads(key().user_id, 10, None) == []


async def test_history_that_is_asked_for_while_the_log_is_deleted_is_refused_and_not_empty(logs: Logs) -> None:
    await logs.run()
    await logs.settle()
    async with Logs(logs.store.store).running() as other, other.event_log.open(key()) as log:
        assert log is not None
        gate = other.store.hold_read("messages", before=True)
        asked = asyncio.create_task(other.event_log.history(log))
        await turns()
        other.event_log.delete(log)
        await other.settle()
        gate.set()
        with pytest.raises(LogDeletedError):
            await asyncio.wait_for(asked, 10)


# --- what stays in memory ---------------------------------------------------------------------------------------------


async def test_idle_logs_are_forgotten_oldest_first_and_come_back_from_the_store(logs: Logs) -> None:
    sizes = []
    for number in range(4):
        run = await logs.run("r1", key(f"t{number}"))
        await logs.settle()
        sizes.append(run.log.size)
    assert logs.event_log.statistics().idle_logs == 4
    assert logs.event_log.statistics().bytes == sum(sizes)
    # After a second run each log has twice the events and messages: room for two of them, and not for three.
    small = Logs(logs.store.store, cache_bytes=3 * run.log.weight)
    async with small.running():
        for number in range(4):
            await small.run("r2", key(f"t{number}"))
            await small.settle()
        in_memory = [number for number in range(4) if small.event_log.cache.logs.get(key(f"t{number}")) is not None]
        assert in_memory == [2, 3]
        for number in range(4):
            assert len(await small.whole(key(f"t{number}"))) == 10


async def test_a_bounded_number_of_idle_logs_stays(memory_logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_cache, "QUIET_LOGS", 3)
    for number in range(10):
        await memory_logs.run("r1", key(f"t{number}"))
        await memory_logs.settle()
    statistics = memory_logs.event_log.statistics()
    assert (statistics.logs, statistics.idle_logs) == (3, 3)
    assert len(await memory_logs.whole(key("t0"))) == 5


async def test_a_log_with_a_follower_an_active_run_or_a_pin_is_not_forgotten() -> None:
    async with Logs(cache_bytes=0).running() as logs:
        await logs.run("r1", key("followed"))
        await logs.settle()
        reader = await logs.subscribe(key("followed"))
        active = await logs.accept("r1", key("active"))
        active.begin()
        await logs.run("r1", key("pinned"))
        async with logs.event_log.open(key("pinned")) as log:
            await logs.run("r1", key("idle"))
            await logs.settle()
            in_memory = logs.event_log.cache.logs
            kept = {name for name in ("followed", "active", "pinned", "idle") if in_memory.get(key(name))}
            assert kept == {"followed", "active", "pinned"}
            assert log is in_memory.get(key("pinned"))
        reader.leave()
        active.finish()
        await logs.settle()
        assert logs.event_log.statistics().logs == 0
        assert logs.event_log.statistics().bytes == 0


async def test_quiet_logs_in_use_keep_no_more_than_their_share_and_lose_nothing(store: LogStore) -> None:
    async with Logs(store, cache_bytes=20_000).running() as logs:
        readers = []
        for number in range(4):
            await logs.run("r1", key(f"t{number}"))
            await logs.settle()
            readers.append(await logs.subscribe(key(f"t{number}")))
        for turn in range(2, 12):
            for number in range(4):
                await logs.run(f"r{turn}", key(f"t{number}"))
                await logs.settle()
                assert logs.event_log.cache.quiet_bytes <= 20_000
        kept = logs.event_log.cache.logs
        assert len(kept) == 4
        assert kept[key("t0")].size == 0  # it was quiet the longest
        assert kept[key("t3")].transcript is not None
        assert kept[key("t3")].size > 0
        for number, reader in enumerate(readers):
            while await reader.read(1 << 20):
                pass
            whole = await logs.whole(key(f"t{number}"))
            assert len(whole) == 11 * 5
            async with logs.event_log.open(key(f"t{number}")) as log:
                assert log
                seq, messages = await logs.event_log.history(log)
            assert (seq, len(messages)) == (55, 22)


async def test_quiet_logs_in_use_lose_their_events_before_their_messages(store: LogStore) -> None:
    async with Logs(store, cache_bytes=16_000).running() as logs:
        for number in range(4):
            await logs.run("r1", key(f"t{number}"))
            await logs.settle()
            await logs.subscribe(key(f"t{number}"))
        kept = logs.event_log.cache.logs
        seen: set[tuple[bool, bool]] = set()
        for turn in range(2, 30):
            await logs.run(f"r{turn}", key("t3"))
            await logs.settle()
            assert logs.event_log.cache.quiet_bytes <= 16_000
            seen.add((kept[key("t0")].size > 0, kept[key("t0")].transcript is not None))
        assert seen == {(True, True), (False, True), (False, False)}


async def test_a_log_keeps_a_bounded_part_in_memory_and_the_rest_is_read_from_segments(store: LogStore) -> None:
    async with Logs(store, segment_bytes=2000).running() as logs:
        run = await logs.accept()
        run.begin()
        run.open_message()
        texts = [f"{number:03}" * 20 for number in range(300)]
        for number, text in enumerate(texts):
            run.write(text)
            if number % 10 == 9:
                await logs.settle()
                assert run.log.size < 4500
        for max_bytes in (1, 700, 1 << 20):
            reader = await logs.subscribe()
            while await reader.read(max_bytes):
                pass
            deltas = [decode_event(event) for _, event in reader.received[2:]]
            assert [event.delta for event in deltas if isinstance(event, ev.TextMessageContent)] == texts
            reader.leave()
        _, messages = await logs.event_log.history(run.log)
        assert decode_message(messages[-1]) == AssistantMessage(id="reply-r1", content="".join(texts))


# --- the journal ------------------------------------------------------------------------------------------------------


def journal_rows(logs: Logs) -> int:
    inner = logs.store.store
    assert isinstance(inner, MemoryLog)
    return len(inner._journal)


async def test_the_journal_is_trimmed_when_its_events_lie_in_segments(memory_logs: Logs) -> None:
    logs = memory_logs
    for number in range(3 * TRIM_ROWS):
        run = await logs.accept(f"r{number}")
        run.begin()
        await logs.settle()
        run.say("a")
        run.finish()
        await logs.settle()
        assert journal_rows(logs) <= TRIM_ROWS + 1
    assert len(await logs.whole()) == 3 * TRIM_ROWS * 5


async def test_a_slow_run_does_not_keep_the_journal_of_all(memory_logs: Logs) -> None:
    logs = memory_logs
    slow = await logs.accept("slow", key("slow"))
    slow.begin()
    slow.open_message()
    await logs.settle()
    busy = await logs.accept("busy", key("busy"))
    busy.begin()
    most = 0
    for number in range(JOURNAL_ROWS + 2 * TRIM_ROWS):
        busy.put(ev.Custom("n", number))
        await logs.event_log.commits.committed()
        most = max(most, journal_rows(logs))
    assert JOURNAL_ROWS - TRIM_ROWS <= most <= JOURNAL_ROWS + TRIM_ROWS
    assert journal_rows(logs) <= 2 * TRIM_ROWS
    segments = await logs.store.store.segments(slow.log.epoch, 0, 1 << 20)
    assert [len(part.events) for part in segments] == [2]
    assert len(await logs.whole(key("slow"))) == 2


async def test_a_flood_of_bytes_does_not_fill_the_journal(memory_logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = memory_logs
    monkeypatch.setattr(group_commit, "JOURNAL_BYTES", 20_000)
    slow = await logs.accept("slow", key("slow"))
    slow.begin()
    for _ in range(TRIM_ROWS):
        await logs.event_log.commits.committed()
    await logs.settle()
    busy = await logs.accept("busy", key("busy"))
    busy.begin()
    puts = 0
    while not await logs.store.store.segments(slow.log.epoch, 0, 1):
        busy.put(ev.Custom("n", "x" * 2000))
        await logs.event_log.commits.committed()
        puts += 1
    assert 5 < puts < 15
    for _ in range(TRIM_ROWS):
        await logs.event_log.commits.committed()
    busy.put(ev.Custom("n", "end"))
    await logs.settle()
    assert journal_rows(logs) <= TRIM_ROWS


# --- the history ------------------------------------------------------------------------------------------------------


async def test_history_is_complete_up_to_the_place_it_names(logs: Logs) -> None:
    await logs.run("r1")
    run = await logs.accept("r2")
    run.begin()
    run.open_message()
    run.write("so ", "far")
    await logs.settle()
    run.write(" and not durable")
    seq, messages = await logs.event_log.history(run.log)
    assert seq == run.log.visible == 9
    assert [decode_message(message) for message in messages] == [
        UserMessage("hello", id="user-r1"),
        AssistantMessage(id="reply-r1", content="hello"),
        UserMessage("hello", id="user-r2"),
        AssistantMessage(id="reply-r2", content="so far"),
    ]
    await logs.settle()


async def test_history_waits_for_what_the_transcript_holds_already(logs: Logs) -> None:
    run = await logs.accept()
    await logs.settle()
    logs.store.hold_commits()
    run.begin()
    run.say("done")
    run.finish()
    asked = asyncio.create_task(logs.event_log.history(run.log))
    await asyncio.wait_for(logs.store.in_flight.wait(), 10)
    assert not asked.done()
    logs.store.release_commits()
    seq, messages = await logs.meanwhile(asked)
    assert (seq, len(messages)) == (5, 2)


async def test_history_of_a_log_at_rest_is_read_from_the_store(store: LogStore) -> None:
    async with Logs(store).running() as logs:
        run = await logs.run("r1", None, "a", "b")
        expected = await logs.meanwhile(logs.event_log.history(run.log))
    async with Logs(store).running() as logs, logs.event_log.open(key()) as log:
        assert log is not None
        assert await logs.event_log.history(log) == expected
        assert log.transcript is None
        await logs.event_log.prepare_transcript(log)
        await logs.event_log.prepare_transcript(log)
        assert await logs.event_log.history(log) == expected
        assert logs.store.reads.count("messages") == 2


async def test_taking_in_a_history_for_a_run_is_a_turn_of_its_user(memory_logs: Logs) -> None:
    await memory_logs.run()
    await memory_logs.settle()
    async with Logs(memory_logs.store.store).running() as logs, logs.event_log.open(key()) as log:
        assert log is not None
        async with logs.turns.turn(key().user_id):
            logs.clock.advance(3.0)
        preparing = asyncio.create_task(logs.event_log.prepare_transcript(log))
        await turns()
        assert log.transcript is None
        assert logs.turns.statistics().waiting == 1
        logs.clock.advance(3.0)
        await asyncio.wait_for(preparing, 10)
        _, messages = await logs.event_log.history(log)
        assert (log.transcript is None, len(messages)) == (False, 2)


async def test_a_run_that_begins_while_history_is_read_does_not_mix_in(memory_logs: Logs) -> None:
    async with Logs(memory_logs.store.store).running() as logs:
        await logs.run("r1")
    logs = memory_logs
    async with logs.event_log.open(key()) as log:
        assert log is not None
        gate = logs.store.hold_read("messages")
        asked = asyncio.create_task(logs.event_log.history(log))
        await asyncio.sleep(0)
        await logs.run("r2")
        await logs.settle()
        gate.set()
        seq, messages = await logs.meanwhile(asked)
    assert (seq, len(messages)) == (10, 4)


# --- retention --------------------------------------------------------------------------------------------------------


async def test_what_is_too_old_is_removed_and_a_cursor_there_is_told(logs: Logs) -> None:
    old = await logs.run("r1")
    await logs.settle()
    logs.clock.advance(logs.settings.retention_age - 10)
    await logs.run("r2")
    await logs.settle()
    async with Logs(logs.store.store, clock=logs.clock).running() as other:
        reader = await other.subscribe()
        logs.clock.advance(20)
        await other.event_log.retention.enforce()
        assert other.event_log.cache.logs.get(key()) is reader.follower.log
        assert reader.follower.log.floor == 6
        assert reader.follower.log.removed(0)
        assert await reader.read() == 0
        reader.leave()
        later = await other.subscribe(after=5)
        assert await later.read() == 5
        later.leave()
    assert old.log.epoch


async def test_a_log_that_grew_too_big_loses_its_oldest_events(store: LogStore) -> None:
    async with Logs(store, retention_bytes=3000, segment_bytes=1000).running() as logs:
        for number in range(10):
            await logs.run(f"r{number}", None, "x" * 500)
            await logs.settle()
        await logs.event_log.retention.enforce()
        log = logs.event_log.cache.logs.get(key())
        assert log is not None
        assert 20 < log.floor < 50
        assert log.removed(0)
        reader = await logs.subscribe(after=log.floor - 1)
        assert await reader.read() == 50 - log.floor + 1
        reader.leave()


async def test_a_log_that_an_earlier_process_left_too_big_loses_its_oldest_events_too(store: LogStore) -> None:
    async with Logs(store).running() as earlier:
        log = (await earlier.run()).log
        await earlier.settle()
    async with Logs(store, retention_bytes=0).running() as logs:
        logs.store.reads_fail = True
        with pytest.raises(StoreError):
            await logs.event_log.retention.enforce()
        logs.store.reads_fail = False
        await logs.event_log.retention.enforce()
        await logs.event_log.retention.enforce()
        assert logs.store.reads.count("oversized") == 2  # once it is known, those that grow here are enough
    row = await store.thread(log.key)
    assert row is not None
    assert row.floor == 6


async def test_the_events_of_an_active_run_are_not_removed(store: LogStore) -> None:
    async with Logs(store, retention_bytes=100, segment_bytes=1000).running() as logs:
        run = await logs.accept()
        run.begin()
        run.open_message()
        for _ in range(50):
            run.write("x" * 500)
            await logs.settle()
        await logs.event_log.retention.enforce()
        assert run.log.floor == 1
        assert len(await logs.whole()) == 52


async def test_retention_is_enforced_again_and_again(memory_logs: Logs) -> None:
    logs = memory_logs
    await logs.run()
    await logs.settle()
    log = logs.event_log.cache.logs.get(key())
    assert log is not None
    await logs.event_log.retention.enforce()
    for _ in range(3):  # the first two fail and stop nothing
        logs.store.reads_fail = logs.store.reads.count("retain") < 3
        logs.clock.advance(logs.settings.retention_age + 1)
        for _ in range(10):
            await asyncio.sleep(0)
    assert logs.store.reads.count("retain") == 4
    assert log.floor == 6


async def test_a_retention_during_a_commit_does_not_forget_what_it_makes_grow(store: LogStore) -> None:
    async with Logs(store, retention_bytes=0).running() as logs:
        logs.store.hold_commits()
        run = await logs.run()
        await asyncio.wait_for(logs.store.in_flight.wait(), 10)
        await logs.event_log.retention.enforce()
        logs.store.release_commits()
        await logs.settle()
        await logs.event_log.retention.enforce()
        assert run.log.floor == 6


async def test_a_retention_that_failed_does_not_forget_what_grew(store: LogStore) -> None:
    async with Logs(store, retention_bytes=0).running() as logs:
        await logs.event_log.retention.enforce()
        run = await logs.run()
        await logs.settle()
        logs.store.reads_fail = True
        with pytest.raises(StoreError):
            await logs.event_log.retention.enforce()
        logs.store.reads_fail = False
        await logs.event_log.retention.enforce()
        assert run.log.floor == 6


async def test_a_cursor_on_a_log_that_was_opened_while_retention_ran_is_told_too(store: LogStore) -> None:
    async with Logs(store).running() as logs:
        await logs.run()
        await logs.settle()
    async with Logs(store).running() as logs:
        gate = logs.store.hold_read("thread")
        opening = asyncio.create_task(logs.subscribe())
        while not logs.store.reads.count("thread"):
            await asyncio.sleep(0)
        for _ in range(100):  # the row is read before retention changes it
            await asyncio.sleep(0.001 if isinstance(store, SqliteLog) else 0)
        logs.clock.advance(logs.settings.retention_age * 2)
        await logs.event_log.retention.enforce()
        gate.set()
        reader = await asyncio.wait_for(opening, 10)
        assert await reader.read() == 0
        assert reader.follower.log.removed(0)
        reader.leave()


# --- recovery ---------------------------------------------------------------------------------------------------------


async def test_the_journal_is_kept_until_every_log_is_recovered(store: LogStore) -> None:
    first = Logs(store)
    await first.event_log.start()
    for name in ("t1", "t2"):
        run = await first.accept("r1", key(name))
        run.begin()
        run.open_message()
    for number in range(TRIM_ROWS + 5):
        run.write(str(number))
        await first.settle()
    held = await first.whole(key("t2"))
    first.kill()

    second = Logs(store)
    unfinished = await second.event_log.start()
    assert len(unfinished) == 2
    unfinished.sort(key=lambda left: left.thread.key)
    await second.recovery.run(unfinished[:1])
    for _ in range(TRIM_ROWS + 5):
        await second.settle()
    second.kill()

    async with Logs(store).running() as third:
        found = await third.whole(key("t2"))
        assert found[: len(held)] == held
        assert [decode_event(event) for _, event in found[len(held) :]] == [
            ev.TextMessageEnd("reply-r1"),
            ev.RunError("the server stopped during this run; send the message again", code="run_interrupted"),
        ]


async def unfinished_threads(store: LogStore, count: int) -> None:
    logs = Logs(store)
    await logs.event_log.start()
    for number in range(count):
        run = await logs.accept("r1", key(f"t{number}"))
        run.begin()
    await logs.settle()
    logs.kill()


async def test_a_log_is_opened_when_its_own_runs_are_ended_and_others_do_not_wait(memory_logs: Logs) -> None:
    store = memory_logs.store.store
    await unfinished_threads(store, 2)
    logs = Logs(store)
    unfinished = await logs.event_log.start()
    gate = logs.store.hold_read("messages")
    recovery = asyncio.create_task(logs.recovery.run(unfinished))
    asked = [asyncio.create_task(logs.whole(left.thread.key)) for left in unfinished]
    listing = asyncio.create_task(logs.event_log.cache.recovery())
    made = await logs.run("r1", key("new"))
    await logs.settle()
    assert made.log.visible == 5
    assert [task.done() for task in asked] == [False, False]
    assert not listing.done()
    gate.set()
    await logs.meanwhile(recovery)
    for task in asked:
        *_, (_, last) = await logs.meanwhile(task)
        assert isinstance(decode_event(last), ev.RunError)
    await listing
    await logs.meanwhile(logs.event_log.stop())


async def test_a_log_that_cannot_be_recovered_stays_closed_and_all_others_are_served(store: LogStore) -> None:
    await unfinished_threads(store, 3)
    logs = Logs(store)
    unfinished = await logs.event_log.start()
    broken = unfinished[1]
    broken.journal[0].events.append(encode(ev.TextMessageEnd("never opened")))
    with pytest.raises(RecoveryError, match="1 threads"):
        await logs.meanwhile(logs.recovery.run(unfinished))
    for left in unfinished:
        if left is broken:
            with pytest.raises(RequestError, match="could not be recovered"):
                await logs.whole(left.thread.key)
            with pytest.raises(RequestError, match="could not be recovered"):
                await logs.accept("r2", left.thread.key)
        else:
            assert len(await logs.whole(left.thread.key)) == 2
    await asyncio.wait_for(logs.event_log.cache.recovery(), 10)
    await logs.meanwhile(logs.event_log.stop())


async def test_stopping_lets_go_of_who_waits_for_recovery() -> None:
    store = MemoryLog()
    await unfinished_threads(store, 1)
    logs = Logs(store)
    await logs.event_log.start()
    asked = asyncio.create_task(logs.whole(key("t0")))
    await asyncio.sleep(0)
    await logs.meanwhile(logs.event_log.stop())
    with pytest.raises(RequestError):
        await asyncio.wait_for(asked, 10)


# --- statistics -------------------------------------------------------------------------------------------------------


async def test_statistics_count_what_is_held_and_what_was_done(memory_logs: Logs) -> None:
    logs = memory_logs
    run = await logs.run()
    await logs.settle()
    reader = await logs.subscribe()
    statistics = logs.event_log.statistics()
    assert (statistics.logs, statistics.idle_logs, statistics.followers) == (1, 0, 1)
    assert (statistics.bytes, statistics.events, statistics.failures) == (run.log.size, 5, 0)
    assert statistics.commits == len(logs.store.commits)
    assert statistics.healthy
    reader.leave()
    assert logs.event_log.statistics().idle_logs == 1


def test_times_are_the_clocks() -> None:
    async def check(**settings: Any) -> None:
        clock = ManualClock(start=5000.0)
        logs = Logs(clock=clock, **settings)
        async with logs.running():
            run = await logs.run()
            await logs.settle()
            assert run.log.created_at == 5000.0
            assert logs.store.commits[0].now >= 5000.0
            assert run.row.run_id == RunId("r1")

    asyncio.run(check())
