"""One worker's part of a load: its users, set up, then driven by the arrivals, then let go."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from random import Random
from time import perf_counter

import msgspec

from goldenpath.lab.arrivals import ArrivalRate, Arrivals, Batches, Looping
from goldenpath.lab.operations import OperationError
from goldenpath.lab.user import User
from goldenpath.lab.workload import Iteration, Workload

SETTING_UP: int = 64
"""How many users of a worker are set up at once."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What the users of all workers together do."""

    users: int
    arrivals: Arrivals
    seed: int
    patience: float = 60.0
    resumes: bool = False
    worker: int = 0
    workers: int = 1

    def own_users(self) -> range:
        """The numbers of this worker's users."""
        return range(self.worker, self.users, self.workers)


class Runner:
    """Drives the users of one worker. Belongs to one event loop."""

    def __init__(self, load: Load, workload: Workload, make_user: Callable[[int], User]) -> None:
        self._load = load
        self._workload = workload
        self.users = {number: make_user(number) for number in load.own_users()}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns: dict[int, int] = dict.fromkeys(self.users, 0)
        self._stopping = False
        self.crashed: list[str] = []
        """Exceptions of the workload's own, which are nobody's but ours, in words."""

    async def set_up(self) -> list[str]:
        """Prepare all users. Whoever fails is recorded and stays: their iterations fail, too. Returns why they did."""
        failures: list[str] = []

        async def prepare(user: User) -> None:
            try:
                await self._workload.set_up(user)
            except OperationError as error:
                failures.append(str(error))

        await limited(partial(prepare, user) for user in self.users.values())
        return failures

    async def run(self, zero: float) -> None:
        """Everything that arrives from `zero` (a time of `perf_counter`) on; returns when the last iteration ended."""
        arrivals = self._load.arrivals
        if isinstance(arrivals, Looping):
            for user in self.users.values():
                self._spawn(self._loop(user, arrivals, zero))
        else:
            await self._arrive(arrivals, zero)
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _arrive(self, arrivals: ArrivalRate | Batches, zero: float) -> None:
        load = self._load
        for number, time in enumerate(arrivals.times(Random(f"{load.seed}/arrivals"))):
            if number % load.users % load.workers != load.worker:
                continue
            wait = zero + time - perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            if self._stopping:
                return
            self._start(number, self.users[number % load.users], zero + time)

    def _start(self, number: int, user: User, intended: float) -> None:
        turn = self._turns[user.number]
        self._turns[user.number] = turn + 1
        self._spawn(self._iterate(user, Iteration(number, turn, self._load.users), intended))

    async def _loop(self, user: User, looping: Looping, zero: float) -> None:
        random = Random(f"{self._load.seed}/{user.number}/looping")
        intended = zero + looping.begin(random)
        for turn in itertools.count():
            await asyncio.sleep(max(0.0, intended - perf_counter()))
            if self._stopping or not looping.goes_on(turn, perf_counter() - zero):
                return
            await self._iterate(
                user, Iteration(turn * self._load.users + user.number, turn, self._load.users), intended
            )
            intended = perf_counter() + (random.expovariate(1 / looping.pause) if looping.pause else 0.0)

    async def _iterate(self, user: User, iteration: Iteration, intended: float) -> None:
        user.begin(intended)
        await self._guard(self._workload.iterate(user, iteration))

    async def _guard(self, work: Awaitable[None]) -> None:
        try:
            await work
        except OperationError:
            return  # recorded
        except Exception as error:  # a fault of the workload's ends its iteration and is told in the report
            self.crashed.append(f"{type(error).__name__}: {error}")

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """No more arrivals, and what is under way is abandoned. Harmless when repeated."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Everybody leaves."""
        await limited(user.close for user in self.users.values())


async def limited(work: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Do all of it, `SETTING_UP` at once. The first exception ends it."""
    queue = iter(work)

    async def worker() -> None:
        for item in queue:
            await item()

    async with asyncio.TaskGroup() as group:
        for _ in range(SETTING_UP):
            group.create_task(worker())
