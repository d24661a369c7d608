"""Runs one scenario: a target, worker processes, the monitor; leaves a directory with the history of it all.

What it all means is judged afterwards, from that directory alone.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any, Final

import msgspec

from goldenpath.lab.canary import new_nonce
from goldenpath.lab.checker import Violation
from goldenpath.lab.formats import make_format
from goldenpath.lab.history import HistoryWriter, path_of, save_manifest
from goldenpath.lab.injection import Injection
from goldenpath.lab.judge import Judge
from goldenpath.lab.level import Level
from goldenpath.lab.machine import machine
from goldenpath.lab.monitor import MetricsPage, ProcessTree, Read, everything, watch
from goldenpath.lab.own_server import OwnServer
from goldenpath.lab.proxy import Proxy
from goldenpath.lab.recorder import Recorder
from goldenpath.lab.records import Manifest
from goldenpath.lab.runner import Load
from goldenpath.lab.scenario import Scenario
from goldenpath.lab.target import TargetError
from goldenpath.lab.targets import TargetSpec, make_target, origin, rerouted
from goldenpath.lab.worker import Done, Message, Plan, Ready, Seen, Tick, Unreachable

HEAD_START: Final = 0.2
"""Seconds between `go` and the beginning of the load, so that every worker is there in time."""
STOPPING: Final = 15.0
"""Seconds that workers have to abandon what is under way, close, and write the rest of their history."""
ABORTING: Final = frozenset(("isolation",))
"""Checkers whose first violation ends the run at once."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run."""

    scenario: Scenario
    directory: Path
    """Where the history goes; made if need be."""
    target: TargetSpec | None = None
    """None: a server of our own."""
    target_name: str = "a goldenpath server of the lab's own"
    seed: int = 1
    workers: int = 1
    levels: tuple[Level, ...] | None = None
    """The service levels that it is held to; None: the default ones."""
    command: str = ""


class WorkerCrashed(Exception):
    """A worker process ended before its users were ready: a fault of the lab's own."""


class Watcher:
    """Is told what happens in a run. Override what you want to show."""

    def begun(self, job: Job) -> None:
        """The users are set up, and the load begins."""

    def ticked(self, ticks: Sequence[Tick], seconds: float) -> None:
        """How far each worker is, `seconds` after the load began."""

    def seen(self, violation: Violation) -> None:
        """A violation, when it is seen."""


