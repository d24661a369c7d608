"""`performance_report.json`: what came of a run, as data. Its JSON Schema is in docs/schemas/."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from goldenpath.histogram import Histogram
from goldenpath.lab.generator import Generator
from goldenpath.lab.level import Comparison, Status
from goldenpath.lab.quantities import find
from goldenpath.lab.report.pace import Pace
from goldenpath.lab.scenarios import SCENARIOS
from goldenpath.lab.summary import ScenarioResult, ServiceLevel
from goldenpath.lab.timeline import Fault, Note
from goldenpath.lab.verdict import Verdict, worst
from goldenpath.lab.words import amount, moment, plural

_RESOURCES: Final = (
    "memory_start_mb", "memory_peak_mb", "memory_end_mb", "cpu_percent", "cpu_peak_percent", "round_trip_seconds",
)  # fmt: skip


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must not happen, and what shows it."""

    checker: str
    kind: str
    at: float
    """Seconds from the beginning of the load."""
    user: int
    witness: str
    """The smallest evidence, in one sentence."""
    thread: str
    run: str


class LevelReport(msgspec.Struct, frozen=True, kw_only=True):
    """A service level, and what became of it."""

    name: str
    level: float
    """The target: what it should be."""
    limit: float | None
    """What it must be; null: missing the target fails nothing."""
    measured: float | None
    """null: there is nothing to judge it by; or, where it is broken, what had to happen never did."""
    status: Status
    quantity: str
    comparison: Comparison
    unit: str
    samples: int
    text: str
    source: tuple[str, ...]
    against: str
    """The scenario that it is compared with; empty: none."""


class NotApplied(msgspec.Struct, frozen=True):
    """A service level that says nothing of this run, or a scenario that says nothing of this target."""

    name: str
    why: str


class Durations(msgspec.Struct, frozen=True, kw_only=True):
    """How long something took, in seconds from its intended start."""

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    total: float


class CheckerReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a checker said."""

    checker: str
    verdict: Verdict
    exercised: bool
    """Whether it counts: one that had nothing to do in this scenario does not."""
    checked: int
    counts: dict[str, int]
    """Violations by kind."""
    broken: str


class ScenarioReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one scenario."""

    name: str
    title: str
    """Of the scenario of this name in the catalogue."""
    changes: str
    """How the run differed from that; empty: it did not."""
    checks: str
    verdict: Verdict
    reasons: tuple[str, ...]
    """Why it is no pass."""
    doubts: tuple[str, ...]
    """Of these, those for which what was not seen is unknown."""
    label: str
    """What whoever ran it calls the run; empty: nothing."""
    users: int
    operations: int
    events: int
    violations: tuple[Violation, ...]
    """The first of each kind; how many there were is in `checkers`."""
    service_levels: tuple[LevelReport, ...]
    not_applied: tuple[NotApplied, ...]
    seconds: float
    """From the beginning of the load to the last that a user did."""
    durations: dict[str, Durations]
    outcomes: dict[str, dict[str, int]]
    """By kind of operation: how many were ok, and how many failed, by code."""
    examples: dict[str, dict[str, str]]
    """By kind of operation and code: what was said of the first that failed so, where anything was."""
    pace: Pace
    load: Generator
    resources: dict[str, float | None]
    checkers: tuple[CheckerReport, ...]
    faults: tuple[Fault, ...]
    notes: tuple[Note, ...]
    target: str
    machine: str
    version: str
    started_at: str
    seed: int
    workers: int
    command: str
    """Runs it again."""
    check_command: str
    """Judges the stored run again."""

    @property
    def changed(self) -> str:
        """`changes` in a sentence; empty where there are none."""
        return f"Changed: {self.changes}." if self.changes else ""

    @property
    def violation_count(self) -> int:
        """How many there were in all."""
        return sum(sum(checker.counts.values()) for checker in self.checkers)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run of the lab."""

    verdict: Verdict
    exit_code: int
    scenarios: tuple[ScenarioReport, ...]
    not_run: tuple[str, ...] = ()
    """Scenarios that were to be run too, and were not: the run was ended before."""
    not_applicable: tuple[NotApplied, ...] = ()
    """Scenarios of the catalogue that were left out, because the target cannot do what they are about."""


def make_report(results: Sequence[ScenarioResult], not_applicable: Iterable[NotApplied] = ()) -> Report:
    """The results as data. None at all is unknown, and so are scenarios that were not run."""
    left = _not_run(results)
    verdict = worst([*(result.verdict for result in results), *([Verdict.UNKNOWN] if left else [])])
    return Report(
        verdict=verdict,
        exit_code=verdict.exit_code,
        scenarios=tuple(_scenario(result) for result in results),
        not_run=left,
        not_applicable=tuple(not_applicable),
    )


def _not_run(results: Sequence[ScenarioResult]) -> tuple[str, ...]:
    """Which scenarios of the same command left nothing beside the first of these."""
    for first in results[:1]:
        beside = first.directory.parent
        return tuple(name for name in first.manifest.together if not (beside / name).is_dir() and name != first.name)
    return ()


def _scenario(result: ScenarioResult) -> ScenarioReport:
    manifest = result.manifest
    known = SCENARIOS.get(result.name)
    facts = result.facts
    return ScenarioReport(
        name=result.name,
        title=known.title if known is not None else result.name,
        changes=manifest.changes,
        checks=known.checks if known is not None else "",
        verdict=result.verdict,
        reasons=tuple(_reasons(result)),
        doubts=result.doubts,
        label=manifest.label,
        users=manifest.users,
        operations=result.operations,
        events=result.measured.events,
        violations=tuple(_violations(result)),
        service_levels=tuple(_level(level) for level in result.levels),
        not_applied=tuple(NotApplied(left.name, left.why) for left in result.left_out),
        seconds=result.timeline.seconds,
        durations={
            name: _durations(Histogram.load(dump)) for name, dump in result.measured.durations.items() if dump.count
        },
        outcomes=result.measured.outcomes,
        examples=result.measured.reasons,
        pace=Pace.of(result),
        load=result.generator,
        resources={name: find(name).of(facts).value for name in _RESOURCES},
        checkers=tuple(
            CheckerReport(
                checker=finding.checker,
                verdict=finding.verdict,
                exercised=finding.exercised,
                checked=finding.checked,
                counts=finding.counts,
                broken=finding.broken,
            )
            for finding in result.findings
        ),
        faults=tuple(result.timeline.faults),
        notes=tuple(result.timeline.notes),
        target=manifest.target,
        machine=manifest.machine,
        version=manifest.version,
        started_at=moment(manifest.started_at),
        seed=manifest.seed,
        workers=manifest.workers,
        command=manifest.command,
        check_command=result.check_command,
    )


def _reasons(result: ScenarioResult) -> list[str]:
    if not result.operations:
        return list(result.doubts)
    reasons = []
    for finding in result.findings:
        reasons += [
            f"{finding.checker}: {plural(count, 'violation')} ({kind})" for kind, count in finding.counts.items()
        ]
        if finding.exercised and finding.verdict is Verdict.UNKNOWN and not finding.broken:
            reasons.append(f"{finding.checker}: there was nothing to look at")
    reasons += result.doubts
    for each in result.levels:
        if each.status is Status.BROKEN and not each.level.quantity.startswith("violations"):
            measured, limit = amount(each.measured, each.unit), amount(each.level.limit, each.unit)
            reasons.append(
                f"service level {each.level.name}: {each.level.quantity} is {measured}, the limit is {limit}"
            )
    unknown = [each.level.name for each in result.levels if each.status is Status.UNKNOWN]
    if unknown:
        reasons.append(f"{plural(len(unknown), 'service level')} cannot be told: {', '.join(unknown)}")
    return reasons


def _violations(result: ScenarioResult) -> list[Violation]:
    found = [violation for finding in result.findings for violation in finding.violations]
    zero = result.timeline.zero
    return [
        Violation(
            checker=violation.checker,
            kind=violation.kind,
            at=violation.at - zero,
            user=violation.user,
            witness=violation.witness,
            thread=violation.thread,
            run=violation.run,
        )
        for violation in sorted(found, key=lambda violation: violation.at)
    ]


def _level(judged: ServiceLevel) -> LevelReport:
    level = judged.level
    return LevelReport(
        name=level.name,
        level=level.target,
        limit=level.limit,
        measured=judged.measured,
        status=judged.status,
        quantity=level.quantity,
        comparison=level.comparison,
        unit=judged.unit,
        samples=judged.samples,
        text=level.text,
        source=level.source,
        against=level.against,
    )


def _durations(histogram: Histogram) -> Durations:
    def percentile(percent: float) -> float:
        return histogram.percentile(percent) or 0.0

    mean = histogram.mean or 0.0
    return Durations(
        count=histogram.count,
        mean=mean,
        p50=percentile(50),
        p90=percentile(90),
        p95=percentile(95),
        p99=percentile(99),
        max=histogram.highest or 0.0,
        total=mean * histogram.count,
    )


def schema() -> dict[str, Any]:
    """The JSON Schema of `performance_report.json`."""
    made = msgspec.json.schema(Report)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A report of goldenpath lab", **made}
