"""The stored results as tables in docs/performance.md: `python -m bench.report`.

Below each missed budget stands a place for why, written by hand and kept when the tables are written anew.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.benchmark import RESULTS
from bench.catalogue import NAMES
from bench.server import LABELS, ROOT

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
WHY = re.compile(r"<!-- why:(\S+) -->\n(.*?)\n?<!-- /why -->", re.DOTALL)
OURS = ("goldenpath", "lab")
"""The sides that have budgets."""
UNEXPLAINED = "Why: not written yet. Say what a profile (`python -m bench.hotspots`) shows."
PAGE = ROOT / "docs" / "performance.md"
Result = Mapping[str, Any]


def load(directory: Path) -> list[Result]:
    """The results that are there, in the catalogue's order. Those of quick runs are no results."""
    paths = [path for name in NAMES if (path := directory / f"{name}.json").exists()]
    return [result for path in paths if not (result := json.loads(path.read_text()))["quick"]]


def number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def ours_of(row: Result) -> Mapping[str, float] | None:
    """What the server or the lab reached; None: no figure."""
    measured: Mapping[str, Mapping[str, float]] = row["measured"]
    return next((measured[side] for side in OURS if side in measured), None)


def judge(row: Result) -> str:
    """How goldenpath's figure stands to its budget, in words."""
    measured = ours_of(row)
    if measured is None:
        return "no figure"
    value, budget, stretch = measured["median"], row["budget"], row["stretch"]
    higher = row["better"] == "higher"
    if stretch is not None and (value >= stretch if higher else value <= stretch):
        return "met, and the stretch"
    if value >= budget if higher else value <= budget:
        return "met"
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
            if row["budget"] is None:
                continue
            ours, peer = ours_of(row), row["measured"].get("peer")
            unit = f" ({row['unit']})" if row["unit"] else ""
            rows.append(
                [
                    f"`{result['name']}`: {row['what']}{unit}",
                    f"**{number(ours['median'], row['digits'])}**" if ours else "-",
                    number(peer["median"], row["digits"]) if peer else "-",
                    f"{row['ratios']['peer']:.2f}" if "peer" in row["ratios"] else "-",
                    budget_text(row),
                    judge(row),
                ]
            )
    if not rows:
        return []
    return table(["What", "goldenpath", LABELS["peer"], "ratio", "budget / stretch", "verdict"], rows)


def explanations(result: Result, whys: Mapping[str, str]) -> list[str]:
    """For each missed budget of a benchmark, why; `whys` is what the page says so far. What was said of a budget for
    which there is no figure now is kept too."""
    lines = []
    for row in result["rows"]:
        key = f"{result['name']}.{row['key']}"
        verdict = judge(row) if row["budget"] is not None else "met"
        if verdict.startswith("met") or (verdict == "no figure" and key not in whys):
            continue
        lines += [
            f"*{row['what']}*: {verdict}.",
            "",
            f"<!-- why:{key} -->",
            whys.get(key, UNEXPLAINED),
            "<!-- /why -->",
            "",
        ]
    return lines


def section(result: Result, whys: Mapping[str, str]) -> list[str]:
    """One benchmark: what is done, the figures, the command, the remarks, and why budgets are missed."""
    sides = [side for side in LABELS if side in result["samples"]]
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
    times = "1 repetition" if result["repetitions"] == 1 else f"{result['repetitions']} interleaved repetitions"
    how = (
        f"`{result['command']}`, {result['date']}, {times}; median (lowest to highest); ratios are medians of the"
        " ratios of neighbours."
    )
    refused = [f"No figures of {LABELS[side]}: {why}" for side, why in result["refused"].items()]
    remarks = [*refused, *result["remarks"]]
    return [
        f"### {result['title']}",
        "",
        f"{result['about']}",
        "",
        *table(header, rows),
        how,
        "",
        *(f"- {remark}." for remark in remarks),
        *([""] if remarks else []),
        *explanations(result, whys),
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


def render(results: Sequence[Result], whys: Mapping[str, str]) -> str:
    """All of it. `whys` are the explanations that the page holds, by benchmark and row."""
    lines = [*environment(results), *budgets(results)]
    measured = {result["name"] for result in results}
    if missing := [name for name in NAMES if name not in measured]:
        lines += [f"Not measured: {', '.join(missing)}.", ""]
    for result in results:
        lines += section(result, whys)
    return "\n".join(lines).strip() + "\n"


def write(page: Path, results: Sequence[Result]) -> None:
    """Put the results between the markers of `page`. Raises ValueError where it lacks them, OSError without a page."""
    head, begin, rest = page.read_text().partition(BEGIN)
    former, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} lacks the markers {BEGIN} and {END}")
    whys = {key: why for key, why in WHY.findall(former) if why.strip() and why != UNEXPLAINED}
    page.write_text(f"{head}{BEGIN}\n\n{render(results, whys)}\n{END}{tail}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    results = load(options.results)
    if not results:
        print("No results yet: run `python -m bench` first.", file=sys.stderr)
        return 1
    write(options.page, results)
    print(f"{len(results)} results written to {options.page.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
