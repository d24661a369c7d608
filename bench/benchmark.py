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
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

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
"""From this share of the server's core used by others on, a repetition is repeated."""

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
    summary: tuple[str, ...] = field(default=())
    """Keys of the rows that the table of budgets shows."""

    def _undisturbed(self, side: Side, options: Options, retries: int) -> Figures:
        """A repetition during which nobody else used the server's core much, or the last of `1 + retries`."""
        for attempt in range(1 + retries):
            gc.collect()
            figures = self.sample(side, options)
            figures["attempts"] = attempt + 1
            if figures.get("server_disturbed", 0) <= DISTURBED or figures.get("clean") is False:
                break
        return figures

    def run(self, sides: Sequence[Side], repetitions: int, options: Options, retries: int = 0) -> dict[str, Any]:
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
            "command": f"python -m bench.{self.name}",
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - began, 1),
            "quick": options.quick,
            "repetitions": repetitions,
            "machine": machine(),
            "versions": versions(),
            "summary": list(self.summary),
            "rows": [self._row(row, samples) for row in self.rows],
            "remarks": remarks(samples),
            "samples": samples,
        }

    def _row(self, row: Row, samples: Mapping[str, list[Figures]]) -> dict[str, Any]:
        values = {
            side: [float(figures[row.key]) for figures in taken if row.key in figures]
            for side, taken in samples.items()
        }
        measured = {
            side: {"median": statistics.median(numbers), "low": min(numbers), "high": max(numbers)}
            for side, numbers in values.items()
            if numbers
        }
        # The ratio of each pair of neighbours in time, then the median: what disturbs both drops out.
        ratios = {
            side: statistics.median([ours / theirs for ours, theirs in pairs])
            for side in values
            if side != "goldenpath"
            and (pairs := [pair for pair in zip(values.get("goldenpath", []), values[side], strict=False) if pair[1]])
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
    if figures.get("server_disturbed", 0) > DISTURBED:
        words += f"; others had the server's core {figures['server_disturbed']:.0%} of the time"
    return words


def remarks(samples: Mapping[str, list[Figures]]) -> list[str]:
    """What a reader of the figures has to know, in sentences."""
    found = []
    for side, taken in samples.items():
        total = len(taken)
        dirty = [figures for figures in taken if figures.get("clean") is False]
        saturated = sum(1 for figures in taken if figures.get("client_saturated"))
        disturbed = [figures["server_disturbed"] for figures in taken if "server_disturbed" in figures]
        if dirty:
            found.append(f"{LABELS[side]}: {len(dirty)} of {total} repetitions not clean: {dirty[0].get('verdict')}")
        if saturated:
            found.append(
                f"{LABELS[side]}: the load client was saturated in {saturated} of {total} repetitions: the server may"
                " be faster than shown"
            )
        if disturbed and statistics.median(disturbed) > DISTURBED:
            found.append(
                f"{LABELS[side]}: other processes had the server's core {statistics.median(disturbed):.0%} of the time"
            )
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
    return found


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
        lines.append(f"  {row['what']} [{row['unit']}]: {'; '.join(parts)}")
    return "\n".join(lines + [f"  ! {remark}" for remark in result["remarks"]])


def prepare() -> None:
    """Make this process the load client: on its own core, many files allowed, and stopping its server when it ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    pin(CLIENT_CORE)
    raise_file_limit()


def main(benchmark: Benchmark, arguments: Sequence[str] | None = None) -> int:
    """The command line of one benchmark. Exit code 1 when a repetition lost, repeated or mixed up an event."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{benchmark.name}", description=benchmark.about)
    parser.add_argument("--repetitions", type=int, default=benchmark.repetitions)
    parser.add_argument("--sides", default=",".join(benchmark.sides), help="default: %(default)s")
    parser.add_argument("--retries", type=int, default=2, help="of a repetition that others disturbed")
    parser.add_argument("--quick", action="store_true", help="short, for seeing that it works")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the JSON result goes")
    options = parser.parse_args(arguments)
    sides = [side for side in options.sides.split(",") if side in benchmark.sides]
    if not sides:
        parser.error(f"sides are {', '.join(benchmark.sides)}")
    prepare()
    print(f"{benchmark.name}: {benchmark.title}", flush=True)
    chosen = Options(quick=options.quick)
    result = benchmark.run(sides, min(options.repetitions, 100), chosen, min(options.retries, 10))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{benchmark.name}.json").write_text(json.dumps(result, indent=1, default=_plain) + "\n")
    print(show(result))
    return 1 if any(figures.get("clean") is False for taken in result["samples"].values() for figures in taken) else 0


def _plain(value: object) -> object:
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value)


def run_module(benchmark: Benchmark) -> None:
    sys.exit(main(benchmark))
