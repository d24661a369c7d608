"""Runs one scenario: a target, worker processes, the monitor; leaves a directory with the history of it all.

What it all means is judged afterwards, from that directory alone.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Final

import msgspec

from goldenpath.lab import own_server
from goldenpath.lab.canary import new_nonce
from goldenpath.lab.checker import Violation
from goldenpath.lab.formats import make_format
from goldenpath.lab.hiding import Hiding
from goldenpath.lab.history import HistoryWriter, path_of, save_manifest
from goldenpath.lab.injection import Injection
from goldenpath.lab.judge import Judge
from goldenpath.lab.level import Level
from goldenpath.lab.machine import machine
from goldenpath.lab.monitor import MetricsPage, ProcessTree, Read, everything, watch
from goldenpath.lab.own_server import OwnServer
from goldenpath.lab.proxy import Proxy
from goldenpath.lab.recorder import Recorder
from goldenpath.lab.records import Manifest, Noted, NoteKind
from goldenpath.lab.runner import Load
from goldenpath.lab.scenario import Scenario
from goldenpath.lab.target import TargetError
from goldenpath.lab.targets import TargetSpec, make_target, origin, rerouted
from goldenpath.lab.worker import Broken, Done, Message, Plan, Seen, Tick
from goldenpath.lab.worker_process import SILENCE, STOPPING, WorkerCrashed, WorkerProcess

HEAD_START: Final = 0.2
"""Seconds between `go` and the beginning of the load, so that every worker is there in time."""
ABORTING: Final = frozenset(("isolation",))
"""Checkers whose first violation ends the run at once."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run."""

    scenario: Scenario
    directory: Path
    """Where the history goes; made if need be."""
    target: TargetSpec | None = None
    """None: a server of our own."""
    target_name: str = own_server.NAME
    seed: int = 1
    workers: int = 1
    silence: float = SILENCE
    """Seconds without a word of a worker, after which it is given up."""
    levels: tuple[Level, ...] | None = None
    """The service levels that it is held to; None: the default ones."""
    command: str = ""
    label: str = ""
    """What whoever runs it calls the run."""
    together: tuple[str, ...] = ()
    """All scenarios that are to be run by the same command, in order."""


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
        self._workers: list[WorkerProcess] = []
        self._ticks: dict[int, Tick] = {}
        self._server: OwnServer | None = None
        self._proxy: Proxy | None = None
        self._stopping = self._interrupted = self._breached = False
        self._zero = 0.0
        self._recorder: Recorder | None = None
        self._notes: list[Noted] = []
        self._broken = False

    @property
    def unwritten(self) -> Sequence[Noted]:
        """What should stand in the history about the run itself, where that could not be written."""
        return self._notes if self._broken else ()

    @property
    def interrupted(self) -> bool:
        """Whether it was ended by `interrupt`."""
        return self._interrupted

    async def run(self) -> None:
        """Returns when everything has ended and the history is on disk. What went wrong stands in the history, or in
        `unwritten`; only a directory in which nothing can be begun raises (OSError)."""
        job = self._job
        job.directory.mkdir(parents=True, exist_ok=True)
        for old in job.directory.glob("history-*.bin"):
            old.unlink()
        async with AsyncExitStack() as stack:
            nonce = new_nonce()
            writer = HistoryWriter(path_of(job.directory, 0), nonce)
            stack.callback(lambda: self._recorder.close() if self._recorder is not None else writer.close())
            spec = job.target or TargetSpec("goldenpath", {"url": "http://127.0.0.1"})
            target = make_target(spec)
            await target.close()
            manifest = Manifest(
                version=version("goldenpath"),
                scenario=job.scenario.name,
                users=job.scenario.users,
                changes=job.scenario.changes,
                label=job.label,
                together=job.together,
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
            seal = save_manifest(job.directory, manifest)
            self._recorder = Recorder(Judge(make_format(target.format, target.format_options), []), writer)
            self._recorder.on_broken = self._break_off
            self._recorder.noted("sealed", seal)
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
                self._note("target_lost", error.detail or error.code)
            except WorkerCrashed as error:
                self._note("crashed", str(error))
            except OSError as error:
                self._note("crashed", f"{error.filename or 'the system'}: {error.strerror or error}")

    def _note(self, kind: NoteKind, text: str = "") -> None:
        assert self._recorder is not None
        hiding = Hiding(self._job.target.secrets if self._job.target is not None else {})
        note = Noted(perf_counter(), kind, hiding.text(text))
        self._notes.append(note)
        self._recorder.take(note)

    def _break_off(self, why: str) -> None:
        self._broken = True
        self._notes.append(Noted(perf_counter(), "crashed", why))
        self._stop("crashed", why)

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
                    directory=str(job.directory),
                    nonce=nonce,
                    target=spec,
                    workload=job.scenario.workload,
                    load=load,
                    disturbed=self._proxy is not None,
                    remains=str(self._server.data) if self._server is not None else "",
                )
                self._workers.append(await WorkerProcess.start(plan, job.silence))
            await asyncio.gather(*(worker.until_ready() for worker in self._workers))
            if self._stopping:
                return
            read = self._reading(spec)
            if read is not None:
                background.append(asyncio.create_task(watch(read, partial(recorder.sampled, "target"))))
            self._zero = perf_counter() + HEAD_START
            recorder.noted("sealed", save_manifest(job.directory, msgspec.structs.replace(manifest, zero=self._zero)))
            self._note("begun")
            injection = Injection(job.scenario.faults, self._server, self._proxy, recorder)
            injecting = asyncio.create_task(self._inject(injection))
            background.append(injecting)
            for worker in self._workers:
                worker.say(f"go {self._zero!r}")
            self._watcher.begun(job)
            await asyncio.gather(*(self._follow(worker) for worker in self._workers))
            self._note("ended")
            if not self._stopping:
                for left in injection.give_up():
                    self._note("not_injected", f"{left} is later than the end of the load (--duration makes it longer)")
                await injecting
            if not self._stopping:
                await asyncio.sleep(job.scenario.settle)
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await asyncio.gather(*(worker.end() for worker in self._workers))

    async def _follow(self, worker: WorkerProcess) -> None:
        """Until it has ended. Where it should not have, the others stop, too: what they would still see decides
        nothing."""
        why = await worker.follow(self._on_message)
        if why and self._stopping:
            self._note("crashed", why)
        elif why:
            self._stop("crashed", why)

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
                    self._abort(violation.witness)
            case Broken(why):
                self._stop("crashed", why)
            case Done(crashed):
                for why in crashed:
                    self._note("crashed", why)

    def interrupt(self, by: str) -> None:
        """End the run as soon as everything that was seen is written. Again: at once, without waiting for workers.
        `by`: what did it, for people."""
        if self._stopping:
            for worker in self._workers:
                worker.kill()
        self._interrupted = True
        self._stop("interrupted", f"by {by}")

    def _abort(self, witness: str) -> None:
        """A breach is noted also where the run is ending already, for another reason: it decides the verdict."""
        if self._stopping and not self._breached:
            self._note("aborted", witness)
        self._breached = True
        self._stop("aborted", witness)

    def _stop(self, kind: NoteKind, why: str) -> None:
        if self._stopping:
            return
        self._stopping = True
        if self._recorder is not None:
            self._note(kind, why)
        for worker in self._workers:
            worker.say("stop")
            asyncio.get_running_loop().call_later(
                STOPPING, worker.give_up, f"does not answer: {STOPPING:g} s after it should have stopped it had not"
            )

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
