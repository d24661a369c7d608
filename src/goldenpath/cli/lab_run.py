"""`goldenpath lab run`: carries scenarios out one after another and shows how they go."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.live import Live

from goldenpath.cli.lab import EXIT_USAGE
from goldenpath.cli.lab_verdict import complain, conclude, console_of, line, show_result
from goldenpath.lab.checker import Violation
from goldenpath.lab.experiment import Experiment, Job, Watcher
from goldenpath.lab.faults import parse_fault
from goldenpath.lab.levels import resolve_levels
from goldenpath.lab.own_server import NAME as OWN_SERVER
from goldenpath.lab.report import NotApplied, leave_out
from goldenpath.lab.scenario import Scenario, adapted, beyond
from goldenpath.lab.scenarios import SCENARIOS
from goldenpath.lab.summary import ScenarioResult, judge_directory
from goldenpath.lab.targets import TargetSpec, make_target, parse_target
from goldenpath.lab.targets.secrets import command_to_show, target_to_show
from goldenpath.lab.verdict import Verdict
from goldenpath.lab.words import amount, plural
from goldenpath.lab.worker import Tick

ALL = "all"
"""Instead of a scenario's name: the whole catalogue."""
_SIGNALS: Final = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
"""What ends a run, and what people call it."""
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
    longest: float
    thresholds: str | None
    levels: list[str]
    seed: int
    workers: int
    faults: list[str]
    name: str
    out: str | None


class UsageError(Exception):
    """The command line asks for something that there is not; the message says what there is."""


def run(options: Options) -> int:
    """Run what the options say; returns the exit code. What is wrong with them is one line on stderr."""
    try:
        jobs, left_out = asyncio.run(_applicable(jobs_of(options), everything=ALL in options.scenarios))
        if left_out:
            leave_out(jobs[0].directory.parent, left_out)
    except (UsageError, ValueError, OSError) as error:
        complain(str(error))
        return EXIT_USAGE
    console = console_of()
    for each in left_out:
        console.print(f"{each.name} is left out: {each.why}", highlight=False, markup=False, soft_wrap=True)
    return asyncio.run(_run(jobs, console, [option.partition("=")[0] for option in options.levels]))


async def _applicable(jobs: Sequence[Job], *, everything: bool) -> tuple[list[Job], list[NotApplied]]:
    """Those that the target can be tested by, and the others. Raises `UsageError` for one that was asked for by its
    name, which it is unless `everything` was."""
    spec = jobs[0].target
    if spec is None:
        return list(jobs), []
    target = make_target(spec)
    await target.close()
    left_out = [NotApplied(job.scenario.name, why) for job in jobs if (why := beyond(job.scenario, target.abilities))]
    if left_out and not everything:
        raise UsageError(f"{left_out[0].name}: {left_out[0].why}")
    names = {each.name for each in left_out}
    kept = [job for job in jobs if job.scenario.name not in names]
    together = tuple(job.scenario.name for job in kept)
    return [msgspec.structs.replace(job, together=together) for job in kept], left_out


def jobs_of(options: Options) -> Sequence[Job]:
    """What is to be run, in order. Raises `UsageError`, or ValueError and OSError with a line for people."""
    target: TargetSpec | None = parse_target(options.target, headers=options.headers, echo=options.echo)
    out = Path(options.out or time.strftime("lab-%Y%m%d-%H%M%S"))
    levels = resolve_levels(Path(options.thresholds) if options.thresholds else None, options.levels)
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty: --out is for one run, and nothing there is written over")
    chosen: list[Scenario] = []
    faults = [parse_fault(spec) for spec in options.faults]
    for name in _names(options.scenarios):
        if name not in SCENARIOS:
            raise UsageError(f"there is no scenario {name!r}; `goldenpath lab list` shows them")
        if target is not None and any(fault.on_process for fault in faults):
            raise UsageError("kill, restart and stop need a server of the lab's own: leave --target out")
        scenario, duration = SCENARIOS[name], options.duration
        if duration is None and scenario.arrivals.duration > options.longest:
            duration = options.longest
        chosen.append(adapted(scenario, users=options.users, rate=options.rate, duration=duration, faults=faults))
        _see_that_faults_happen(chosen[-1])
    return [
        Job(
            scenario=scenario,
            directory=out / scenario.name,
            target=target,
            target_name=target_to_show(options.target) if options.target else OWN_SERVER,
            label=options.name,
            together=tuple(each.name for each in chosen),
            seed=options.seed,
            levels=levels,
            workers=options.workers,
            command=shlex.join(
                ["goldenpath", *command_to_show(sys.argv[1:], headers=options.headers, target=options.target)]
            ),
        )
        for scenario in chosen
    ]


