"""What all benchmarks share: interleaved repetitions, medians and ratios, a result in JSON."""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from bench.meter import Others, family_seconds
from bench.server import CLIENT_CORE, LABELS, ROOT, Side, pin, raise_file_limit

RESULTS: Final = ROOT / "bench" / "results"
PACKAGES: Final = (
    "goldenpath",
    "uvicorn",
    "uvloop",
    "httptools",
    "websockets",
    "picows",
    "msgspec",
    "starlette",
    "fastapi",
)

DISTURBED: Final = 0.1
"""From this share of a core used by others on, a repetition is repeated, and gives no figure if that does not help."""

Figures = dict[str, Any]
"""What one repetition measured: numbers by name, and texts (verdicts) that are kept but not averaged."""


@dataclass(frozen=True)
class Row:
    """One line of the result table: the figure `key`, and the budget that it has for goldenpath (None: none)."""

    key: str
    what: str
    unit: str
    better: Literal["higher", "lower"] = "lower"
    budget: float | None = None
    stretch: float | None = None
    digits: int = 1


@dataclass(frozen=True)
class Options:
    """`quick`: a short run to see that it works; its figures mean little."""

    quick: bool = False

    def pick(self, normal: int, quick: int) -> int:
        return quick if self.quick else normal


@dataclass(frozen=True)
class Benchmark:
    """`sample` measures one side once, in bounded time. `about` says what is done and what it is compared with."""

    name: str
    title: str
    about: str
    rows: Sequence[Row]
    sample: Callable[[Side, Options], Figures]
    sides: tuple[Side, ...] = ("goldenpath", "peer")
    repetitions: int = 5
    arguments: str = ""
    """What its own command line was given besides the options that all have."""

    def _undisturbed(self, side: Side, options: Options, retries: int) -> Figures:
        """A repetition during which nobody else used the cores much, or the last of `1 + retries`."""
        for attempt in range(1 + retries):
            gc.collect()
            others = Others(family_seconds)
            figures = self.sample(side, options)
            figures["others"] = others.share()
            figures["attempts"] = attempt + 1
            if not is_disturbed(figures) or figures.get("clean") is False:
                break
        return figures

    def run(
        self, sides: Sequence[Side], repetitions: int, options: Options, retries: int = 0, command: str = ""
    ) -> dict[str, Any]:
        """A B A B ...; prints each repetition and returns the result as it is stored."""
        samples: dict[str, list[Figures]] = {side: [] for side in sides}
        began = time.monotonic()
        for repetition in range(repetitions):
            for side in sides:
                figures = self._undisturbed(side, options, retries)
                samples[side].append(figures)
                shown = ", ".join(
                    f"{row.key} {figures[row.key]:.{row.digits}f}" for row in self.rows if row.key in figures
                )
                print(f"  {repetition + 1}/{repetitions} {side}: {shown}{_remarks(figures)}", flush=True)
        return {
            "name": self.name,
            "title": self.title,
            "about": self.about,
            "command": command or f"python -m bench.{self.name}",
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - began, 1),
            "quick": options.quick,
            "repetitions": repetitions,
            "machine": machine(),
            "versions": versions(),
            "rows": [self._row(row, samples, options) for row in self.rows],
            "refused": {side: why for side, taken in samples.items() if (why := refusal(taken, options))},
            "remarks": remarks(samples),
            "samples": samples,
        }

    def _row(self, row: Row, samples: Mapping[str, list[Figures]], options: Options) -> dict[str, Any]:
        values = {
            side: [
                float(figures[row.key]) if row.key in figures and (options.quick or not is_disturbed(figures)) else None
                for figures in taken
            ]
            for side, taken in samples.items()
            if refusal(taken, options) is None
        }
        measured = {
            side: {"median": statistics.median(numbers), "low": min(numbers), "high": max(numbers)}
            for side, taken in values.items()
            if (numbers := [value for value in taken if value is not None])
        }
        # The ratio of each pair of neighbours in time, then the median: what disturbs both drops out.
        ratios = {
            side: statistics.median(pairs)
            for side, taken in values.items()
            if side != "goldenpath"
            and (
                pairs := [
                    ours / theirs
                    for ours, theirs in zip(values.get("goldenpath", []), taken, strict=False)
                    if ours is not None and theirs
                ]
            )
        }
        return {
            "key": row.key,
            "what": row.what,
            "unit": row.unit,
            "better": row.better,
            "budget": row.budget,
            "stretch": row.stretch,
            "digits": row.digits,
            "measured": measured,
            "ratios": ratios,
        }


def _remarks(figures: Figures) -> str:
    words = ""
    if figures.get("clean") is False:
        words += f"; NOT CLEAN: {figures.get('verdict')}"
    if figures.get("client_saturated"):
        words += "; client saturated"
    if is_disturbed(figures):
        words += f"; DISTURBED: others used {disturbance(figures):.0%} of a core"
    return words


