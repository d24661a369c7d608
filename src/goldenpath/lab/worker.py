"""A worker process: a part of the users, driven by one event loop on one core.

It reads its plan as one JSON line from stdin, then `go TIME` or `stop`; it says on stdout, as JSON lines, when it is
ready, how far it is, and that it is done; and every second that it is there. It ends when stdin does: no worker
outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

import msgspec
import uvloop

from goldenpath.lab.canary import Canaries
from goldenpath.lab.checker import Checker, Violation
from goldenpath.lab.checkers import standard_checkers
from goldenpath.lab.formats import make_format
from goldenpath.lab.hiding import Hiding
from goldenpath.lab.history import HistoryWriter, path_of
from goldenpath.lab.judge import Judge
from goldenpath.lab.measurements import Measurements
from goldenpath.lab.orphans import when_parent_is_gone
from goldenpath.lab.progress import Progress
from goldenpath.lab.recorder import UNWRITABLE, Recorder
from goldenpath.lab.runner import Load, Runner
from goldenpath.lab.target import Target, TargetError
from goldenpath.lab.targets import TargetSpec, make_target
from goldenpath.lab.user import User
from goldenpath.lab.workload import WorkloadSpec
from goldenpath.lab.workloads import make_workload

TICK: Final = 0.5
"""Seconds between two reports of how far it is."""
PULSE: Final = 1.0
"""Seconds between two words that it is there."""
_COLLECTED_AFTER: Final = 20_000
"""New objects after which the garbage collector looks for cycles among them."""
_CRASHES_TOLD: Final = 5


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a worker has to know."""

    directory: str
    nonce: str
    target: TargetSpec
    workload: WorkloadSpec
    load: Load
    remains: str = ""
    """A directory that nobody needs when whoever started it is gone; empty: there is none."""
    disturbed: bool = False
    """Whether faults of the network are injected."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """All users are set up, or have failed to be."""


class Alive(msgspec.Struct, frozen=True, tag="alive"):
    """It is there, whatever it is doing."""


class Unreachable(msgspec.Struct, frozen=True, tag="unreachable"):
    """The target cannot be tested, and why."""

    why: str


class Tick(msgspec.Struct, frozen=True, tag="tick", kw_only=True):
    """How far it is. Counts are of the whole run so far; times of the last moments."""

    operations: int
    runs: int
    failed: int
    events: int
    violations: int
    first_token: float | None
    """The median of the last moments, in seconds; None where there was none."""


class Seen(msgspec.Struct, frozen=True, tag="seen"):
    """A violation, the moment it was seen; of each kind the first ones only: a target may do nothing right."""

    violation: Violation


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """Its history cannot be written, and why. It stops by itself."""

    why: str


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The last iteration ended, and the history is on disk."""

    crashed: list[str]
    """Faults of the workload's own, the first ones."""


Message = Ready | Alive | Unreachable | Tick | Seen | Broken | Done


