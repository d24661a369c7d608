"""The verdict on the terminal: what was wrong first, then the levels that are not met, then where to read on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from goldenpath.lab.history import HistoryError
from goldenpath.lab.level import Status
from goldenpath.lab.report import write_reports
from goldenpath.lab.summary import ScenarioResult, judge_directory
from goldenpath.lab.verdict import Verdict

EXIT_USAGE = 2
_COLOURS: Final = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.UNKNOWN: "yellow"}
_STATUS_COLOURS: Final = {
    Status.MET: "green",
    Status.MISSED: "yellow",
    Status.BROKEN: "red",
    Status.UNKNOWN: "yellow",
}
_WITNESSES: Final = 3
"""How many violations of one checker are shown; the report has more."""


def show_result(console: Console, result: ScenarioResult) -> None:
    """One scenario: its verdict, what was seen, what was wrong, the levels that are not met."""
    colour = _COLOURS[result.verdict]
    console.print(
        f"[bold {colour}]{result.verdict.upper()}[/]  {escape(result.name)}: {result.manifest.users:,} users,"
        f" {result.operations:,} operations, {result.measured.events:,} events checked",
        highlight=False,
    )
    for doubt in result.doubts:
        console.print(f"  [yellow]{escape(doubt)}[/]", highlight=False)
    for finding in result.findings:
        for violation in finding.violations[:_WITNESSES]:
            console.print(
                f"  [red]{finding.checker}: {violation.kind}[/]: {escape(violation.witness)}", highlight=False
            )
        more = sum(finding.counts.values()) - len(finding.violations[:_WITNESSES])
        if more > 0:
            console.print(f"  [red]{finding.checker}[/]: {more:,} more", highlight=False)
        if finding.broken:
            console.print(f"  [yellow]{finding.checker}: {escape(finding.broken)}[/]", highlight=False)
    for kind, outcomes in result.measured.outcomes.items():
        failed = {code: count for code, count in outcomes.items() if code != "ok"}
        if failed:
            reasons = result.measured.reasons.get(kind, {})
            for code, count in sorted(failed.items(), key=lambda each: -each[1]):
                why = f", e.g. {reasons[code]}" if code in reasons else ""
                console.print(f"  {kind}: {count:,} not ok: {code}{escape(why)}", highlight=False)
    if not result.operations:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), show_header=True)
    for heading in ("service level", "measured", "target", "limit", ""):
        table.add_column(heading, justify="left" if heading in ("service level", "") else "right")
    for each in result.levels:
        if each.status is not Status.MET:
            table.add_row(
                each.level.name,
                _number(each.measured, each.unit),
                _number(each.level.target, each.unit),
                _number(each.level.limit, each.unit),
                f"[{_STATUS_COLOURS[each.status]}]{each.status}[/]",
            )
    met = sum(each.status is Status.MET for each in result.levels)
    console.print(f"  {met} of {len(result.levels)} service levels met", highlight=False)
    if table.row_count:
        console.print(table)


def conclude(console: Console, out: Path, results: Sequence[ScenarioResult]) -> int:
    """Write the reports of everything that was run, say where they are; returns the exit code."""
    report = write_reports(out, results)
    verdict = Verdict(report.verdict)
    where = escape(str(out / "report.html"))
    console.print(f"[bold {_COLOURS[verdict]}]{verdict.upper()}[/]  {where}", highlight=False, soft_wrap=True)
    return report.exit_code


def check(directory: str, *, quiet: bool = False) -> int:
    """Judge what `lab run --out DIR` left, and write its reports, again; returns the exit code. `quiet`: without a word
    about the single scenarios."""
    out = Path(directory)
    stored = sorted(path.parent for path in out.glob("*/manifest.json")) or [out]
    console = Console()
    try:
        results = [judge_directory(path) for path in stored]
    except HistoryError as error:
        print(f"goldenpath: {error}", file=sys.stderr)
        return EXIT_USAGE
    results.sort(key=lambda result: result.manifest.started_at)
    for result in () if quiet else results:
        show_result(console, result)
    return conclude(console, out, results)


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:,.4g} {unit}".strip()
