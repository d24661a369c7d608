"""What came of one scenario, judged from its stored directory and nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from goldenpath.lab.canary import Canaries
from goldenpath.lab.checker import Checker, Finding
from goldenpath.lab.checkers import standard_checkers, whole_checkers
from goldenpath.lab.facts import Facts
from goldenpath.lab.generator import Generator, generator_of
from goldenpath.lab.history import HistoryError, manifest_digest, read_history
from goldenpath.lab.judge import Judge
from goldenpath.lab.level import Level, Status
from goldenpath.lab.levels import default_levels
from goldenpath.lab.measurements import Measured, Measurements
from goldenpath.lab.plain import plain
from goldenpath.lab.quantities import Quantity, find
from goldenpath.lab.records import Manifest, Noted, Received
from goldenpath.lab.scenarios import SCENARIOS
from goldenpath.lab.stored import stored_run
from goldenpath.lab.timeline import Timeline
from goldenpath.lab.verdict import Verdict, worst
from goldenpath.lab.words import seconds

_FOLD_EVERY: Final = 100_000
_UNFINISHED: Final = {
    "interrupted": "the run was interrupted",
    "aborted": "the run was ended at the first breach of the isolation",
    "target_lost": "the target was lost",
    "crashed": "the lab itself failed",
    "not_injected": "a fault was not injected",
}


class ServiceLevel(msgspec.Struct, frozen=True, kw_only=True):
    """A level, and what became of it."""

    level: Level
    unit: str
    measured: float | None
    """None: there is nothing to judge it by."""
    samples: int
    """How many single values that comes from."""
    status: Status


class LeftOut(msgspec.Struct, frozen=True):
    """A level that says nothing of this run, and why."""

    name: str
    why: str


class ScenarioResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a scenario."""

    directory: Path
    manifest: Manifest
    findings: tuple[Finding, ...]
    """Of the checkers."""
    measured: Measured
    timeline: Timeline
    generator: Generator
    levels: tuple[ServiceLevel, ...]
    left_out: tuple[LeftOut, ...]
    doubts: tuple[str, ...]
    """Why a run in which nothing was wrong is no pass."""

    @property
    def name(self) -> str:
        return self.manifest.scenario

    @property
    def facts(self) -> Facts:
        return Facts(
            manifest=self.manifest,
            findings={finding.checker: finding for finding in self.findings},
            measured=self.measured,
            timeline=self.timeline,
        )

    @property
    def operations(self) -> int:
        """How many began."""
        return sum(self.timeline.attempts.values())

    @property
    def verdict(self) -> Verdict:
        """The worst of everything that is known."""
        said = [finding.verdict for finding in self.findings if finding.exercised]
        said += [level.status.verdict for level in self.levels]
        if self.doubts:
            said.append(Verdict.UNKNOWN)
        return worst(said)

    @property
    def check_command(self) -> str:
        """Judges the stored run again."""
        return shlex.join(["goldenpath", "lab", "check", str(self.directory)])


def judge_directory(directory: Path, unwritten: Iterable[Noted] = ()) -> ScenarioResult:
    """Judge a stored run. Raises `HistoryError` where the directory holds none; what is damaged is judged up to there.
    `unwritten`: what should stand in it, too, but could not be written.

    Takes as long as reading all of its history does.
    """
    manifest, format_ = stored_run(directory)
    measurements, timeline = Measurements(), Timeline(manifest.zero)
    checkers: list[Checker] = [
        *standard_checkers(format_, Canaries(manifest.nonce)),
        *whole_checkers(),
        measurements,
        timeline,
    ]
    judge = Judge(format_, checkers)
    damage = ""
    records = read_history(directory, manifest.workers, manifest.nonce)
    try:
        for number, record in enumerate(records):
            judge.take(record)
            if type(record) is Received:
                timeline.received_bytes += len(record.payload)
            if number % _FOLD_EVERY == 0:
                measurements.tick()
                timeline.fold()
    except HistoryError as error:
        damage = str(error)
    unwritten = tuple(unwritten)
    for note in unwritten:
        judge.take(note)
    doubts = [damage] if damage and not unwritten else []  # what could not be written is missing: that is said already
    if timeline.seal != manifest_digest(directory) and (timeline.seal or not (damage or unwritten)):
        doubts.append("the manifest is not the one that the history names: it was changed, or belongs to another run")
    instruments = (measurements.name, timeline.name)
    findings = judge.findings()
    return conclude(
        directory,
        manifest,
        [finding for finding in findings if finding.checker not in instruments],
        measurements.measured(),
        timeline,
        [*(f"{each.checker}: {each.broken}" for each in findings if each.broken), *doubts],
    )


