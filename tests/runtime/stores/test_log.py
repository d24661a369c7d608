"""What every `LogStore` does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldenpath.runtime.interfaces import Commit, LogStore, RunStatus, StoreError, Unfinished
from goldenpath.runtime.stores.memory_log import MemoryLog
from goldenpath.wire.ids import Epoch, RunId, UserId
from tests.runtime.stores.opened import opened_log
from tests.runtime.stores.rows import commit, events, journal, key, messages, run, segment, thread

E1, E2 = Epoch("e1"), Epoch("e2")
ENDED: tuple[RunStatus, ...] = ("finished", "failed", "cancelled", "interrupted")
ANN = UserId("ann")


async def left_by(store: LogStore) -> dict[Epoch, Unfinished]:
    _, unfinished = await store.recover()
    return {left.thread.epoch: left for left in unfinished}


async def test_an_empty_store_has_nothing_and_nothing_unfinished(store: LogStore) -> None:
    assert await store.recover() == (0, [])
    assert await store.thread(key()) is None
    assert await store.threads(ANN, 10, None) == []
    assert await store.run(E1, RunId("r1")) is None
    assert await store.runs(E1, 10) == []
    assert await store.segments(E1, 0, 1000) == []
    assert await store.messages(E1) == []
    assert await store.retain(1e9, [E1], 0) == []


async def test_a_commit_may_be_empty(store: LogStore) -> None:
    await store.commit(commit(1))
    await store.commit(commit(2))
    assert await left_by(store) == {}


async def test_everything_is_read_back_as_it_was_committed(store: LogStore) -> None:
    row = thread(updated=0.1 + 0.2, head=7, floor=3, message_count=2, history_bytes=1 << 40)
    ended = run(
        "r1", "failed", started_at=1.5, finished_at=2.75, error="agent_error", first_seq=1, last_seq=7, input=None
    )
    queued = run("r2", "queued", input=b'{"messages":[{"content":"\xc3\xa9\\u0000"}]}')
    await store.commit(
        commit(
            threads=[row],
            runs=[ended, queued],
            segments=[segment(3, 7)],
            messages=[messages(0, '"\u00e9"', '"\U0001f600"')],
        )
    )
    assert await store.thread(key()) == row
    assert await store.threads(ANN, 10, None) == [row]
    assert await store.run(E1, RunId("r1")) == ended
    assert await store.run(E1, RunId("r2")) == queued
    assert await store.runs(E1, 10) == [ended, queued]
    assert await store.segments(E1, 0, 1000) == [segment(3, 7)]
    assert await store.messages(E1) == ['"\u00e9"'.encode(), '"\U0001f600"'.encode()]


async def test_what_belongs_to_another_user_is_as_if_it_were_not(store: LogStore) -> None:
    await store.commit(commit(threads=[thread("ann", "t1", epoch="e1")], runs=[run(epoch="e1")]))
    assert await store.thread(key("bob", "t1")) is None
    assert await store.threads(UserId("bob"), 10, None) == []
    assert await store.thread(key("ann", "T1")) is None
    assert await store.run(E2, RunId("r1")) is None


async def test_two_users_may_give_a_thread_the_same_name(store: LogStore) -> None:
    mine, theirs = thread("ann", "t1", epoch="e1"), thread("bob", "t1", epoch="e2")
    await store.commit(commit(threads=[mine, theirs], segments=[segment(1, 2, epoch="e1"), segment(1, 3, epoch="e2")]))
    assert await store.thread(key("ann")) == mine
    assert await store.thread(key("bob")) == theirs
    assert await store.segments(E1, 0, 1000) == [segment(1, 2, epoch="e1")]
    assert await store.segments(E2, 0, 1000) == [segment(1, 3, epoch="e2")]


async def test_rows_are_copies(store: LogStore) -> None:
    row, accepted, part, said = thread(), run(), segment(1, 2), messages(0, "1")
    entry = journal(3, 4)
    await store.commit(commit(threads=[row], runs=[accepted], segments=[part], messages=[said], journal=[entry]))
    row.head = accepted.first_seq = 99
    part.events.append(b"later")
    said.messages.append(b"later")
    entry.events.append(b"later")
    for _ in range(2):
        found, started = await store.thread(key()), await store.run(E1, RunId("r1"))
        assert found == thread()
        assert started == run()
        (listed,) = await store.threads(ANN, 1, None)
        (shown,) = await store.runs(E1, 1)
        (held,) = await store.segments(E1, 0, 1)
        history = await store.messages(E1)
        left = (await left_by(store))[E1]
        assert (listed, shown, held, history) == (thread(), run(), segment(1, 2), [b"1"])
        assert (left.thread, left.runs, left.journal) == (thread(), [run()], [journal(3, 4)])
        found.head = listed.head = left.thread.head = 98
        started.agent = shown.agent = left.runs[0].agent = "other"
        held.events.clear()
        history.clear()
        left.journal[0].events.clear()


async def test_a_thread_is_replaced_but_its_epoch_its_birth_and_its_floor_stay(store: LogStore) -> None:
    await store.commit(commit(1, threads=[thread(head=3, floor=3)]))
    await store.commit(commit(2, threads=[thread(updated=9.5, head=8, floor=1, message_count=4, history_bytes=50)]))
    assert await store.thread(key()) == thread(updated=9.5, head=8, floor=3, message_count=4, history_bytes=50)


async def test_runs_are_listed_in_the_order_in_which_they_were_accepted_however_they_change(store: LogStore) -> None:
    names = ["z", "a", "m", "b"]
    for number, name in enumerate(names, 1):
        await store.commit(commit(number, threads=[thread()], runs=[run(name, "queued")]))
    done = run("a", "finished", started_at=1.0, finished_at=2.0, first_seq=1, last_seq=9)
    await store.commit(commit(5, runs=[done, run("z", "running")]))
    assert [row.run_id for row in await store.runs(E1, 10)] == names
    assert [row.run_id for row in await store.runs(E1, 2)] == ["m", "b"]
    assert await store.runs(E1, 0) == []
    assert await store.run(E1, RunId("a")) == done
    assert list(await left_by(store)) == [E1]
    assert [row.run_id for row in (await left_by(store))[E1].runs] == ["z", "m", "b"]


async def test_pages_of_threads_hold_each_once_newest_first(store: LogStore) -> None:
    rows = [thread("ann", f"t{number}", epoch=f"e{number}", updated=float(number % 4)) for number in range(17)]
    others = [thread("bob", f"t{number}", epoch=f"b{number}", updated=float(number)) for number in range(5)]
    await store.commit(commit(threads=[*rows, *others]))
    newest = sorted(rows, key=lambda row: (row.updated_at, row.key.thread_id), reverse=True)
    for limit in (1, 2, 3, 16, 17, 18):
        found = []
        before: tuple[float, str] | None = None
        while page := await store.threads(ANN, limit, before):
            assert len(page) <= limit
            found += page
            before = (page[-1].updated_at, page[-1].key.thread_id)
        assert found == newest


async def test_a_thread_that_was_used_again_comes_first(store: LogStore) -> None:
    await store.commit(commit(1, threads=[thread(name=f"t{n}", epoch=f"e{n}", updated=float(n)) for n in range(3)]))
    await store.commit(commit(2, threads=[thread(name="t0", epoch="e0", updated=7.0)]))
    assert [row.key.thread_id for row in await store.threads(ANN, 10, None)] == ["t0", "t2", "t1"]


async def test_segments_are_read_from_any_place_on(store: LogStore) -> None:
    parts = [segment(1, 1), segment(2, 9), segment(10, 11, run_id="r2"), segment(12, 40, run_id="r2")]
    await store.commit(commit(1, threads=[thread()], segments=parts[:2]))
    await store.commit(commit(2, segments=parts[2:]))
    for after in range(41):
        expected = [part for part in parts if part.last_seq > after]
        assert await store.segments(E1, after, 1 << 20) == expected
    for after, max_bytes in itertools.product((0, 1, 5, 9, 11, 39), (0, 1, 30, 100, 1000)):
        found = await store.segments(E1, after, max_bytes)
        expected = [part for part in parts if part.last_seq > after]
        assert found == expected[: len(found)]
        assert found
        assert sum(len(event) for part in found[:-1] for event in part.events) < max(max_bytes, 1)
    assert await store.segments(E1, 40, 1000) == []


async def test_segments_are_given_up_to_the_size_asked_for(store: LogStore) -> None:
    await store.commit(commit(threads=[thread()], segments=[segment(seq, seq) for seq in range(1, 9)]))
    size = len(events(1, 1)[0])
    assert len(await store.segments(E1, 0, 3 * size)) == 3
    assert len(await store.segments(E1, 4, 1 << 20)) == 4


async def test_messages_are_replaced_from_a_place_on(store: LogStore) -> None:
    await store.commit(commit(1, threads=[thread()], messages=[messages(0, "a", "b", "c")]))
    await store.commit(commit(2, messages=[messages(3, "d")]))
    assert await store.messages(E1) == [b"a", b"b", b"c", b"d"]
    await store.commit(commit(3, messages=[messages(1, "x", "y")]))
    assert await store.messages(E1) == [b"a", b"x", b"y"]
    await store.commit(commit(4, messages=[messages(2), messages(2, "z")]))
    assert await store.messages(E1) == [b"a", b"x", b"z"]
    await store.commit(commit(5, messages=[messages(0)]))
    assert await store.messages(E1) == []


# --- recovery ---------------------------------------------------------------------------------------------------------


async def test_recovery_gives_what_only_the_journal_holds(store: LogStore) -> None:
    await store.commit(commit(1, threads=[thread()], runs=[run()], journal=[journal(1, 3)]))
    await store.commit(commit(2, journal=[journal(4, 4)]))
    await store.commit(commit(3, journal=[journal(5, 9)]))
    number, (left,) = await store.recover()
    assert number == 3
    assert left == Unfinished(thread(), [run()], 0, [journal(1, 3), journal(4, 4), journal(5, 9)])


async def test_recovery_knows_what_lies_in_segments_already(store: LogStore) -> None:
    earlier = run("r0", "finished", first_seq=1, last_seq=5)
    await store.commit(commit(1, threads=[thread()], runs=[earlier], segments=[segment(1, 5, run_id="r0")]))
    await store.commit(commit(2, runs=[run()], journal=[journal(6, 7)]))
    await store.commit(commit(3, segments=[segment(6, 9)]))
    await store.commit(commit(4, journal=[journal(10, 10)]))
    left = (await left_by(store))[E1]
    assert (left.first_seq, left.journal, left.runs) == (6, [journal(10, 10)], [run()])


async def test_recovery_leaves_out_runs_and_threads_that_ended(store: LogStore) -> None:
    rows = [thread(name=f"t{n}", epoch=f"e{n}") for n in range(5)]
    runs = [run(f"r{n}", status, epoch=f"e{n}") for n, status in enumerate(ENDED)]
    entries = [journal(1, 1, run_id=f"r{n}", epoch=f"e{n}") for n in range(5)]
    await store.commit(commit(1, threads=rows, runs=[*runs, run("r4", "queued", epoch="e4")], journal=entries))
    assert {epoch: left.journal for epoch, left in (await left_by(store)).items()} == {Epoch("e4"): [entries[4]]}


async def test_recovery_gives_runs_that_still_waited_with_their_input(store: LogStore) -> None:
    waiting = run("r2", "queued", input=b"{}")
    await store.commit(commit(1, threads=[thread()], runs=[run(), waiting], journal=[journal(1, 2)]))
    assert (await left_by(store))[E1] == Unfinished(thread(), [run(), waiting], 0, [journal(1, 2)])


async def test_trimming_removes_the_journal_below_a_commit(store: LogStore) -> None:
    await store.commit(commit(1, threads=[thread()], runs=[run()], journal=[journal(1, 1)]))
    await store.commit(commit(2, journal=[journal(2, 2)]))
    await store.commit(commit(3, journal=[journal(3, 3)], trim_journal=2))
    number, (left,) = await store.recover()
    assert (number, left.journal) == (3, [journal(2, 2), journal(3, 3)])


async def test_the_number_that_recovery_gives_may_be_followed_by_the_next(store: LogStore) -> None:
    await store.commit(commit(1, threads=[thread()], runs=[run()], journal=[journal(1, 1)]))
    await store.commit(commit(2))
    await store.commit(commit(9, segments=[segment(1, 1)], trim_journal=9))
    number, _ = await store.recover()
    await store.commit(commit(number + 1, journal=[journal(2, 2)]))
    assert (await left_by(store))[E1].journal == [journal(2, 2)]


# --- deleting ---------------------------------------------------------------------------------------------------------


async def test_deleting_removes_everything_of_one_log_and_of_no_other(store: LogStore) -> None:
    for number, epoch in enumerate(("e1", "e2"), 1):
        await store.commit(
            commit(
                number,
                threads=[thread("ann", epoch, epoch=epoch)],
                runs=[run(epoch=epoch)],
                segments=[segment(1, 2, epoch=epoch)],
                journal=[journal(3, 3, epoch=epoch)],
                messages=[messages(0, "a", epoch=epoch)],
            )
        )
    await store.commit(commit(3, deleted=[E1]))
    assert await store.thread(key("ann", "e1")) is None
    assert await store.run(E1, RunId("r1")) is None
    assert await store.runs(E1, 10) == []
    assert await store.segments(E1, 0, 1000) == []
    assert await store.messages(E1) == []
    assert [row.epoch for row in await store.threads(ANN, 10, None)] == [E2]
    assert list(await left_by(store)) == [E2]
    assert await store.segments(E2, 0, 1000) == [segment(1, 2, epoch="e2")]
    assert await store.messages(E2) == [b"a"]


async def test_a_name_may_be_used_again_in_the_commit_that_deletes_it(store: LogStore) -> None:
    await store.commit(commit(1, threads=[thread(head=5, floor=3)], runs=[run()], messages=[messages(0, "a")]))
    again = thread(epoch="e2", updated=9.0)
    await store.commit(commit(2, threads=[again], runs=[run("r1", "queued", epoch="e2")], deleted=[E1]))
    assert await store.thread(key()) == again
    assert await store.threads(ANN, 10, None) == [again]
    assert await store.messages(E2) == []
    assert list(await left_by(store)) == [E2]


async def test_deleting_what_is_not_there_is_harmless(store: LogStore) -> None:
    await store.commit(commit(1, threads=[thread()]))
    await store.commit(commit(2, deleted=[Epoch("never")]))
    assert await store.thread(key()) == thread()


# --- all or nothing ---------------------------------------------------------------------------------------------------

FAILING: list[Callable[[], dict[str, Any]]] = [
    lambda: {"segments": [segment(3, 4), segment(1, 9)]},
    lambda: {"segments": [segment(3, 4), segment(3, 3)]},
    lambda: {"threads": [thread("bob", "t9", epoch="e1")]},
]


@pytest.mark.parametrize("failing", FAILING)
async def test_a_commit_that_fails_leaves_nothing(store: LogStore, failing: Callable[[], dict[str, Any]]) -> None:
    await store.commit(
        commit(1, threads=[thread()], runs=[run()], segments=[segment(1, 2)], messages=[messages(0, "a")])
    )
    parts: dict[str, Any] = {
        "threads": [thread(name="t2", epoch="e2"), thread(head=99)],
        "runs": [run("r9", "queued"), run("r1", "finished")],
        "messages": [messages(0, "lost")],
        "journal": [journal(3, 3)],
        "deleted": [Epoch("e0")],
    }
    for name, rows in failing().items():
        parts[name] = parts.get(name, []) + rows
    with pytest.raises(StoreError):
        await store.commit(commit(2, **parts))
    assert await store.thread(key()) == thread()
    assert await store.thread(key(thread="t2")) is None
    assert await store.thread(key("bob", "t9")) is None
    assert await store.runs(E1, 10) == [run()]
    assert await store.segments(E1, 0, 1000) == [segment(1, 2)]
    assert await store.messages(E1) == [b"a"]
    assert (await left_by(store))[E1].journal == []
    await store.commit(commit(2, journal=[journal(3, 3)]))
    assert (await left_by(store))[E1].journal == [journal(3, 3)]


async def test_a_commit_number_is_used_once(store: LogStore) -> None:
    await store.commit(commit(1, threads=[thread()], runs=[run()], journal=[journal(1, 1)]))
    with pytest.raises(StoreError):
        await store.commit(commit(1, runs=[run("r2")], journal=[journal(2, 2)]))
    left = (await left_by(store))[E1]
    assert (left.runs, left.journal) == ([run()], [journal(1, 1)])


async def test_readers_never_see_half_a_commit(store: LogStore) -> None:
    await store.commit(commit(1, threads=[thread()], messages=[messages(0, *["1"] * 20)]))
    done = False

    async def read() -> int:
        seen = 0
        while not done:
            found = await store.messages(E1)
            assert len(set(found)) == 1, found
            assert len(found) == 20
            parts = await store.segments(E1, 0, 1 << 20)
            assert [event for part in parts for event in part.events] == events(1, sum(len(p.events) for p in parts))
            seen += 1
            await asyncio.sleep(0)
        return seen

    async def write() -> None:
        nonlocal done
        for number in range(2, 60):
            await store.commit(
                commit(
                    number,
                    threads=[thread(head=number)],
                    messages=[messages(0, *[str(number)] * 20)],
                    segments=[segment(number - 1, number - 1)],
                )
            )
            await asyncio.sleep(0)
        done = True

    *seen, _ = await asyncio.gather(read(), read(), read(), write())
    assert all(seen)


async def test_a_cancelled_commit_leaves_the_store_whole(store: LogStore) -> None:
    await store.commit(commit(1, threads=[thread()]))
    for number in range(2, 12):
        task = asyncio.create_task(
            store.commit(commit(number, threads=[thread(head=number)], segments=[segment(number, number)]))
        )
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await store.commit(commit(20))
    found = await store.thread(key())
    assert found is not None
    held = [part.first_seq for part in await store.segments(E1, 0, 1 << 20)]
    assert held == sorted(set(held))
    assert found.head == (held[-1] if held else 0)


# --- retention --------------------------------------------------------------------------------------------------------


async def finished(store: LogStore, *, epoch: str = "e1", name: str = "t1") -> None:
    """Three runs that ended, written at 10, 20 and 30, of 10 events each."""
    for number, run_id in enumerate(("r1", "r2", "r3"), 1):
        last = number * 10
        await store.commit(
            commit(
                number,
                now=float(last),
                threads=[thread(name=name, epoch=epoch, head=last)],
                runs=[run(run_id, "finished", epoch=epoch, first_seq=last - 9, last_seq=last)],
                segments=[
                    segment(last - 9, last - 5, run_id=run_id, epoch=epoch),
                    segment(last - 4, last, run_id=run_id, epoch=epoch),
                ],
            )
        )


async def floor_of(store: LogStore, name: str = "t1") -> int:
    row = await store.thread(key(thread=name))
    assert row is not None
    return row.floor


async def first_held(store: LogStore, epoch: Epoch = E1) -> int | None:
    parts = await store.segments(epoch, 0, 1)
    return parts[0].first_seq if parts else None


@pytest.mark.parametrize(("before", "floor"), [(0.0, 1), (10.0, 1), (10.5, 11), (20.0, 11), (30.0, 21), (31.0, 31)])
async def test_segments_that_are_too_old_are_removed(store: LogStore, before: float, floor: int) -> None:
    await finished(store)
    assert await store.retain(before, [], 0) == ([(E1, floor)] if floor > 1 else [])
    assert await floor_of(store) == floor
    assert await first_held(store) == (floor if floor < 31 else None)
    assert await store.retain(before, [], 0) == []


async def test_a_log_that_grew_beyond_the_bound_loses_its_oldest_segments(store: LogStore) -> None:
    await finished(store)
    size = sum(len(event) for event in events(16, 30)) + 20
    assert await store.retain(0.0, [E1], size) == [(E1, 16)]
    assert await floor_of(store) == 16
    assert await store.segments(E1, 0, 1 << 20) == [
        segment(16, 20, run_id="r2"),
        segment(21, 25, run_id="r3"),
        segment(26, 30, run_id="r3"),
    ]
    assert await store.retain(0.0, [E1], size) == []


async def test_a_log_within_the_bound_or_not_named_keeps_everything(store: LogStore) -> None:
    await finished(store)
    await finished(store, epoch="e2", name="t2")
    assert await store.retain(0.0, [E1, Epoch("gone")], 1 << 20) == []
    assert await store.retain(0.0, [E2], 0) == [(E2, 31)]
    assert await first_held(store, E1) == 1
    assert await first_held(store, E2) is None
    assert await floor_of(store, "t2") == 31


async def test_logs_that_hold_more_than_a_bound_are_found(store: LogStore) -> None:
    assert await store.oversized(0) == []
    await finished(store)
    await finished(store, epoch="e2", name="t2")
    assert sorted(await store.oversized(0)) == [E1, E2]
    await store.retain(0.0, [E2], sum(len(event) for event in events(26, 30)) + 10)
    assert await store.oversized(sum(len(event) for event in events(26, 30)) + 10) == [E1]
    assert await store.oversized(1 << 20) == []


async def test_age_and_size_together_remove_what_either_does(store: LogStore) -> None:
    await finished(store)
    size = sum(len(event) for event in events(26, 30)) + 10
    assert await store.retain(15.0, [E1], size) == [(E1, 26)]
    await finished(store, epoch="e2", name="t2")
    assert await store.retain(25.0, [E2], 1 << 20) == [(E2, 21)]


async def test_what_a_run_that_has_not_ended_said_is_kept(store: LogStore) -> None:
    await finished(store)
    await store.commit(commit(4, now=31.0, runs=[run("r4", "running")], segments=[segment(31, 40, run_id="r4")]))
    await store.commit(commit(5, now=32.0, segments=[segment(41, 50, run_id="r4")]))
    assert await store.retain(1000.0, [E1], 0) == [(E1, 31)]
    assert await first_held(store) == 31
    assert await store.retain(1000.0, [E1], 0) == []
    left = (await left_by(store))[E1]
    assert (left.first_seq, left.thread.floor) == (31, 31)
    await store.commit(commit(6, runs=[run("r4", "failed")]))
    assert await store.retain(1000.0, [], 0) == [(E1, 51)]


async def test_retention_leaves_messages_and_runs(store: LogStore) -> None:
    await finished(store)
    await store.commit(commit(4, messages=[messages(0, "a", "b")]))
    await store.retain(1e9, [], 0)
    assert await store.messages(E1) == [b"a", b"b"]
    assert len(await store.runs(E1, 10)) == 3


# --- both do the same -------------------------------------------------------------------------------------------------


class History:
    """Random commits of the form that the event log makes."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        self._choose = choose
        self._number = 0
        self._made = 0
        self.epochs: dict[str, Epoch] = {}
        self._heads: dict[Epoch, int] = {}
        self._journaled: dict[Epoch, int] = {}
        self._running: dict[Epoch, str] = {}

    def commit(self) -> Commit:
        self._number += 1
        made = commit(self._number, now=float(self._number))
        for name in ("t1", "t2", "t3"):
            match self._choose(6):
                case 0:
                    self._begin(made, name)
                case 1 | 2:
                    self._append(made, name)
                case 3:
                    self._end(made, name)
                case 4 if self._choose(4) == 0 and name in self.epochs:
                    epoch = self.epochs.pop(name)
                    self._running.pop(epoch, None)
                    made.deleted.append(epoch)
                    if self._choose(2):
                        self._begin(made, name)
        if self._choose(4) == 0 and not self._running:
            made.trim_journal = self._number
        return made

    def _begin(self, made: Commit, name: str) -> None:
        if name not in self.epochs:
            self._made += 1
            self.epochs[name] = Epoch(f"{name}-{self._made}")
        epoch = self.epochs[name]
        self._heads.setdefault(epoch, 0)
        made.threads.append(thread(name=name, epoch=epoch, updated=made.now, head=self._heads[epoch]))
        self._made += 1
        if epoch in self._running:
            made.runs.append(run(f"r{self._made}", "queued", epoch=epoch, input=b"{}"))
        else:
            self._running[epoch] = f"r{self._made}"
            self._journaled[epoch] = self._heads[epoch]
            made.runs.append(run(f"r{self._made}", "running", epoch=epoch))

    def _append(self, made: Commit, name: str) -> None:
        epoch = self.epochs.get(name)
        if epoch is None or epoch not in self._running:
            return
        first = self._heads[epoch] + 1
        last = self._heads[epoch] = first + self._choose(3)
        made.journal.append(journal(first, last, run_id=self._running[epoch], epoch=epoch))
        if self._choose(3) == 0:
            self._segment(made, epoch)

    def _segment(self, made: Commit, epoch: Epoch) -> None:
        first, last = self._journaled[epoch] + 1, self._heads[epoch]
        if last >= first:
            made.segments.append(segment(first, last, run_id=self._running[epoch], epoch=epoch))
            self._journaled[epoch] = last

    def _end(self, made: Commit, name: str) -> None:
        epoch = self.epochs.get(name)
        if epoch is None or epoch not in self._running:
            return
        self._heads[epoch] += 1
        self._segment(made, epoch)
        run_id = self._running.pop(epoch)
        head = self._heads[epoch]
        made.runs.append(run(run_id, "finished", epoch=epoch, finished_at=made.now, last_seq=head))
        said = messages(self._choose(2), *[run_id] * self._choose(3), epoch=epoch)
        if said.position == 0:
            made.messages.append(said)
        made.threads.append(thread(name=name, epoch=epoch, updated=made.now, head=head))


