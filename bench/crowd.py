"""Many users at once: the lab's, each sending its messages one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from types import TracebackType
from typing import Self

import msgspec

from bench import workload
from bench.lab import Lab
from bench.meter import Meter, Usage
from bench.tally import Reference, Tally
from goldenpath.lab.arrivals import Looping
from goldenpath.lab.checker import Checker
from goldenpath.lab.runner import Load, Runner
from goldenpath.lab.targets.goldenpath import GoldenpathTarget
from goldenpath.lab.user import User
from goldenpath.lab.workload import Iteration


class Messages(msgspec.Struct, frozen=True, kw_only=True):
    """A workload of the lab: each iteration asks the reference agent, `per_thread` times in each thread. All users use
    the same thread and run ids, so that a server that forgot the owner in a key is found out."""

    prefix: str
    """Of the threads' names."""
    delay_ms: int = 0
    per_thread: int = 3

    async def set_up(self, user: User) -> None:
        await user.login()
        await user.connect()

    async def iterate(self, user: User, iteration: Iteration) -> None:
        thread, run = divmod(iteration.turn, self.per_thread)
        mark = workload.marker(user.number, iteration.turn)
        await user.ask(
            workload.prompt(mark, self.delay_ms) + " {canary}",
            thread=user.thread(f"{self.prefix}{thread}"),
            run=f"r{run}",
            answer=workload.answer(mark),
        )


class Crowd:
    """A context manager that logs in and connects `users`, and closes their connections at the end; only then is known
    whether anything was wrong. `checkers`, `resumes`, `patience`: as of `Lab`."""

    def __init__(
        self,
        target: GoldenpathTarget,
        users: int,
        *,
        checkers: Sequence[Checker] = (),
        resumes: bool = False,
        patience: float = 60.0,
    ) -> None:
        self._reference = Reference(users)
        self.lab = Lab(target, checkers=[self._reference, *checkers], resumes=resumes, patience=patience)
        self.users = {number: self.lab.user(number) for number in range(users)}
        self.phases: list[Tally] = []
        """What was counted so far."""
        self._wrong: list[str] = []

    async def __aenter__(self) -> Self:
        failures = await self._runner(Messages(prefix=""), Looping(), 1).set_up()
        self._wrong += failures[:1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner(Messages(prefix=""), Looping(), 1).close()
        await self.lab.close()
        self._wrong += self.lab.wrong()

    def _runner(self, messages: Messages, arrivals: Looping, seed: int) -> Runner:
        return Runner(Load(users=len(self.users), arrivals=arrivals, seed=seed), messages, self.users.__getitem__)

    @property
    def clean(self) -> bool:
        """Whether every phase was complete and nothing was wrong. To be asked at the end."""
        return not self._wrong and all(tally.is_complete for tally in self.phases)

    @property
    def verdict(self) -> str:
        """One line."""
        return "; ".join([*(self._wrong or ["nothing wrong"]), *map(str, self.phases)])

    def thread(self, user: User, number: int) -> str:
        """The id of a user's thread of the last phase, of this number from 0."""
        return user.thread(f"{self._prefix}{number}")

    @property
    def _prefix(self) -> str:
        return f"bench{len(self.phases)}-"

    def drop(self) -> None:
        """Everyone vanishes at once, without a goodbye."""
        for user in self.users.values():
            user.drop()

    def begin(self, expected: int) -> Tally:
        """A new phase, in which so many runs are to complete."""
        tally = self._reference.tally = Tally(expected=expected)
        self.phases.append(tally)
        return tally

    async def stream(
        self,
        messages: int = 3,
        *,
        delay_ms: int = 0,
        over: float = 0.0,
        per_thread: int = 3,
        timeout: float = 60.0,
        server: int | None = None,
        seed: int = 1,
    ) -> tuple[Tally, Usage]:
        """Every user sends `messages`, the first at a random moment within `over` seconds, then each when the run
        before it ended. Returns when all ended or `timeout` seconds passed: what is missing then counts as failed.
        `server` is the id of the process whose CPU is measured.
        """
        tally = self.begin(messages * len(self.users))
        todo = Messages(prefix=self._prefix, delay_ms=delay_ms, per_thread=per_thread)
        runner = self._runner(todo, Looping(iterations=messages, over=over), seed)
        meter, before = Meter(server), self.lab.judge.events
        try:
            async with asyncio.timeout(timeout):
                await runner.run(perf_counter() + 0.01)
        except TimeoutError:
            runner.stop()
            tally.failed["timeout"] += 1
        usage = meter.stop()
        tally.events = self.lab.judge.events - before
        await asyncio.sleep(0.02)  # for events that should not come any more
        return tally, usage
