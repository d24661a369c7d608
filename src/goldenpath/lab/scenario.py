"""A scenario: which users do what, when, against which faults. The catalogue is in `goldenpath.lab.scenarios`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from goldenpath.lab.arrivals import ArrivalRate, Arrivals, Batches, Looping, Stage
from goldenpath.lab.faults import Fault
from goldenpath.lab.records import Kind
from goldenpath.lab.target import Ability
from goldenpath.lab.workload import WorkloadSpec

MOST_USERS: Final = 100_000
"""Of a run: each takes a connection and some memory."""
HIGHEST_RATE: Final = 100_000.0
"""In iterations a second: more than any machine begins."""
LONGEST: Final = 30 * 24 * 3600.0
"""Seconds that a load may last."""


_NEEDS: Final[Mapping[Kind, tuple[Ability, str]]] = {
    "attach": ("resume", "let users come back and read on"),
    "cancel": ("cancel", "cancel runs"),
    "intrude": ("intrude", "tell whose a thread is"),
    "trespass": ("trespass", "tell who is let in"),
}


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
    about: tuple[Kind, ...] = ()
    """The operations that it is about: where none of a kind began, nothing is known."""
    changes: str = ""
    """How it differs from the one of this name in the catalogue, for people; empty: it does not."""


def beyond(scenario: Scenario, abilities: Collection[Ability]) -> str:
    """Why a target with these abilities cannot be tested by a scenario; empty: it can."""
    missing = [what for ability, what in map(_NEEDS.__getitem__, scenario.about) if ability not in abilities]
    return f"the target cannot {' nor '.join(missing)}: nothing would be tried" if missing else ""


def adapted(
    scenario: Scenario,
    *,
    users: int | None = None,
    rate: float | None = None,
    duration: float | None = None,
    faults: Sequence[Fault] = (),
) -> Scenario:
    """The scenario in another size. `rate`: the highest, a second, the others in proportion. `duration`: of the load,
    in seconds. `faults`: besides its own. Raises ValueError where the scenario has no such
    thing, or the size is out of bounds."""
    _within("users", users, 1, MOST_USERS)
    _within("rate", rate, 0.001, HIGHEST_RATE)
    _within("duration", duration, 0.1, LONGEST)
    arrivals = scenario.arrivals
    if rate is not None or duration is not None:
        arrivals = _scaled(scenario.name, arrivals, rate, duration)
    changed = msgspec.structs.replace(
        scenario,
        users=scenario.users if users is None else users,
        arrivals=arrivals,
        faults=(*scenario.faults, *faults),
    )
    return msgspec.structs.replace(changed, changes=", ".join(_changes(scenario, changed)))


def _within(name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise ValueError(f"{name}: {value:,g} is not between {least:,g} and {most:,.0f}")


def load_of(arrivals: Arrivals) -> str:
    """When users begin, in a few words for people."""
    match arrivals:
        case ArrivalRate():
            rates = sorted({arrivals.start, *(stage.rate for stage in arrivals.stages)})
            lowest, highest = f"{rates[0]:,.4g}", f"{rates[-1]:,.4g}"
            span = highest if lowest == highest else f"{lowest} to {highest}"
            return f"{span} /s for {arrivals.duration:,.4g} s"
        case Batches():
            at_once = f", {arrivals.size:,} at once" if arrivals.size < arrivals.total else " at once"
            return f"{arrivals.total:,}{at_once}"
        case Looping():
            each = "on and on" if arrivals.iterations is None else f"{arrivals.iterations:,} times each"
            each = "once each" if arrivals.iterations == 1 else each
            return each if arrivals.seconds is None else f"{each} for {arrivals.seconds:,.4g} s"


def fitting(arrivals: Arrivals) -> tuple[str, ...]:
    """What of `adapted` such a load has, besides users."""
    match arrivals:
        case ArrivalRate():
            return ("rate", "duration")
        case Batches():
            return ()
        case Looping():
            return ("duration",)


def _changes(scenario: Scenario, changed: Scenario) -> Iterator[str]:
    before, after = scenario.arrivals, changed.arrivals
    if changed.users != scenario.users:
        yield f"{changed.users:,} {'users' if changed.users > 1 else 'user'} instead of {scenario.users:,}"
    if isinstance(before, ArrivalRate) and isinstance(after, ArrivalRate) and after.highest != before.highest:
        yield f"{after.highest:,.4g} iterations a second at most instead of {before.highest:,.4g}"
    if isinstance(before, Looping) and isinstance(after, Looping) and after != before:
        yield f"for {after.seconds:,.4g} s instead of {before.iterations} times each"
    elif after.duration != before.duration:
        yield f"for {after.duration:,.4g} s instead of {before.duration:,.4g} s"
    new = changed.faults[len(scenario.faults) :]
    if new:
        yield f"with {' and '.join(fault.spec for fault in new)}"


def _scaled(name: str, arrivals: Arrivals, rate: float | None, duration: float | None) -> Arrivals:
    match arrivals:
        case ArrivalRate():
            faster = 1.0 if rate is None else rate / arrivals.highest
            longer = 1.0 if duration is None else duration / arrivals.duration
            stages = tuple(Stage(stage.duration * longer, stage.rate * faster) for stage in arrivals.stages)
            return ArrivalRate(stages, arrivals.start * faster, arrivals.spread)
        case Looping() if rate is None:
            return Looping(None, duration, arrivals.pause, min(arrivals.over, duration or 0.0))
        case Looping():
            raise ValueError(f"{name} has no rate: its users begin again when they are done")
        case Batches():
            raise ValueError(f"{name} begins in batches: it has neither a rate nor a duration")
