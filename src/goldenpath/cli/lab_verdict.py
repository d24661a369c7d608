"""The verdict on the terminal: what was wrong first, then the levels that are not met, then where to read on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from goldenpath.cli.lab import EXIT_USAGE
from goldenpath.lab.history import MANIFEST, HistoryError
from goldenpath.lab.level import Status
from goldenpath.lab.plain import plain
from goldenpath.lab.report import write_reports
from goldenpath.lab.report.pace import Pace
from goldenpath.lab.summary import ScenarioResult, judge_directory
from goldenpath.lab.verdict import Verdict, worst
from goldenpath.lab.words import amount, plural, seconds

_COLOURS: Final = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.UNKNOWN: "yellow"}
_STATUS_COLOURS: Final = {
    Status.MET: "green",
    Status.MISSED: "yellow",
    Status.BROKEN: "red",
    Status.UNKNOWN: "yellow",
}
_NO_WIDTH: Final = 10_000
_WITNESSES: Final = 3
"""How many violations of one checker are shown; the report has more."""


def line(*parts: str | tuple[str, str]) -> Text:
    """What `parts` say, each as it stands or in a style: nothing in them is taken for markup."""
    return Text.assemble(*((plain(each), "") if isinstance(each, str) else (plain(each[0]), each[1]) for each in parts))


def console_of() -> Console:
    """Where a command writes. What is no terminal has no width: a line is not broken in two there."""
    console = Console()
    return console if console.is_terminal else Console(width=_NO_WIDTH)


def show_result(console: Console, result: ScenarioResult, asked: Sequence[str] = (), *, again: bool = True) -> None:
    """One scenario: its verdict, what was seen, what was wrong, the levels that are not met. `asked`: names of levels
    of which it is said, too, that they do not apply. `again`: how the run differed from the catalogue, too."""
    colour = _COLOURS[result.verdict]
    console.print(
        line(
            (result.verdict.upper(), f"bold {colour}"),
            f"  {result.name}: {plural(result.manifest.users, 'user')},"
            f" {plural(result.operations, 'operation')}, {plural(result.measured.events, 'event')} checked",
        )
    )
    if result.operations:
        console.print(line(f"  {_figures(result)}"))
    if again and result.manifest.changes:
        console.print(line(f"  changed: {result.manifest.changes}"))
    for doubt in result.doubts:
        console.print(line("  ", (doubt, "yellow")))
    for finding in result.findings:
        for violation in finding.violations[:_WITNESSES]:
            console.print(line("  ", (f"{finding.checker}: {violation.kind}", "red"), f": {violation.witness}"))
        more = sum(finding.counts.values()) - len(finding.violations[:_WITNESSES])
        if more > 0:
            console.print(line("  ", (finding.checker, "red"), f": {more:,} more"))
    for kind, outcomes in result.measured.outcomes.items():
        failed = {code: count for code, count in outcomes.items() if code != "ok"}
        if failed:
            reasons = result.measured.reasons.get(kind, {})
            for code, count in sorted(failed.items(), key=lambda each: -each[1]):
                why = f", e.g. {reasons[code]}" if code in reasons else ""
                console.print(line(f"  {kind}: {count:,} not ok: {code}{why}"))
    if not result.operations:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), show_header=True)
    for heading in ("service level", "measured", "target", "limit", ""):
        table.add_column(heading, justify="left" if heading in ("service level", "") else "right")
    for each in result.levels:
        if each.status is not Status.MET and each.measured is not None:
            table.add_row(
                line(each.level.name),
                amount(each.measured, each.unit),
                amount(each.level.target, each.unit),
                amount(each.level.limit, each.unit),
                line((each.status, _STATUS_COLOURS[each.status])),
            )
    met = sum(each.status is Status.MET for each in result.levels)
    console.print(line(f"  {met} of {len(result.levels)} service levels met"))
    for left in result.left_out:
        if left.name in asked:
            console.print(line("  ", (f"{left.name} does not apply", "yellow"), f": {left.why}"))
    unmeasured = [each.level.name for each in result.levels if each.measured is None]
    if unmeasured:
        console.print(line("  ", ("unknown", "yellow"), f", nothing was measured: {', '.join(unmeasured)}"))
    if table.row_count:
        console.print(table)


def _figures(result: ScenarioResult) -> str:
    """The run in one line."""
    pace = Pace.of(result)
    parts = [
        f"{amount(pace.runs_per_second, '')} runs/s",
        f"{amount(pace.events_per_second, '')} events/s",
        f"not ok {amount(pace.failed_share, 'ratio')}",
    ]
    for name, words in (("first_token", "first token"), ("run", "run")):
        times = result.facts.durations(name)
        parts.append(f"{words} p50 {amount(times.percentile(50), 's')} p95 {amount(times.percentile(95), 's')}")
    return "  ".join([*parts, f"in {seconds(result.timeline.seconds)}"])


def complain(what: str) -> None:
    """One line, for whoever started the command."""
    print(f"goldenpath: {plain(what)}", file=sys.stderr)


def conclude(console: Console, out: Path, results: Sequence[ScenarioResult]) -> int:
    """Write the reports of everything that was run, say where they are; returns the exit code. Where they cannot be
    written the verdict is unknown, if it is not worse."""
    try:
        report = write_reports(out, results)
    except OSError as error:
        complain(f"the reports cannot be written: {error.filename or out}: {error.strerror}")
        return worst([Verdict.UNKNOWN, *(result.verdict for result in results)]).exit_code
    if report.not_run:
        console.print(line(("not run", "yellow"), f": {', '.join(report.not_run)}"))
    verdict = report.verdict
    said = line((verdict.upper(), f"bold {_COLOURS[verdict]}"), f"  {out / 'report.html'}")
    console.print(said, soft_wrap=True)
    return report.exit_code


def check(directory: str, *, quiet: bool = False) -> int:
    """Judge what `lab run --out DIR` left, and write its reports, again; returns the exit code. `quiet`: without a word
    about the single scenarios."""
    out = Path(directory)
    stored = sorted(path.parent for path in out.glob("*/manifest.json")) or [out]
    console = console_of()
    try:
        results = [judge_directory(path) for path in stored]
    except HistoryError as error:
        complain(str(error))
        return Verdict.UNKNOWN.exit_code if any((path / MANIFEST).exists() for path in stored) else EXIT_USAGE
    results.sort(key=lambda result: result.manifest.started_at)
    for result in () if quiet else results:
        show_result(console, result)
    return conclude(console, out, results)
