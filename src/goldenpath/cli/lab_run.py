"""`goldenpath lab run`: carries scenarios out one after another and shows how they go."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.live import Live
from rich.markup import escape

from goldenpath.cli.lab_verdict import conclude, show_result
from goldenpath.lab.checker import Violation
from goldenpath.lab.experiment import Experiment, Job, Watcher
from goldenpath.lab.faults import parse_fault
from goldenpath.lab.levels import resolve_levels
from goldenpath.lab.scenario import Scenario, adapted
from goldenpath.lab.scenarios import SCENARIOS
from goldenpath.lab.summary import ScenarioResult, judge_directory
from goldenpath.lab.targets import TargetSpec, parse_target
from goldenpath.lab.worker import Tick

EXIT_USAGE = 2
PLAIN_EVERY = 5.0
"""Seconds between two lines of progress where there is no terminal."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says."""

    scenarios: list[str]
    target: str | None
    headers: list[str]
    echo: bool
    users: int | None
    rate: float | None
    duration: float | None
    thresholds: str | None
    levels: list[str]
    seed: int
    workers: int
    faults: list[str]
    out: str | None


class UsageError(Exception):
    """The command line asks for something that there is not; the message says what there is."""


def run(options: Options) -> int:
    """Run what the options say; returns the exit code. What is wrong with them is one line on stderr."""
    try:
        jobs = list(_jobs(options))
    except (UsageError, ValueError, OSError) as error:
        print(f"goldenpath: {error}", file=sys.stderr)
        return EXIT_USAGE
    console = Console()
    return asyncio.run(_run(jobs, console))


def _jobs(options: Options) -> Sequence[Job]:
    target: TargetSpec | None = parse_target(options.target, headers=options.headers, echo=options.echo)
    out = Path(options.out or time.strftime("lab-%Y%m%d-%H%M%S"))
    levels = resolve_levels(Path(options.thresholds) if options.thresholds else None, options.levels)
    chosen: list[Scenario] = []
    faults = [parse_fault(spec) for spec in options.faults]
    for name in options.scenarios:
        if name not in SCENARIOS:
            raise UsageError(f"there is no scenario {name!r}; `goldenpath lab list` shows them")
        if target is not None and any(fault.on_process for fault in faults):
            raise UsageError("kill, restart and stop need a server of the lab's own: leave --target out")
        scenario = adapted(SCENARIOS[name], users=options.users, rate=options.rate, duration=options.duration)
        chosen.append(msgspec.structs.replace(scenario, faults=(*scenario.faults, *faults)))
    return [
        Job(
            scenario=scenario,
            directory=out / scenario.name,
            target=target,
            target_name=options.target or "a goldenpath server of the lab's own",
            seed=options.seed,
            levels=levels,
            workers=options.workers,
            command=shlex.join(["goldenpath", *sys.argv[1:]]),
        )
        for scenario in chosen
    ]


async def _run(jobs: Sequence[Job], console: Console) -> int:
    loop = asyncio.get_running_loop()
    results: list[ScenarioResult] = []
    for job in jobs:
        shown = Display(console, job)
        experiment = Experiment(job, shown)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, experiment.interrupt)
        try:
            await experiment.run()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)
            shown.end()
        results.append(judge_directory(job.directory))
        show_result(console, results[-1])
        if experiment.interrupted:
            break
    return conclude(console, jobs[0].directory.parent, results)


class Display(Watcher):
    """Shows a run while it goes: a line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, job: Job) -> None:
        self._console = console
        self._job = job
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._last = 0.0
        self._before: tuple[float, int] = (0.0, 0)
        self._seen = False

    def begun(self, job: Job) -> None:
        target = escape(job.target_name)
        self._console.print(f"[bold]{job.scenario.name}[/]: {job.scenario.users} users against {target}")
        if self._live is not None:
            self._live.start()

    def ticked(self, ticks: Sequence[Tick], seconds: float) -> None:
        events = sum(tick.events for tick in ticks)
        then, before = self._before
        rate = (events - before) / max(seconds - then, 1e-9)
        line = _line(ticks, seconds, rate)
        if self._live is not None:
            self._before = (seconds, events)
            self._live.update(line, refresh=True)
        elif seconds - self._last >= PLAIN_EVERY:
            self._before = (seconds, events)
            self._last = seconds
            self._console.print(line)

    def seen(self, violation: Violation) -> None:
        if not self._seen:
            self._seen = True
            what = f"[red]{violation.checker}: {violation.kind}[/]"
            self._console.print(f"{what}: {escape(violation.witness)}", highlight=False)

    def end(self) -> None:
        if self._live is not None:
            self._live.stop()


def _line(ticks: Sequence[Tick], seconds: float, rate: float) -> str:
    firsts = [tick.first_token for tick in ticks if tick.first_token is not None]
    parts = [
        f"{seconds:6.1f} s",
        f"{sum(tick.runs for tick in ticks):,} runs",
        f"{sum(tick.failed for tick in ticks):,} failed",
        f"{rate:,.0f} events/s",
        f"first token {max(firsts) * 1000:,.0f} ms" if firsts else "first token -",
        f"{sum(tick.violations for tick in ticks):,} violations",
    ]
    return "  ".join(parts)
