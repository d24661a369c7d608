"""`goldenpath lab selftest`: runs every fault and shows the score."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
from rich.console import Console

from goldenpath.cli.lab import EXIT_USAGE
from goldenpath.cli.lab_verdict import complain, console_of
from goldenpath.lab.selftest.faults import FAULTS
from goldenpath.lab.selftest.score import Score, Trial, run_selftest

EXIT_UNKNOWN = 2
RESULT = "selftest.json"


def selftest(faults: list[str] | None, *, seeds: int, at_once: int, out: str | None) -> int:
    """Run it; returns the exit code. What is wrong with the options is one line on stderr."""
    for name in faults or ():
        if name not in FAULTS:
            complain(f"there is no fault {name!r}; there are {', '.join(FAULTS)}")
            return EXIT_USAGE
    console = console_of()
    directory = Path(out) if out is not None else None
    begun = time.monotonic()
    try:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        score = asyncio.run(
            run_selftest(
                faults,
                range(1, seeds + 1),
                at_once=at_once,
                keep=directory,
                tell=lambda trial: _show(console, trial),
            )
        )
        if directory is not None:
            (directory / RESULT).write_bytes(msgspec.json.format(msgspec.json.encode(score)))
    except OSError as error:
        complain(str(error))
        return EXIT_UNKNOWN
    except KeyboardInterrupt:
        complain("interrupted: there is no score")
        return EXIT_UNKNOWN
    _sum_up(console, score, time.monotonic() - begun)
    return score.exit_code


def _show(console: Console, trial: Trial) -> None:
    """A line for each run, and one that says what was seen in it."""
    good, bad = ("caught", "MISSED") if trial.expected else ("right", "ALARM")
    mark = f"[green]{good:6}[/]" if trial.caught else f"[red]{bad:6}[/]"
    console.print(f"{mark} {trial.fault} in {trial.scenario}, seed {trial.seed}", highlight=False)
    said = f"{trial.expected}: {trial.witness}" if trial.witness else trial.why
    if said:
        console.print(f"       {said}", style="dim", highlight=False, markup=False, soft_wrap=True)


def _sum_up(console: Console, score: Score, seconds: float) -> None:
    percent = 100 * score.caught / score.faults if score.faults else 0
    console.print(
        f"mutation score {percent:.0f} %: {score.caught} of {score.faults} faults caught,"
        f" {score.false_alarms} false alarms; {score.runs} runs in {seconds:.0f} s",
        style="bold green" if score.exit_code == 0 else "bold red",
        highlight=False,
    )
    if score.invalid:
        console.print(
            f"{score.invalid} runs say nothing: the lab itself could not keep up", style="red", highlight=False
        )
    if score.missed:
        console.print(f"missed: {', '.join(score.missed)}", style="red", highlight=False)
