"""`performance_metrics/`: a scenario along its time axis and by user, for the report's charts and for other tools."""

from __future__ import annotations

import csv
import io
from typing import Any, Final

from goldenpath.histogram import Histogram
from goldenpath.lab.summary import ScenarioResult
from goldenpath.lab.timeline import Bin, Timeline

_PERCENTILES: Final = (50, 95, 99)
_MAX_BINS: Final = 120
_FEW_BINS: Final = 24
_RUNS: Final = 8
"""How many runs there should be in a bin on average, unless there are few bins anyway."""


def series(result: ScenarioResult) -> dict[str, Any]:
    """Columns of equal length; times are seconds from the beginning of the load, null is nothing."""
    timeline = result.timeline
    width, bins, open_before = _coarse(timeline)
    rates = {
        name: [_rounded(getattr(each, name) / width) for each in bins]
        for name in ("offered", "started", "completed", "failed", "events")
    }
    first_token: dict[str, list[float | None]] = {
        f"p{percent}": [_rounded(each.first_token.percentile(percent)) for each in bins] for percent in _PERCENTILES
    }
    first_token["max"] = [_rounded(each.first_token.highest) for each in bins]
    return {
        "name": result.name,
        "seconds": _rounded(timeline.seconds),
        "bin_seconds": width,
        "time": [number * width for number in range(len(bins))],
        "per_second": rates,
        "first_token": first_token,
        "connections": _connections(bins, open_before),
        "runs": [
            [_rounded(point.at), _rounded(point.seconds), point.user, int(point.ok)]
            for point in sorted({*timeline.points, *timeline.slowest}, key=lambda point: point.at)
        ],
        "runs_total": timeline.runs,
        "users": _users(result),
        "cores": result.manifest.cores,
        "samples": {source: _columns(samples.kept) for source, samples in sorted(timeline.samples.items())},
        "faults": [[fault.fault, _rounded(fault.began), _rounded(fault.ended)] for fault in timeline.faults],
        "violations": [
            _rounded(violation.at - timeline.zero) for finding in result.findings for violation in finding.violations
        ],
    }


def _coarse(timeline: Timeline) -> tuple[float, list[Bin], int]:
    """Bins from the beginning of the load without a hole between, as wide as it takes for each to say something; and
    how many connections were open before."""
    last = max(timeline.bins, default=-1) + 1
    factor = 1
    while last / factor > _MAX_BINS or (last / factor > _FEW_BINS and timeline.runs * factor / last < _RUNS):
        factor *= 2
    bins = [Bin() for _ in range(-(-last // factor))]
    open_before = 0
    for number in sorted(timeline.bins):
        each = timeline.bins[number]
        if number >= 0:
            bins[number // factor].add(each)
        elif each.open is not None:
            open_before = each.open
    return timeline.width * factor, bins, open_before


def _connections(bins: list[Bin], open_now: int) -> list[int]:
    """How many were open at most; where nothing changed, as many as before."""
    counts = []
    for each in bins:
        counts.append(max(each.connections, open_now) if each.open is None else each.connections)
        open_now = open_now if each.open is None else each.open
    return counts


def as_csv(columns: dict[str, Any]) -> str:
    """The time axis of `series` as CSV: a line for each bin."""
    out = io.StringIO()
    writer = csv.writer(out)
    rates, tokens = columns["per_second"], columns["first_token"]
    names = [*(f"{name}_per_second" for name in rates), *(f"first_token_{name}_seconds" for name in tokens)]
    writer.writerow(["seconds", *names, "connections"])
    writer.writerows(zip(columns["time"], *rates.values(), *tokens.values(), columns["connections"], strict=True))
    return out.getvalue()


def _users(result: ScenarioResult) -> dict[str, list[Any]]:
    """By user, the best-served first: how many runs they asked for and got, and how long those took."""
    rows = []
    for user, asked in result.timeline.asked.items():
        dump = result.measured.users.get(user)
        runs = Histogram() if dump is None else Histogram.load(dump)
        rows.append((user, asked, runs.count, runs.percentile(50), runs.percentile(95), runs.highest))
    rows.sort(key=lambda row: (row[3] is None, row[3] or 0.0, row[0]))
    names = ("user", "asked", "runs", "p50", "p95", "max")
    return {name: [_rounded(row[place]) for row in rows] for place, name in enumerate(names)}


def _columns(kept: list[tuple[float, dict[str, float]]]) -> dict[str, list[float | None]]:
    names = sorted({name for _, figures in kept for name in figures})
    columns = {name: [_rounded(figures.get(name)) for _, figures in kept] for name in names}
    return {"time": [_rounded(at) for at, _ in kept], **columns}


def _rounded(value: float | None) -> float | None:
    """Six digits are more than anybody sees, and half of the bytes."""
    return value if value is None or isinstance(value, int) else float(f"{value:.6g}")