def _see_that_faults_happen(scenario: Scenario) -> None:
    """Where it is known how long the load lasts; elsewhere the run says in the end which did not."""
    lasts = scenario.arrivals.lasts
    for fault in scenario.faults:
        if lasts is not None and fault.at >= lasts:
            raise UsageError(
                f"--fault {fault.spec}: the load of {scenario.name} lasts {amount(lasts, 's')}; a fault begins"
                " within it (--duration makes it longer)"
            )


def _idle(jobs: Sequence[Job], asked: Sequence[str]) -> Iterator[str]:
    """What options say of levels, and no scenario that is run is held to."""
    for level in jobs[0].levels or ():
        if level.name not in asked:
            continue
        if not any(level.applies_to(job.scenario.name) for job in jobs):
            yield f"--level {level.name}: it says nothing of what is run; it is for {' '.join(level.scenarios)}"
        elif not level.with_faults and all(job.scenario.faults for job in jobs):
            yield f"--level {level.name}: it says nothing of runs with faults"


def _names(given: Sequence[str]) -> Iterator[str]:
    """Each once: a scenario's reports and history have a directory of its name."""
    yield from dict.fromkeys(name for word in given for name in (SCENARIOS if word == ALL else (word,)))


async def _run(jobs: Sequence[Job], console: Console, asked: Sequence[str]) -> int:
    for idle in _idle(jobs, asked):
        complain(idle)
    loop = asyncio.get_running_loop()
    results: list[ScenarioResult] = []
    broken = False
    for job in jobs:
        shown = Display(console, job)
        experiment = Experiment(job, shown)
        for number, name in _SIGNALS.items():
            loop.add_signal_handler(number, experiment.interrupt, name)
        try:
            await experiment.run()
        except OSError as error:
            broken = True
            complain(f"{error.filename or job.directory} cannot be written: {error.strerror or error}")
            break
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
            shown.end()
        results.append(judge_directory(job.directory, experiment.unwritten))
        show_result(console, results[-1], asked, again=False)
        if experiment.interrupted or experiment.unwritten:
            break
    code = conclude(console, jobs[0].directory.parent, results) if results else Verdict.UNKNOWN.exit_code
    return Verdict.UNKNOWN.exit_code if broken and code == Verdict.PASS.exit_code else code


class Display(Watcher):
    """Shows a run while it goes: a line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, job: Job) -> None:
        self._console = console
        self._job = job
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._last = 0.0
        self._before: tuple[float, int] = (0.0, 0)
        self._first: float | None = None
        self._seen = False

    def begun(self, job: Job) -> None:
        users = plural(job.scenario.users, "user")
        self._console.print(line((job.scenario.name, "bold"), f": {users} against {job.target_name}"))
        if job.scenario.changes:
            self._console.print(line(f"  changed: {job.scenario.changes}"))
        if self._live is not None:
            self._live.start()

    def ticked(self, ticks: Sequence[Tick], seconds: float) -> None:
        events = sum(tick.events for tick in ticks)
        then, before = self._before
        rate = (events - before) / max(seconds - then, 1e-9)
        firsts = [tick.first_token for tick in ticks if tick.first_token is not None]
        self._first = max(firsts, default=self._first)
        line = _line(ticks, seconds, rate, self._first)
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
            what = f"{violation.checker}: {violation.kind}"
            self._console.print(line((what, "red"), f": {violation.witness}"))

    def end(self) -> None:
        if self._live is not None:
            self._live.stop()


def _line(ticks: Sequence[Tick], seconds: float, rate: float, first: float | None) -> str:
    parts = [
        f"{seconds:6.1f} s",
        f"{sum(tick.runs for tick in ticks):,} runs",
        f"{sum(tick.failed for tick in ticks):,} failed",
        f"{rate:,.0f} events/s",
        f"first token {amount(first, 's')}",
        f"{sum(tick.violations for tick in ticks):,} violations",
    ]
    return "  ".join(parts)