class Worker:
    """Carries a plan out, and tells on stdout how far it is."""

    def __init__(self, plan: Plan, writer: HistoryWriter) -> None:
        self._plan = plan
        self._say = msgspec.json.Encoder().encode
        workload = make_workload(plan.workload)
        canaries = Canaries(plan.nonce)
        self._target: Target = make_target(plan.target)
        format_ = make_format(self._target.format, self._target.format_options)
        self._measurements = Measurements()
        self._progress = Progress()
        checkers = [*standard_checkers(format_, canaries, disturbed=plan.disturbed), self._measurements, self._progress]
        self._checkers: list[Checker] = checkers
        for checker in checkers:
            checker.on_violation = lambda violation: self.say(Seen(violation))
        load = plan.load
        self._hiding = Hiding(plan.target.secrets, self._target.tokens)
        self._recorder = Recorder(
            Judge(format_, checkers),
            writer,
            worker=load.worker,
            workers=load.workers,
            hiding=self._hiding,
            canaries=canaries,
        )

        def make_user(number: int) -> User:
            return User(
                number,
                self._target,
                self._recorder,
                self._progress,
                canaries,
                seed=load.seed,
                patience=load.patience,
                resumes=load.resumes,
            )

        self._runner = Runner(load, workload, make_user)
        self._recorder.on_broken = self._break_off

    def _break_off(self, why: str) -> None:
        """No more load: what comes of it could not be judged again."""
        self.say(Broken(why))
        self._runner.stop()

    def say(self, message: Message) -> None:
        """Tell whoever started it."""
        with suppress(BrokenPipeError):
            sys.stdout.buffer.write(self._say(message) + b"\n")
            sys.stdout.buffer.flush()

    async def run(self, commands: asyncio.StreamReader) -> None:
        """From the target's opening to the last record."""
        living = asyncio.create_task(self._live())
        try:
            await self._run(commands)
        finally:
            living.cancel()

    async def _live(self) -> None:
        while True:
            self.say(Alive())
            await asyncio.sleep(PULSE)

    async def _run(self, commands: asyncio.StreamReader) -> None:
        spare_the_collector()
        try:
            await self._target.open()
        except TargetError as error:
            await self._target.close()
            self.say(Unreachable(self._hiding.text(error.detail or error.code)))
            return
        failures = await self._runner.set_up()
        if failures and len(failures) == len(self._runner.users):
            await self._target.close()
            self.say(Unreachable(self._hiding.text(f"no user could be set up: {failures[0]}")))
            return
        self.say(Ready())
        ticking = asyncio.create_task(self._tick())
        stopping: asyncio.Task[None] | None = None
        try:
            order = (await commands.readline()).split()
            if order[:1] == [b"go"]:
                stopping = asyncio.create_task(self._until_stop(commands))
                spare_the_collector()
                await self._runner.run(float(order[1]))
        finally:
            for task in (ticking, stopping):
                if task is not None:
                    task.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self._runner.close()
            await self._target.close()
            self.close()
        self.say(Done(self._runner.crashed[:_CRASHES_TOLD]))

    def close(self) -> None:
        """What was seen is on disk then. Harmless when repeated."""
        self._recorder.close()

    async def _until_stop(self, commands: asyncio.StreamReader) -> None:
        """`stop`, or the end of stdin."""
        await commands.readline()
        self._runner.stop()

    async def _tick(self) -> None:
        cpu, then = process_time(), perf_counter()
        while True:
            due = perf_counter() + TICK
            await asyncio.sleep(TICK)
            now = perf_counter()
            used, cpu = process_time() - cpu, process_time()
            # a timer's clock is coarser than `perf_counter`: it may fire a little early
            figures = {"cpu_percent": 100 * used / (now - then), "loop_lag": max(0.0, now - due)}
            then = now
            self._recorder.sampled(f"worker {self._plan.load.worker}", figures)
            measured = self._measurements.tick()
            self.say(
                Tick(
                    operations=self._recorder.operations,
                    runs=measured.runs,
                    failed=measured.failed,
                    events=self._recorder.judge.events,
                    violations=sum(checker.violated for checker in self._checkers),
                    first_token=measured.first_token,
                )
            )


async def _main() -> None:
    parent = os.getppid()
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    plan = msgspec.json.decode(await commands.readline(), type=Plan)
    try:
        writer = HistoryWriter(path_of(Path(plan.directory), plan.load.worker + 1), plan.nonce)
    except OSError as error:
        sys.exit(f"{UNWRITABLE}: {error.strerror}")
    worker = Worker(plan, writer)
    try:
        await worker.run(commands)
    finally:
        worker.close()
        if plan.remains and os.getppid() != parent:  # it was killed, and cannot remove it itself
            shutil.rmtree(plan.remains, ignore_errors=True)


def main() -> None:
    """The entry point of a worker process."""
    when_parent_is_gone(signal.SIGCONT)  # so that one that is stopped sees the end of its stdin
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group: the parent tells us to stop
    _raise_file_limit()
    uvloop.run(_main())


def spare_the_collector() -> None:
    """What is there when the load begins stays, and of what comes later hardly anything is in cycles: look at it
    rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER)


def _raise_file_limit() -> None:
    """Each connection takes a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
