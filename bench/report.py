"""The stored results as tables in docs/performance.md: `python -m bench.report`."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.benchmark import DISTURBED, RESULTS
from bench.catalogue import NAMES
from bench.server import LABELS, ROOT

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
PAGE = ROOT / "docs" / "performance.md"
Result = Mapping[str, Any]


def load(directory: Path) -> list[Result]:
    """The results that are there, in the catalogue's order."""
    found = []
    for name in NAMES:
        path = directory / f"{name}.json"
        if path.exists():
            found.append(json.loads(path.read_text()))
    return found


def number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def judge(result: Result, row: Result, value: float) -> str:
    """How a value stands to its budget, in words. What lost or mixed up events meets no budget, however fast."""
    ours = result["samples"].get("goldenpath", [])
    if any(figures.get("clean") is False for figures in ours):
        return "**void: not clean**"
    doubts = ["quick run"] if result["quick"] else []
    if statistics.median(figures.get("server_disturbed") or 0 for figures in ours) > DISTURBED:
        doubts.append("disturbed")
    return _judge(row, value) + (f" ({', '.join(doubts)})" if doubts else "")


def _judge(row: Result, value: float) -> str:
    budget, stretch = row["budget"], row["stretch"]
    higher = row["better"] == "higher"
    if stretch is not None and (value >= stretch if higher else value <= stretch):
        return "within stretch"
    if value >= budget if higher else value <= budget:
        return "within budget"
    missed = (1 - value / budget if higher else value / budget - 1) * 100
    return f"**missed by {missed:.0f} %**"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def budget_text(row: Result) -> str:
    if row["budget"] is None:
        return ""
    text = f"{row['budget']:,g}"
    return text if row["stretch"] is None else f"{text} / {row['stretch']:,g}"


def budgets(results: Sequence[Result]) -> list[str]:
    """One table of everything that has a budget."""
    rows = []
    for result in results:
        for row in result["rows"]:
            ours = row["measured"].get("goldenpath")
            if row["budget"] is None or ours is None or row["key"] not in result["summary"]:
                continue
            peer = row["measured"].get("peer")
            unit = f" ({row['unit']})" if row["unit"] else ""
            rows.append(
                [
                    f"`{result['name']}`: {row['what']}{unit}",
                    f"**{number(ours['median'], row['digits'])}**",
                    number(peer["median"], row["digits"]) if peer else "-",
                    budget_text(row),
                    judge(result, row, ours["median"]),
                ]
            )
    return table(["What", "goldenpath", "FastAPI by hand", "budget / stretch", "verdict"], rows) if rows else []


def section(result: Result) -> list[str]:
    """One benchmark: what is done, the figures, the command, the remarks."""
    sides = [side for side in LABELS if any(side in row["measured"] for row in result["rows"])]
    others = [side for side in sides if side != "goldenpath"] if "goldenpath" in sides else []
    header = ["What", "unit", *(LABELS[side] for side in sides), *(f"ratio to {LABELS[side]}" for side in others)]
    rows = []
    for row in result["rows"]:
        cells = [row["what"], row["unit"]]
        for side in sides:
            figures = row["measured"].get(side)
            low_high = (number(figures[key], row["digits"]) for key in ("low", "high")) if figures else ()
            cells.append(f"{number(figures['median'], row['digits'])} ({' to '.join(low_high)})" if figures else "-")
        cells += [f"{row['ratios'][side]:.2f}" if side in row["ratios"] else "-" for side in others]
        rows.append(cells)
    quick = " A quick run: the figures mean little." if result["quick"] else ""
    times = "1 repetition" if result["repetitions"] == 1 else f"{result['repetitions']} interleaved repetitions"
    how = (
        f"`{result['command']}`, {result['date']}, {times}; median (lowest to highest); ratios are medians of the"
        f" ratios of neighbours.{quick}"
    )
    return [
        f"### {result['title']}",
        "",
        f"{result['about']}",
        "",
        *table(header, rows),
        how,
        "",
        *(f"- {remark}." for remark in result["remarks"]),
        *([""] if result["remarks"] else []),
    ]


def environment(results: Sequence[Result]) -> list[str]:
    """Machines and versions, each once, with the benchmarks they apply to."""
    groups: dict[str, list[str]] = {}
    for result in results:
        machine = result["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items() if version != "-")
        text = f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; {versions}"
        groups.setdefault(text, []).append(result["name"])
    return [f"Machine and versions ({', '.join(names)}): {text}.\n" for text, names in groups.items()]


def render(results: Sequence[Result]) -> str:
    lines = [*environment(results), *budgets(results)]
    for result in results:
        lines += section(result)
    return "\n".join(lines).strip() + "\n"


def write(page: Path, text: str) -> None:
    """Put `text` between the markers of `page`. Raises ValueError where it lacks them, OSError without a page."""
    head, begin, rest = page.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} lacks the markers {BEGIN} and {END}")
    page.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{tail}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    results = load(options.results)
    if not results:
        print("No results yet: run `python -m bench` first.", file=sys.stderr)
        return 1
    write(options.page, render(results))
    print(f"{len(results)} results written to {options.page.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
