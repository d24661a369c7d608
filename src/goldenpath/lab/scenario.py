"""A scenario: which users do what, when, against which faults. The catalogue is in `goldenpath.lab.scenarios`."""

from __future__ import annotations

import msgspec

from goldenpath.lab.arrivals import ArrivalRate, Arrivals, Batches, Looping, Stage
from goldenpath.lab.faults import Fault
from goldenpath.lab.workload import WorkloadSpec


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What is run, and what it is for."""

    name: str
    title: str
    checks: str
    """What a pass says, in a sentence."""
    workload: WorkloadSpec
    arrivals: Arrivals
    users: int
    patience: float = 60.0
    """How many seconds an operation may take before it is given up."""
    faults: tuple[Fault, ...] = ()
    resumes: bool = False
    """Whether users who lose their connection come back and read on; with faults they always do."""
    settle: float = 0.0
    """How many seconds the target is watched after the load, to see it recover."""


def adapted(
    scenario: Scenario, *, users: int | None = None, rate: float | None = None, duration: float | None = None
) -> Scenario:
    """The scenario in another size. `rate`: the highest, a second, the others in proportion. `duration`: of the load,
    in seconds. Raises ValueError where the scenario has no such thing."""
    arrivals = scenario.arrivals
    if users is not None:
        scenario = msgspec.structs.replace(scenario, users=users)
    if rate is not None or duration is not None:
        scenario = msgspec.structs.replace(scenario, arrivals=_scaled(scenario.name, arrivals, rate, duration))
    return scenario


def _scaled(name: str, arrivals: Arrivals, rate: float | None, duration: float | None) -> Arrivals:
    match arrivals:
        case ArrivalRate():
            highest = max(arrivals.start, *(stage.rate for stage in arrivals.stages))
            faster = 1.0 if rate is None else rate / highest
            longer = 1.0 if duration is None else duration / arrivals.duration
            stages = tuple(Stage(stage.duration * longer, stage.rate * faster) for stage in arrivals.stages)
            return ArrivalRate(stages, arrivals.start * faster, arrivals.spread)
        case Looping() if rate is None:
            return Looping(None, duration, arrivals.pause, min(arrivals.over, duration or 0.0))
        case Looping():
            raise ValueError(f"{name} has no rate: its users begin again when they are done")
        case Batches():
            raise ValueError(f"{name} begins in batches: it has neither a rate nor a duration")