def conclude(
    directory: Path,
    manifest: Manifest,
    findings: Sequence[Finding],
    measured: Measured,
    timeline: Timeline,
    doubts: Sequence[str] = (),
) -> ScenarioResult:
    """Put together what was found and measured. `doubts`: why it may not be all."""
    facts = Facts(
        manifest=manifest,
        findings={finding.checker: finding for finding in findings},
        measured=measured,
        timeline=timeline,
    )
    levels = manifest.levels if manifest.levels is not None else tuple(default_levels().values())
    applying: list[tuple[Level, Quantity]] = []
    left_out: list[LeftOut] = []
    for level in levels:
        if level.against or not level.applies_to(manifest.scenario):
            continue
        quantity = find(level.quantity)
        why = _without(level, quantity, facts)
        if why:
            left_out.append(LeftOut(level.name, why))
        else:
            applying.append((level, quantity))
    generator = generator_of(facts, [level for level, quantity in applying if quantity.late is not None])
    doubts = list(doubts)
    kept = [_judged(level, quantity, facts, generator, doubts) for level, quantity in applying]
    return ScenarioResult(
        directory=directory,
        manifest=manifest,
        findings=tuple(findings),
        measured=measured,
        timeline=timeline,
        generator=generator,
        levels=tuple(kept),
        left_out=tuple(left_out),
        doubts=tuple(_doubts(facts, generator, doubts)),
    )


def _without(level: Level, quantity: Quantity, facts: Facts) -> str:
    if facts.timeline.faults and not level.with_faults:
        return "faults were injected"
    bound = level.target if level.limit is None else level.limit
    reach = quantity.at_most(facts)
    if facts.begun and level.comparison == ">=" and reach < bound:
        return f"a run of this size can reach {reach:g} at most"
    return quantity.without(facts)


def _is_cut(facts: Facts) -> bool:
    """Whether nobody knows how the run ended: its last figures may be those of a lab that was dying, too."""
    return all(note.kind != "ended" and note.kind not in _UNFINISHED for note in facts.timeline.notes)


def _is_zero_tolerance(level: Level) -> bool:
    """Whether one thing that is wrong breaks it, whatever comes afterwards."""
    return level.quantity.partition(".")[0] == "violations" and level.limit == 0


def _judged(level: Level, quantity: Quantity, facts: Facts, generator: Generator, doubts: list[str]) -> ServiceLevel:
    value = quantity.of(facts)
    spoiled = (bool(generator.bottleneck) and quantity.timed) or (_is_cut(facts) and not _is_zero_tolerance(level))
    if not spoiled and value.value is not None and quantity.late is not None:
        late = quantity.late(facts)
        if level.status(value.value) is Status.BROKEN and level.status(value.value - late) is not Status.BROKEN:
            spoiled = True
            doubts.append(
                f"{level.name} breaks its limit, {seconds(level.limit or 0.0)}, by less than the lab itself was late:"
                f" {level.quantity} is {seconds(value.value)}, of which {seconds(late)} may be the lab's"
            )
    return ServiceLevel(
        level=level,
        unit=quantity.unit,
        measured=value.value,
        samples=value.samples,
        status=Status.UNKNOWN if spoiled or not value.samples else level.status(value.value),
    )


def _doubts(facts: Facts, generator: Generator, doubts: Sequence[str]) -> list[str]:
    found = [*doubts]
    unfinished = [note for note in facts.timeline.notes if note.kind in _UNFINISHED]
    found += [_UNFINISHED[note.kind] + (f": {note.text}" if note.text else "") for note in unfinished]
    if generator.bottleneck:
        found.append(f"invalid: the lab was the bottleneck: {generator.bottleneck}")
    scenario = SCENARIOS.get(facts.manifest.scenario)
    for kind in scenario.about if scenario is not None and facts.begun and not unfinished else ():
        if kind not in facts.timeline.attempts:
            found.append(f"what {facts.manifest.scenario} is about never happened: {kind}")
    if not facts.begun:
        found.append("nobody did anything")
    elif not unfinished and all(note.kind != "ended" for note in facts.timeline.notes):
        found.append("the history has no end: the lab was killed, or could not write it")
    return list(dict.fromkeys(plain(doubt) for doubt in found))


def compare(results: Sequence[ScenarioResult]) -> list[ScenarioResult]:
    """The same results, held to the levels that compare one scenario with another, where both are there."""
    by_name = {result.name: result for result in results}
    compared = []
    for result in results:
        levels = result.manifest.levels if result.manifest.levels is not None else tuple(default_levels().values())
        more = [
            _grown(level, result, by_name[level.against])
            for level in levels
            if level.against in by_name
            and level.applies_to(result.name)
            and not (result.timeline.faults and not level.with_faults)
            and all(each.level.name != level.name for each in result.levels)
        ]
        compared.append(msgspec.structs.replace(result, levels=(*result.levels, *more)))
    return compared


def _grown(level: Level, result: ScenarioResult, base: ScenarioResult) -> ServiceLevel:
    quantity = find(level.quantity)
    value, other = quantity.of(result.facts), quantity.of(base.facts)
    grown = None
    if value.value is not None and other.value is not None and max(other.value, level.floor) > 0:
        grown = max(value.value, level.floor) / max(other.value, level.floor) - 1
    spoiled = quantity.timed and bool(result.generator.bottleneck or base.generator.bottleneck)
    return ServiceLevel(
        level=level,
        unit="ratio",
        measured=grown,
        samples=min(value.samples, other.samples),
        status=Status.UNKNOWN if spoiled else level.status(grown),
    )