def disturbance(figures: Figures) -> float:
    """What others used of a core, as a share: over the whole repetition or over the phase that was measured, whichever
    is worse. 0 where the system does not tell."""
    return max(figures.get(name) or 0.0 for name in ("others", "disturbance"))


def is_disturbed(figures: Figures) -> bool:
    return disturbance(figures) > DISTURBED


def refusal(taken: Sequence[Figures], options: Options) -> str | None:
    """Why a side gets no figures: a repetition failed, or most were disturbed. None where it gets them. A quick run
    shows only that things work, and may be disturbed."""
    dirty = sum(1 for figures in taken if figures.get("clean") is False)
    if dirty:
        return f"{dirty} of {len(taken)} repetitions not clean"
    disturbed = sum(1 for figures in taken if is_disturbed(figures))
    if 2 * disturbed >= len(taken) and not options.quick:
        return f"{disturbed} of {len(taken)} repetitions disturbed by other processes"
    return None


def remarks(samples: Mapping[str, list[Figures]]) -> list[str]:
    """What a reader of the figures has to know, in sentences."""
    found = []
    for side, taken in samples.items():
        total = len(taken)
        dirty = [figures for figures in taken if figures.get("clean") is False]
        saturated = sum(1 for figures in taken if figures.get("client_saturated"))
        disturbed = sum(1 for figures in taken if is_disturbed(figures))
        if dirty:
            found.append(f"{LABELS[side]}: {len(dirty)} of {total} repetitions not clean: {dirty[0].get('verdict')}")
        if saturated:
            found.append(
                f"{LABELS[side]}: the load client was saturated in {saturated} of {total} repetitions: the server may"
                " be faster than shown"
            )
        if 0 < 2 * disturbed < total:  # of more `refusal` speaks
            found.append(f"{LABELS[side]}: {disturbed} of {total} repetitions disturbed by other processes")
        if any(figures.get("others") is None for figures in taken):
            found.append(f"{LABELS[side]}: not known whether other processes disturbed it")
    return found


def machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "-"
    found["goldenpath"] += f" at {commit()}"
    return found


def commit() -> str:
    """The commit that was measured, with "+" where the sources differ from it; "-" outside a checkout."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        differs = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "src"], cwd=ROOT, check=False).returncode
    except (OSError, subprocess.CalledProcessError):
        return "-"
    return head.stdout.strip() + ("+" if differs else "")


def show(result: Mapping[str, Any]) -> str:
    """The result as a plain table."""
    lines = [result["title"]]
    for row in result["rows"]:
        parts = [
            f"{side} {figures['median']:,.{row['digits']}f} ({figures['low']:,.{row['digits']}f}"
            f" to {figures['high']:,.{row['digits']}f})"
            for side, figures in row["measured"].items()
        ]
        parts += [f"goldenpath / {side} {ratio:.2f}" for side, ratio in row["ratios"].items()]
        lines.append(f"  {row['what']} [{row['unit']}]: {'; '.join(parts) or '-'}")
    lines += [f"  ! no figures of {LABELS[side]}: {why}" for side, why in result["refused"].items()]
    return "\n".join(lines + [f"  ! {remark}" for remark in result["remarks"]])


def prepare() -> None:
    """Make this process the load client: on its own core, many files allowed, and stopping its server when it ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    pin(CLIENT_CORE)
    raise_file_limit()


def main(benchmark: Benchmark, arguments: Sequence[str] | None = None) -> int:
    """The command line of one benchmark. Exit code 1 when a side got no figures: see `refusal`."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{benchmark.name}", description=benchmark.about)
    parser.add_argument("--repetitions", type=int, default=benchmark.repetitions)
    parser.add_argument("--sides", default=",".join(benchmark.sides), help="default: %(default)s")
    parser.add_argument("--retries", type=int, default=2, help="of a repetition that others disturbed")
    parser.add_argument("--quick", action="store_true", help="short, for seeing that it works; keeps no result")
    parser.add_argument("--out", type=Path, help=f"where the JSON result goes; default: {RESULTS.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    sides = [side for side in options.sides.split(",") if side in benchmark.sides]
    if not sides:
        parser.error(f"sides are {', '.join(benchmark.sides)}")
    prepare()
    print(f"{benchmark.name}: {benchmark.title}", flush=True)
    directory = options.out or (None if options.quick else RESULTS)
    path = None if directory is None else directory / f"{benchmark.name}.json"
    if path is not None:
        path.unlink(missing_ok=True)  # one that fails must not leave the figures of an earlier one
    command = f"python -m bench.{benchmark.name} {benchmark.arguments}".rstrip()
    for name in ("repetitions", "sides", "retries"):
        if getattr(options, name) != parser.get_default(name):
            command += f" --{name} {getattr(options, name)}"
    chosen = Options(quick=options.quick)
    result = benchmark.run(sides, min(options.repetitions, 100), chosen, min(options.retries, 10), command)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1, default=_plain) + "\n")
    print(show(result))
    return 1 if result["refused"] else 0


def _plain(value: object) -> object:
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value)


def run_module(benchmark: Benchmark) -> None:
    sys.exit(main(benchmark))
