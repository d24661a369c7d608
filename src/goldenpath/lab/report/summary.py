"""`summary.md`: a run at a glance, for a terminal, a pull request, or a page of documentation."""

from __future__ import annotations

from collections.abc import Iterator

from goldenpath.lab.level import Status
from goldenpath.lab.report.blocks import Block, Code, Heading, Table, Text
from goldenpath.lab.report.data import Report
from goldenpath.lab.report.rows import LEVEL_HEAD, SCENARIO_HEAD, about, level_row, levels_of, scenario_row


def summary(report: Report) -> Iterator[Block]:
    """`summary.md`: the verdict, and what it comes from."""
    yield Text(f"Verdict: {report.verdict} (exit code {report.exit_code}).")
    for line in (" · ".join(about(report)), f"Not run: {', '.join(report.not_run)}." if report.not_run else ""):
        if line:
            yield Text(line)
    for scenario in report.scenarios[:1]:
        if scenario.command:
            yield Code(scenario.command)
    yield Table(
        SCENARIO_HEAD,
        [scenario_row(scenario) for scenario in report.scenarios],
        empty="No scenario was run.",
    )
    for each in report.not_applicable:
        yield Text(f"{each.name}: not applicable: {each.why}")
    for scenario in report.scenarios:
        if scenario.changed:
            yield Text(f"{scenario.name}: {scenario.changed}")
        for reason in scenario.reasons:
            yield Text(f"{scenario.name}: {reason}")
        for violation in scenario.violations[:10]:
            yield Text(f"{violation.checker}, {violation.kind}: {violation.witness}")
    rows = [
        (scenario.name, level.name, level.quantity, *level_row(level))
        for scenario, level in levels_of(report)
        if level.status is not Status.MET
    ]
    if rows:
        yield Heading("Service levels that are not met")
        yield Table(("scenario", "service level", "quantity", *LEVEL_HEAD), rows)
