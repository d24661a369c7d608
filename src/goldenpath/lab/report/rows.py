"""What several tables of a report say in the same way: a level, a scenario, a value."""

from __future__ import annotations

from typing import Final

from goldenpath.lab.level import Status
from goldenpath.lab.report.blocks import Badge, Cell, Number
from goldenpath.lab.report.data import LevelReport, Report, ScenarioReport
from goldenpath.lab.words import NOTHING, amount, seconds


def used(level: LevelReport) -> float | None:
    """How much of its target a level uses: 1 is just met, more is missed. None where that means nothing."""
    measured = level.measured
    if measured is None or level.level <= 0 or level.against:
        return None
    if level.comparison == "<=":
        return measured / level.level
    return level.level / measured if measured > 0 else None


def number(value: float | None, unit: str = "") -> Number:
    """A value in a table."""
    return Number(amount(value, unit), value)


def measured(level: LevelReport) -> Number:
    """What was measured of a level."""
    if level.quantity.startswith("final_delivery") and level.measured == 0:
        return Number("same message", 0.0)
    return number(level.measured, level.unit)


def level_row(level: LevelReport) -> tuple[Cell, ...]:
    """Target, limit, measured, status."""
    return (
        number(level.level, level.unit),
        number(level.limit, level.unit),
        measured(level),
        Badge(level.status),
    )


LEVEL_HEAD: Final = ("target", "limit", "measured", "status")


def levels_of(report: Report) -> list[tuple[ScenarioReport, LevelReport]]:
    """Every level of every scenario."""
    return [(scenario, level) for scenario in report.scenarios for level in scenario.service_levels]


SCENARIO_HEAD: Final = (
    "scenario",
    "verdict",
    "users",
    "operations",
    "not ok",
    "runs",
    "events",
    "violations",
    "first token p95",
    "run p95",
    "levels",
)


def scenario_row(scenario: ScenarioReport) -> tuple[Cell, ...]:
    """A scenario in one line."""
    first, run = scenario.durations.get("first_token"), scenario.durations.get("run")
    met = sum(level.status is Status.MET for level in scenario.service_levels)
    return (
        scenario.name,
        Badge(scenario.verdict),
        number(scenario.users),
        number(scenario.operations),
        number(scenario.pace.failed_share, "ratio"),
        number(scenario.pace.runs_per_second, "/s"),
        number(scenario.pace.events_per_second, "/s"),
        number(scenario.violation_count if scenario.operations else None),
        number(first.p95 if first else None, "s"),
        number(run.p95 if run else None, "s"),
        f"{met} of {len(scenario.service_levels)} met",
    )


OUTCOME_HEAD: Final = ("operation", "ok", "not ok", "why")


def outcome_rows(scenario: ScenarioReport) -> list[tuple[Cell, ...]]:
    """A line for each kind of operation that ended."""
    return [
        (
            kind,
            number(counts.get("ok", 0)),
            number(sum(counts.values()) - counts.get("ok", 0)),
            ", ".join(f"{code} {count:,}" for code, count in sorted(counts.items()) if code != "ok"),
        )
        for kind, counts in scenario.outcomes.items()
    ]


FAILURE_HEAD: Final = ("operation", "code", "times", "of these operations", "example")


def failure_rows(scenario: ScenarioReport) -> list[tuple[Cell, ...]]:
    """A line for each way in which operations were not ok, the most frequent first."""
    failed = [
        (count, kind, code, count / sum(counts.values()))
        for kind, counts in scenario.outcomes.items()
        for code, count in counts.items()
        if code != "ok"
    ]
    return [
        (kind, code, number(count), number(share, "ratio"), scenario.examples.get(kind, {}).get(code, NOTHING))
        for count, kind, code, share in sorted(failed, key=lambda each: -each[0])
    ]


def about(report: Report) -> list[str]:
    """What was run, against what and when: what every page of a report begins with."""
    if not report.scenarios:
        return []
    first = report.scenarios[0]
    lasted = sum(scenario.seconds for scenario in report.scenarios)
    began = f"{first.started_at[:16].replace('T', ' ')} UTC" if first.started_at else ""
    return [part for part in (first.label, first.target, began, f"load for {seconds(lasted)}") if part]