async def observed(store: LogStore, epochs: list[Epoch]) -> list[object]:
    """Everything that can be read."""
    number, unfinished = await store.recover()
    seen: list[object] = [number, sorted(unfinished, key=lambda left: left.thread.epoch)]
    seen += [await store.thread(key(thread=name)) for name in ("t1", "t2", "t3")]
    seen.append(await store.threads(ANN, 2, None))
    seen.append(await store.threads(ANN, 2, (3.0, "t2")))
    for epoch in epochs:
        seen += [await store.runs(epoch, 5), await store.messages(epoch)]
        seen += [await store.segments(epoch, after, 40) for after in (0, 3, 10)]
    return seen


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 1 << 16), min_size=20, max_size=400))
def test_memory_and_sqlite_answer_alike_whatever_is_committed(choices: list[int]) -> None:
    numbers = iter(choices)

    async def compare(directory: Path) -> None:
        history = History(lambda limit: next(numbers) % limit)
        memory = MemoryLog()
        seen: set[Epoch] = set()
        async with opened_log("sqlite", directory) as sqlite:
            both: tuple[LogStore, LogStore] = (memory, sqlite)
            while True:
                try:
                    made = history.commit()
                    retention = (float(next(numbers) % 20), next(numbers) % 200)
                except StopIteration:
                    return
                seen.update(history.epochs.values())
                for store in both:
                    await store.commit(made)
                lost = [sorted(await store.retain(retention[0], sorted(seen), retention[1])) for store in both]
                assert lost[0] == lost[1]
                assert await observed(memory, sorted(seen)) == await observed(sqlite, sorted(seen))

    with TemporaryDirectory() as directory:
        asyncio.run(compare(Path(directory)))