class Experiment:
    """One run of one scenario. `interrupt` may be called at any time from the same event loop."""

    def __init__(self, job: Job, watcher: Watcher) -> None:
        self._job = job
        self._watcher = watcher
        self._workers: list[_Process] = []
        self._ticks: dict[int, Tick] = {}
        self._server: OwnServer | None = None
        self._proxy: Proxy | None = None
        self._stopping = self._interrupted = False
        self._zero = 0.0
        self._recorder: Recorder | None = None

    @property
    def interrupted(self) -> bool:
        """Whether it was ended by `interrupt`."""
        return self._interrupted

    async def run(self) -> None:
        """Returns when everything has ended and the history is on disk. What went wrong stands in the history; only a
        directory that cannot be written raises (OSError)."""
        job = self._job
        job.directory.mkdir(parents=True, exist_ok=True)
        for old in job.directory.glob("history-*.bin"):
            old.unlink()
        async with AsyncExitStack() as stack:
            writer = stack.enter_context(HistoryWriter(path_of(job.directory, 0)))
            nonce = new_nonce()
            spec = job.target or TargetSpec("goldenpath", {"url": "http://127.0.0.1"})
            target = make_target(spec)
            await target.close()
            manifest = Manifest(
                version=version("goldenpath"),
                scenario=job.scenario.name,
                users=job.scenario.users,
                seed=job.seed,
                nonce=nonce,
                format=target.format,
                format_options=dict(target.format_options),
                workers=job.workers,
                started_at=time.time(),
                command=job.command,
                target=job.target_name,
                watched=job.target is None,
                machine=machine(),
                cores=os.cpu_count() or 1,
                levels=job.levels,
            )
            save_manifest(job.directory, manifest)
            self._recorder = recorder = Recorder(Judge(make_format(target.format, target.format_options), []), writer)
            try:
                if job.target is None:
                    self._server = OwnServer(job.directory)
                    stack.push_async_callback(self._remove_server, self._server)
                    await self._server.start()
                    spec = self._server.target()
                if any(not fault.on_process for fault in job.scenario.faults):
                    host, port = origin(spec)
                    self._proxy = Proxy(host, port, Random(job.seed))
                    await self._proxy.start()
                    stack.push_async_callback(self._proxy.stop)
                    spec = rerouted(spec, "127.0.0.1", self._proxy.port)
                await self._load(spec, manifest, nonce)
                if not self._stopping:
                    await self._see_whether_it_is_there(spec)
            except TargetError as error:
                recorder.noted("target_lost", error.detail or error.code)
            except WorkerCrashed as error:
                recorder.noted("crashed", str(error))

    async def _load(self, spec: TargetSpec, manifest: Manifest, nonce: str) -> None:
        job, recorder = self._job, self._recorder
        assert recorder is not None
        background: list[asyncio.Task[None]] = []
        try:
            for number in range(job.workers):
                load = Load(
                    users=job.scenario.users,
                    arrivals=job.scenario.arrivals,
                    seed=job.seed,
                    patience=job.scenario.patience,
                    resumes=job.scenario.resumes or bool(job.scenario.faults),
                    worker=number,
                    workers=job.workers,
                )
                plan = Plan(
                    directory=str(job.directory), nonce=nonce, target=spec, workload=job.scenario.workload, load=load
                )
                self._workers.append(await _Process.start(plan))
            await asyncio.gather(*(worker.until_ready() for worker in self._workers))
            if self._stopping:
                return
            read = self._reading(spec)
            if read is not None:
                background.append(asyncio.create_task(watch(read, partial(recorder.sampled, "target"))))
            self._zero = perf_counter() + HEAD_START
            save_manifest(job.directory, msgspec.structs.replace(manifest, zero=self._zero))
            recorder.noted("begun")
            injection = Injection(job.scenario.faults, self._server, self._proxy, recorder)
            injecting = asyncio.create_task(self._inject(injection))
            background.append(injecting)
            for worker in self._workers:
                worker.say(f"go {self._zero!r}")
            self._watcher.begun(job)
            for why in await asyncio.gather(*(worker.follow(self._on_message) for worker in self._workers)):
                if why:
                    recorder.noted("crashed", why)
            recorder.noted("ended")
            if not self._stopping:
                await injecting
            if not self._stopping:
                await asyncio.sleep(job.scenario.settle)
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await asyncio.gather(*(worker.end() for worker in self._workers))

    def _reading(self, spec: TargetSpec) -> Read | None:
        """What can be known of the target besides what users see; None: nothing."""
        page = MetricsPage(spec.options["url"]) if spec.kind == "goldenpath" else None
        if self._server is not None and page is not None:
            return everything(ProcessTree(self._pid).read, page.read)
        return None if page is None else page.read

    def _pid(self) -> int | None:
        return self._server.pid if self._server is not None else None

    async def _inject(self, injection: Injection) -> None:
        await asyncio.sleep(max(0.0, self._zero - perf_counter()))
        try:
            await injection.run()
        except* TargetError as lost:
            self._stop("target_lost", _detail(lost.exceptions[0]))

    def _on_message(self, worker: int, message: Message) -> None:
        match message:
            case Tick():
                self._ticks[worker] = message
                self._watcher.ticked(list(self._ticks.values()), perf_counter() - self._zero)
            case Seen(violation):
                self._watcher.seen(violation)
                if violation.checker in ABORTING:
                    self._stop("aborted", violation.witness)
            case Done(crashed):
                assert self._recorder is not None
                for why in crashed:
                    self._recorder.noted("crashed", why)

    def interrupt(self) -> None:
        """End the run as soon as everything that was seen is written. Again: at once, without waiting for workers."""
        if self._stopping:
            for worker in self._workers:
                worker.kill()
        self._interrupted = True
        self._stop("interrupted", "by hand")

    def _stop(self, kind: Any, why: str) -> None:
        if self._stopping:
            return
        self._stopping = True
        if self._recorder is not None:
            self._recorder.noted(kind, why)
        for worker in self._workers:
            worker.say("stop")

    async def _see_whether_it_is_there(self, spec: TargetSpec) -> None:
        target = make_target(spec)
        try:
            async with asyncio.timeout(STOPPING):
                await target.open()
        except TimeoutError:
            raise TargetError("timeout", "the target does not answer any more") from None
        finally:
            await target.close()

    async def _remove_server(self, server: OwnServer) -> None:
        await server.stop()
        server.remove_data()


def _detail(error: BaseException) -> str:
    return (error.detail or error.code) if isinstance(error, TargetError) else str(error)


class _Process:
    """One worker, seen from outside."""

    def __init__(self, number: int, process: asyncio.subprocess.Process) -> None:
        self._number = number
        self._process = process
        self._decode = msgspec.json.Decoder(Message).decode

    @classmethod
    async def start(cls, plan: Plan) -> _Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "goldenpath.lab.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        worker = cls(plan.load.worker, process)
        worker.say(msgspec.json.encode(plan).decode())
        return worker

    def say(self, line: str) -> None:
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(line.encode() + b"\n")

    async def _next(self) -> Message | None:
        """None: it has said its last."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        return self._decode(line) if line else None

    async def until_ready(self) -> None:
        """Raises `TargetError` where its users cannot be set up."""
        while True:
            match await self._next():
                case Ready():
                    return
                case Unreachable(why):
                    raise TargetError("unreachable", why)
                case None:
                    raise WorkerCrashed(f"worker {self._number} ended: {await self._last_words()}")

    async def follow(self, on_message: Callable[[int, Message], None]) -> str:
        """Until it has ended. Returns why it did, where it should not have."""
        done = False
        while (message := await self._next()) is not None:
            done = done or isinstance(message, Done)
            on_message(self._number, message)
        return "" if done else f"worker {self._number} ended: {await self._last_words()}"

    async def _last_words(self) -> str:
        assert self._process.stderr is not None
        words = (await self._process.stderr.read()).decode(errors="replace").strip().splitlines()
        return words[-1] if words else f"exit code {await self._process.wait()}"

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Close its stdin, which ends it; kill it where that does not."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(STOPPING):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
