"""Random lives: users start, cancel, interrupt and delete, agents end in all ways, time passes, the process dies."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from goldenpath.clock import ManualClock
from goldenpath.runtime.dispatcher import Accepted
from goldenpath.runtime.interfaces import LogStore, ThreadKey
from goldenpath.runtime.run import Run
from goldenpath.runtime.run_states import ENDED
from goldenpath.runtime.settings import TierLimits
from goldenpath.runtime.stores.memory_log import MemoryLog
from goldenpath.wire import events as ev
from goldenpath.wire.commands import OnBusy
from goldenpath.wire.errors import RequestError
from tests.runtime.runs import Runs, kinds, principal, terminal, turns
from tests.runtime.stagehand import Stagehand

Step = tuple[tuple[Any, ...], int]

USERS = ("ann", "bob")
THREADS = ("t1", "t2")
LIMITS: dict[str, Any] = {
    "tiers": {"free": TierLimits(2, 3)},
    "max_engines": 3,
    "max_waiting": 5,
    "run_timeout": 50.0,
    "queue_timeout": 20.0,
    "cancel_grace": 2.0,
}

REFUSALS = {"thread_busy", "quota_exceeded", "queue_full", "draining", "not_found"}


async def _speak(run: Run) -> None:
    await run.text("more")


async def _leave_open(run: Run) -> None:
    await run.emit(ev.TextMessageStart("open", role="assistant"))


async def _fail(_: Run) -> None:
    raise ValueError("broken")


async def _ask(run: Run) -> None:
    run.interrupt("approval")


MOVES = {"end": None, "speak": _speak, "leave open": _leave_open, "fail": _fail, "ask": _ask}

_user, _thread = st.sampled_from(USERS), st.sampled_from(THREADS)
_agent = st.sampled_from(["waits", "waits", "quick", "stubborn"])
_on_busy = st.sampled_from(["enqueue", "enqueue", "reject", "interrupt"])
_start = st.tuples(st.just("start"), _user, _thread, _agent, _on_busy)
_step = st.one_of(
    _start,
    _start,
    _start,
    st.tuples(st.just("move"), st.integers(0, 9), st.sampled_from(sorted(MOVES))),
    st.tuples(st.just("move"), st.integers(0, 9), st.sampled_from(sorted(MOVES))),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("cancel all"), _user, _thread),
    st.tuples(st.just("delete"), _user, _thread),
    st.tuples(st.just("advance"), st.sampled_from([0.5, 2.0, 19.0, 51.0])),
    st.tuples(st.just("hold commits")),
    st.tuples(st.just("release commits")),
)
_steps = st.lists(st.tuples(_step, st.sampled_from([0, 1, 3, 20])), min_size=5, max_size=50)
"""What happens, and how many turns of the event loop pass after each."""


class Lives:
    """A process, what was accepted in it, and what must be true of it."""

    def __init__(self, store: LogStore, clock: ManualClock, name: str = "r") -> None:
        self.name = name
        self.runs = Runs(store, clock, **LIMITS)
        self.hand = Stagehand(self.runs)
        self.starting: list[tuple[str, str, str, asyncio.Task[Accepted]]] = []
        self.others: list[asyncio.Task[Any]] = []
        self.deleted: set[ThreadKey] = set()
        """The threads that somebody asked to delete: which of their logs that is shows when its turn comes."""
        self.count = 0

    async def play(self, steps: list[Step]) -> None:
        for step, pause in steps:
            await self.step(step)
            await turns(pause)
            self.check_bounds()

    async def step(self, step: tuple[Any, ...]) -> None:
        runs, hand = self.runs, self.hand
        match step:
            case ("start", user, thread, agent, on_busy):
                self.start(user, thread, agent, on_busy)
            case ("move", number, move):
                ready = [run_id for run_id in hand.live if run_id in hand.waiting]
                if ready:
                    hand.tell(ready[number % len(ready)], MOVES[move])
            case ("cancel", number) if self.starting:
                user, thread, run_id, _ = self.starting[number % len(self.starting)]
                self.others.append(asyncio.create_task(runs.dispatcher.cancel(principal(user), thread, run_id)))
            case ("cancel all", user, thread):
                self.others.append(asyncio.create_task(runs.dispatcher.cancel(principal(user), thread, None)))
            case ("delete", user, thread):
                self.deleted.add(runs.key(thread, user))
                self.others.append(asyncio.create_task(runs.dispatcher.delete(principal(user), thread)))
            case ("advance", seconds):
                runs.clock.advance(seconds)
            case ("hold commits",):
                runs.store.hold_commits()
            case ("release commits",):
                runs.store.release_commits()

    def start(self, user: str, thread: str, agent: str, on_busy: OnBusy) -> None:
        run_id = f"{self.name}{self.count}"
        self.count += 1
        task = asyncio.create_task(self.runs.start(agent, run_id, thread=thread, user=user, on_busy=on_busy))
        self.starting.append((user, thread, run_id, task))

    def check_bounds(self) -> None:
        admission, engines = self.runs.admission, self.runs.engines.statistics()
        assert admission.statistics().running <= 3
        assert all(held.running <= 2 and len(held.waiting) <= 3 for held in admission._users.values())
        assert 0 <= engines.active <= admission.statistics().running
        threads = [(run.context.user_id, run.context.thread_id) for run in self.hand.live.values() if not run.ended]
        assert len({*threads}) == len(threads) or self.deleted, "two runs of one thread at once"

    async def end(self) -> None:
        """Let every agent say a last word and end, and every run."""
        runs, hand = self.runs, self.hand
        runs.store.release_commits()
        for _ in range(200):
            for run_id in [run_id for run_id in hand.live if run_id in hand.waiting]:
                hand.tell(run_id, _speak)
            await turns(3)
            statistics = runs.admission.statistics()
            if not (hand.live or statistics.running or statistics.waiting):
                break
        await runs.settle()

    async def judge(self) -> None:
        runs = self.runs
        for failure in await asyncio.gather(*self.others, return_exceptions=True):
            if isinstance(failure, RequestError):
                assert failure.code in REFUSALS, failure
            else:
                assert not isinstance(failure, BaseException), failure
        ordered: dict[ThreadKey, list[str]] = defaultdict(list)
        for user, thread, run_id, task in self.starting:
            assert task.done(), run_id
            error = task.exception()
            if error is not None:
                assert isinstance(error, RequestError), error
                assert error.code in REFUSALS, error
                continue
            accepted = task.result()
            assert accepted.run.finished_at is not None, run_id
            if accepted.log.deleted:
                assert accepted.log.key in self.deleted
                continue
            ordered[runs.key(thread, user)].append(run_id)
            assert accepted.run.status in ENDED
            terminal(await runs.said(accepted))
        for key, accepted_ids in ordered.items():
            events = await runs.whole(key)
            contiguous = list(dict.fromkeys(run_id for run_id, _ in events))
            assert sorted(one for one in contiguous if one.startswith(self.name)) == sorted(accepted_ids)
            changes = sum(one[0] != other[0] for one, other in itertools.pairwise(events))
            assert changes == len(contiguous) - 1, "runs interleave"
        statistics = runs.admission.statistics()
        assert (statistics.running, statistics.waiting) == (0, 0)
        assert runs.engines.statistics().active == 0
        assert not runs.scheduler._executions


@settings(max_examples=100, deadline=None)
@given(steps=_steps, drained=st.booleans())
def test_every_accepted_run_begins_and_ends_once_and_nothing_is_left(steps: list[Step], *, drained: bool) -> None:
    async def scenario() -> None:
        lives = Lives(MemoryLog(), ManualClock())
        async with lives.runs.running():
            await lives.play(steps)
            if drained:
                lives.runs.store.release_commits()
                await lives.runs.meanwhile(lives.runs.scheduler.drain(5))
            await lives.end()
            await lives.judge()

    asyncio.run(scenario())


@settings(max_examples=100, deadline=None)
@given(steps=_steps, later=_steps)
def test_what_was_accepted_when_the_process_died_ends_in_the_next_one(steps: list[Step], later: list[Step]) -> None:
    async def scenario() -> None:
        store, clock = MemoryLog(), ManualClock()
        first = Lives(store, clock)
        await first.runs.event_log.start()
        await first.play(steps)
        lost = {
            (user, thread, run_id): task.result()
            for user, thread, run_id, task in first.starting
            if task.done() and task.exception() is None
        }
        await first.hand.die()
        await asyncio.gather(*first.others, return_exceptions=True)
        second = Lives(store, clock, "later")
        unfinished = await second.runs.event_log.start()
        await second.runs.recovery.run(unfinished)
        for (user, thread, run_id), accepted in lost.items():
            async with second.runs.event_log.open(second.runs.key(thread, user)) as log:
                if log is None or log.epoch != accepted.log.epoch:
                    assert accepted.log.key in first.deleted
                    continue
                row = await second.runs.dispatcher.run(principal(user), thread, run_id)
                assert row.status in ENDED
                assert row.started_at is not None
                assert row.finished_at is not None
                assert clock.time() >= row.finished_at >= row.started_at >= row.created_at
                events = [
                    ev.decode_event(event) for owner, event in await second.runs.whole(log.key) if owner == run_id
                ]
                terminal(events)
                assert len(kinds(events)) == row.last_seq - row.first_seq + 1
        await second.play(later)
        await second.end()
        await second.judge()
        await second.runs.meanwhile(second.runs.event_log.stop())

    asyncio.run(scenario())
