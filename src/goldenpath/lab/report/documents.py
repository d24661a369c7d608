"""The five documents of a run. They say what was measured and found, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isinf
from typing import Final

import msgspec

from goldenpath.lab.level import Status
from goldenpath.lab.report.blocks import Badge, Block, Cell, Code, Heading, Number, Table, Text
from goldenpath.lab.report.data import LevelReport, Report, ScenarioReport
from goldenpath.lab.report.rows import (
    FAILURE_HEAD,
    LEVEL_HEAD,
    OUTCOME_HEAD,
    failure_rows,
    level_row,
    levels_of,
    number,
    outcome_rows,
    used,
)
from goldenpath.lab.words import NOTHING, amount, plural, seconds

NEAR: Final = 0.8
"""A level is near its target where this share of it, or more, is used."""
NEAREST: Final = 15
"""How many that are nearest to their targets are told."""


class Document(msgspec.Struct, frozen=True):
    """A page of the report, and a Markdown file beside it."""

    slug: str
    title: str
    short: str
    """Its title where there is little room."""
    blocks: Callable[[Report], Iterator[Block]]


def _gaps(report: Report) -> Iterator[Block]:
    levels = levels_of(report)
    yield Heading("Gaps")
    gaps = [pair for pair in levels if pair[1].status in (Status.BROKEN, Status.MISSED)]
    gaps.sort(key=lambda pair: (pair[1].status is not Status.BROKEN, -(used(pair[1]) or 0.0)))
    yield Table(
        ("scenario", "service level", "quantity", *LEVEL_HEAD, "of the target"),
        [(scenario.name, level.name, level.quantity, *level_row(level), _share(level)) for scenario, level in gaps],
        empty="No target was missed.",
    )
    yield Heading("Not measured")
    yield Table(
        ("scenario", "service level", "quantity"),
        [(scenario.name, each.name, each.quantity) for scenario, each in levels if each.status is Status.UNKNOWN],
        empty="Every service level that applies was measured.",
    )
    yield Heading("Nearest to their targets")
    met = [pair for pair in levels if pair[1].status is Status.MET and pair[1].comparison == "<=" and used(pair[1])]
    met.sort(key=lambda pair: -(used(pair[1]) or 0.0))
    yield Table(
        ("scenario", "service level", "quantity", *LEVEL_HEAD, "of the target"),
        [
            (scenario.name, level.name, level.quantity, *level_row(level), _share(level))
            for scenario, level in met[:NEAREST]
        ],
        empty="No service level with an upper bound above 0 was met.",
    )
    yield from _where_time_goes(report)


def _share(level: LevelReport) -> Number:
    share = used(level)
    return Number(NOTHING) if share is None or isinf(share) else Number(amount(share, "ratio"), share)


def _where_time_goes(report: Report) -> Iterator[Block]:
    yield Heading("Where users wait")
    kinds = ("login", "connect", "run", "history", "threads", "attach", "cancel")
    rows = []
    for scenario in report.scenarios:
        waits = {name: times for name, times in scenario.durations.items() if name in kinds}
        total = sum(times.total for times in waits.values())
        for name, times in sorted(waits.items(), key=lambda each: -each[1].total):
            share = times.total / total if total else 0.0
            rows.append(
                (
                    scenario.name,
                    name,
                    number(times.count),
                    number(times.p50, "s"),
                    number(times.p95, "s"),
                    number(times.max, "s"),
                    number(share, "ratio"),
                )
            )
    head = ("scenario", "operation", "times", "p50", "p95", "slowest", "of all waiting")
    yield Table(head, rows, empty="Nothing was waited for.")


def _races(report: Report) -> Iterator[Block]:
    yield Text(
        "A leak, a lost update, a lost, duplicated or reordered event has tolerance 0: one of them fails the run. What"
        " a target turned away is no race here."
    )
    rows: list[tuple[Cell, ...]] = []
    for scenario in report.scenarios:
        for checker in scenario.checkers:
            for kind, count in checker.counts.items():
                first = next(
                    each for each in scenario.violations if (each.checker, each.kind) == (checker.checker, kind)
                )
                rows.append((scenario.name, checker.checker, kind, number(count), first.witness))
    yield Heading("Found")
    yield Table(("scenario", "checker", "kind", "times", "first seen"), rows, empty="Nothing was violated.")
    for scenario in report.scenarios:
        if scenario.violation_count:
            yield Text(f"{scenario.name} again, with the same seed; and its history, judged again:")
            yield Code(scenario.command)
            yield Code(scenario.check_command)
    yield Heading("Looked at")
    yield Table(
        ("scenario", "checker", "looked at", "violations", "verdict"),
        [
            (
                scenario.name,
                checker.checker,
                number(checker.checked),
                number(sum(checker.counts.values())),
                Badge(checker.verdict) if checker.exercised else "had nothing to do",
            )
            for scenario in report.scenarios
            for checker in scenario.checkers
        ],
        empty="There was nothing to look at.",
    )


def _roadmap(report: Report) -> Iterator[Block]:
    yield Text("In the order in which to go about it; every line is something that this run showed.")
    levels = levels_of(report)

    def of(status: Status) -> list[tuple[ScenarioReport, LevelReport]]:
        found = [pair for pair in levels if pair[1].status is status]
        return sorted(found, key=lambda pair: -(used(pair[1]) or 0.0))

    yield Heading("1. Make right: violations")
    yield Table(
        ("scenario", "checker", "kind", "times", "shown by"),
        [
            (scenario.name, checker.checker, kind, number(count), scenario.check_command)
            for scenario in report.scenarios
            for checker in scenario.checkers
            for kind, count in checker.counts.items()
        ],
        empty="None.",
    )
    parts = (
        ("2. Bring within the limit: broken service levels", of(Status.BROKEN)),
        ("3. Bring to the target: missed service levels", of(Status.MISSED)),
        (
            f"4. Keep an eye on: met with {amount(NEAR, 'ratio')} of the target used or more",
            [pair for pair in of(Status.MET) if pair[1].comparison == "<=" and (used(pair[1]) or 0.0) >= NEAR],
        ),
    )
    for heading, pairs in parts:
        yield Heading(heading)
        yield Table(
            ("scenario", "service level", *LEVEL_HEAD, "of the target"),
            [(scenario.name, level.name, *level_row(level), _share(level)) for scenario, level in pairs],
            empty="None.",
        )
    yield Heading("5. Find out: what this run could not tell")
    doubts: list[tuple[Cell, ...]] = [
        (scenario.name, reason) for scenario in report.scenarios for reason in scenario.reasons if _is_doubt(reason)
    ]
    yield Table(("scenario", "why"), doubts, empty="None.")


def _is_doubt(reason: str) -> bool:
    return not reason.startswith("service level ") and "violation" not in reason


def _compliance(report: Report) -> Iterator[Block]:
    levels = levels_of(report)
    counts = {status: sum(level.status is status for _, level in levels) for status in Status}
    yield Table(
        ("met", "target missed, limit kept", "broken", "unknown", "in all"),
        [(*(number(counts[status]) for status in Status), number(len(levels)))],
    )
    for scenario in report.scenarios:
        yield from _heading(scenario)
        yield Table(
            ("service level", "what it says", "quantity", *LEVEL_HEAD, "from"),
            [
                (
                    level.name,
                    level.text + (f" Compared with {level.against}." if level.against else ""),
                    level.quantity,
                    *level_row(level),
                    number(level.samples),
                )
                for level in scenario.service_levels
            ],
            empty="No service level applies.",
        )
        for left in scenario.not_applied:
            yield Text(f"{left.name} does not apply: {left.why}.")


def _heading(scenario: ScenarioReport) -> Iterator[Block]:
    yield Heading(scenario.title)
    if scenario.changed:
        yield Text(scenario.changed)


def _execution(report: Report) -> Iterator[Block]:
    yield Table(
        ("scenario", "verdict", "users", "operations", "events", "violations", "load", "started"),
        [
            (
                scenario.name,
                Badge(scenario.verdict),
                number(scenario.users),
                number(scenario.operations),
                number(scenario.events),
                number(scenario.violation_count if scenario.operations else None),
                number(scenario.seconds, "s"),
                scenario.started_at,
            )
            for scenario in report.scenarios
        ],
        empty="No scenario was run.",
    )
    if report.not_run:
        yield Text(f"Not run: {', '.join(report.not_run)}.")
    for scenario in report.scenarios:
        yield from _heading(scenario)
        yield Text(scenario.checks)
        for reason in scenario.reasons:
            yield Text(f"{scenario.verdict}: {reason}")
        yield Table(OUTCOME_HEAD, outcome_rows(scenario), empty="No operation ended.")
        yield Table(FAILURE_HEAD, failure_rows(scenario))
        where = [scenario.target, scenario.machine, f"goldenpath {scenario.version}", f"seed {scenario.seed}"]
        where.append(plural(scenario.workers, "worker"))
        where.append(f"load for {seconds(scenario.seconds)}")
        yield Text(" · ".join(part for part in where if part))
        if scenario.command:
            yield Code(scenario.command)
        yield Code(scenario.check_command)


DOCUMENTS: Final = (
    Document("performance-gap-analysis", "Performance gap analysis", "Gaps", _gaps),
    Document("race-condition-catalogue", "Race condition catalogue", "Races", _races),
    Document("optimisation-roadmap", "Optimisation roadmap", "Roadmap", _roadmap),
    Document("service-level-compliance", "Service-level compliance", "Service levels", _compliance),
    Document("execution-summary", "Execution summary", "Execution", _execution),
)
