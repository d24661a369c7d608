"""The score: how many of the faults that were switched on the lab saw, and how often it saw one where there is none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from goldenpath.lab.level import Status
from goldenpath.lab.selftest.cases import CASES
from goldenpath.lab.selftest.faults import FAULTS, RIGHT, Fault
from goldenpath.lab.selftest.trial import try_out
from goldenpath.lab.summary import ScenarioResult

PATIENCE: Final = 3.0
"""Seconds until a user of a faulty server gives up: what never comes has to be waited for."""
PATIENCE_WITH_RIGHT: Final = 30.0
"""A busy machine is no reason to find fault with a server in which there is none."""
TRIES: Final = 3
"""How often a run is tried in which the lab could not keep up with its own plan, so that it says nothing."""
LEVELS: Final = "levels"
"""As the checker of a fault: a service level has to be broken."""
_SOMEBODY: Final = re.compile(r"\buser \d")


class Sighting(msgspec.Struct, frozen=True):
    """Something that the lab found wrong."""

    checker: str
    kind: str
    count: int
    witness: str


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one run."""

    fault: str
    scenario: str
    seed: int
    expected: str
    """`checker/kind`; empty where nothing is wrong."""
    caught: bool
    """Whether what was expected was found, or nothing where nothing was."""
    invalid: bool = False
    """Whether it was not because the lab itself could not keep up."""
    why: str = ""
    """Why it was not."""
    witness: str = ""
    seen: tuple[Sighting, ...] = ()
    """All that was found."""


class FaultScore(msgspec.Struct, frozen=True, kw_only=True):
    """One fault over all seeds."""

    name: str
    sentence: str
    scenario: str
    checker: str
    kind: str
    runs: int
    caught: int
    witness: str
    """The first one."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """What `selftest.json` says."""

    faults: int
    caught: int
    """Faults that were caught with every seed, each by the checker that has to."""
    false_alarms: int
    """Runs of a right server in which something was found."""
    invalid: int
    """Runs that say nothing, as the lab itself could not keep up."""
    runs: int
    missed: tuple[str, ...]
    table: tuple[FaultScore, ...]
    failures: tuple[Trial, ...]
    """Every single run that did not come out as it should."""

    @property
    def exit_code(self) -> int:
        """0: everything caught and no false alarm. 1: not. 2: nothing was tried, or nothing that is right, or some of
        it says nothing."""
        if not self.faults or self.runs == sum(each.runs for each in self.table):
            return 2
        if self.caught == self.faults and not self.false_alarms:
            return 2 if self.invalid else 0
        return 1


Tell = Callable[[Trial], None]


async def run_selftest(
    faults: Iterable[str] | None = None,
    seeds: Sequence[int] = (1,),
    *,
    at_once: int = 3,
    keep: Path | None = None,
    tell: Tell = lambda _: None,
) -> Score:
    """Try every fault with every seed, and everything that is right in every scenario. `faults` None: all there are.
    `keep`: where the histories go; None: nowhere. `tell` is called after each run. Raises KeyError for a fault that
    there is not. Cancelling it leaves no process behind."""
    chosen = [FAULTS[name] for name in (FAULTS if faults is None else faults)]
    plan = [(fault.name, fault.scenario, seed) for fault in chosen for seed in seeds]
    plan += [
        (each.name, scenario, seed) for each in RIGHT.values() for scenario in each.scenarios or CASES for seed in seeds
    ]
    trials: list[Trial] = []
    with TemporaryDirectory(prefix="goldenpath-selftest-") as directory:
        queue = iter(plan)

        async def work() -> None:
            for name, scenario, seed in queue:
                place = (keep or Path(directory)) / f"{name}-{scenario}-{seed}"
                patience = PATIENCE if name in FAULTS else PATIENCE_WITH_RIGHT
                for _ in range(TRIES):
                    result = await try_out(name, CASES[scenario], seed, patience, place)
                    trial = assess(FAULTS.get(name), name, seed, result)
                    if not trial.invalid:
                        break
                trials.append(trial)
                tell(trial)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())
    return score(chosen, trials)


def assess(fault: Fault | None, name: str, seed: int, result: ScenarioResult) -> Trial:
    """Whether a run came out as it should. `fault` None: nothing was wrong."""
    seen = sightings(result)
    expected, why, witness = "", "", ""
    if fault is None:
        why = "; ".join(f"{each.checker}/{each.kind}: {each.witness}" for each in seen)
        why = why or "; ".join(doubt for doubt in result.doubts)
    else:
        expected = f"{fault.checker}/{fault.kind}"
        found = next((each for each in seen if f"{each.checker}/{each.kind}" == expected), None)
        if found is None:
            others = ", ".join(f"{each.checker}/{each.kind}" for each in seen)
            why = f"not seen by {expected}" + (f", only by {others}" if others else " or anybody else")
        elif fault.checker != LEVELS and not _SOMEBODY.search(found.witness):
            why = f"the witness names nobody: {found.witness}"
        else:
            witness = found.witness
    return Trial(
        fault=name,
        scenario=result.name,
        seed=seed,
        expected=expected,
        caught=not why,
        invalid=bool(why and result.generator.bottleneck),
        why=why,
        witness=witness,
        seen=tuple(seen),
    )


def sightings(result: ScenarioResult) -> list[Sighting]:
    """Everything that was found wrong in a run, and every checker that could not do its work."""
    seen: list[Sighting] = []
    for finding in result.findings:
        for kind, count in finding.counts.items():
            first = next((each.witness for each in finding.violations if each.kind == kind), "")
            seen.append(Sighting(finding.checker, kind, count, first))
        if finding.broken:
            seen.append(Sighting(finding.checker, "broken", 1, finding.broken))
    for each in result.levels:
        if each.status in (Status.BROKEN, Status.UNKNOWN):
            level = each.level
            witness = f"{level.quantity} is {each.measured}, not {level.comparison} {level.limit}"
            seen.append(Sighting(LEVELS, level.name, 1, witness))
    return seen


def score(faults: Sequence[Fault], trials: Sequence[Trial]) -> Score:
    """Put single runs together."""
    table: list[FaultScore] = []
    for fault in faults:
        own = [trial for trial in trials if trial.fault == fault.name]
        table.append(
            FaultScore(
                name=fault.name,
                sentence=fault.sentence,
                scenario=fault.scenario,
                checker=fault.checker,
                kind=fault.kind,
                runs=len(own),
                caught=sum(trial.caught for trial in own),
                witness=next((trial.witness for trial in own if trial.witness), ""),
            )
        )
    return Score(
        faults=len(table),
        caught=sum(0 < each.runs == each.caught for each in table),
        false_alarms=sum(not (trial.caught or trial.invalid) for trial in trials if not trial.expected),
        invalid=sum(trial.invalid for trial in trials),
        runs=len(trials),
        missed=tuple(each.name for each in table if not 0 < each.runs == each.caught),
        table=tuple(table),
        failures=tuple(trial for trial in trials if not trial.caught),
    )
