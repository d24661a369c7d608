"""Whether the lab itself kept up: what it measured of a target while it could not is no measurement.

Two bounds, for two ways to be wrong. Latency counts from the intended start, so the lab's own lateness is in it and
only makes it longer: what keeps its limit in spite of it, keeps it; what breaks it by less than the lab was late is
unknown (`goldenpath.lab.summary`). And lateness spreads the load that the target sees: by a little nobody notices; by
more the load was another than the scenario's, and the run is invalid, whatever it measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from goldenpath.lab.facts import Facts
from goldenpath.lab.level import Level
from goldenpath.lab.words import seconds

_LATE: Final = 0.05
"""Seconds: as late a process may be that shares its cores, without anything being wrong."""
_SHARE_OF_LEVEL: Final = 0.1
"""And this much of the tightest level of times that applies: nothing is decided by it."""
_SHARE_OF_RUN: Final = 0.2
"""And this much of the time that runs take: so much more than all of them are under way at once when nobody is late."""
_MANY: Final = 100
"""Of so many iterations one of 100 is not the single latest: fewer are no crowd that lateness could thin out."""
_STARTED: Final = 0.99
"""This much of what should have begun has to have begun."""

_ADVICE: Final = "try a quieter machine, more --workers or fewer --users"


class Generator(msgspec.Struct, frozen=True, kw_only=True):
    """What the lab offered, and what it cost itself."""

    offered: int
    """Runs that should have begun."""
    started: int
    completed: int
    failed: int
    iterations: int
    """How many there are of which it is known how late they began."""
    lag_p50: float | None
    """How late iterations began, in seconds; None: all began when they should."""
    lag_p99: float | None
    lag_max: float | None
    loop_lag_mean: float | None
    """How late the workers' event loops were, in seconds; None: nobody looked."""
    loop_lag_max: float | None
    cpu_mean: float | None
    """Of the busiest worker, in percent of one core."""
    cpu_max: float | None
    bottleneck: str
    """Why the lab, and not the target, was what made the load slow; empty where it was not."""


def generator_of(facts: Facts, levels: Sequence[Level]) -> Generator:
    """What a run says of the lab itself. `levels`: of times, in seconds, that apply to it."""
    timeline = facts.timeline
    lag = facts.durations("lag")
    workers = [samples for source, samples in timeline.samples.items() if source.startswith("worker")]
    asked = facts.measured.outcomes.get("ask", {})
    bins = timeline.bins.values()
    completed = asked.get("ok", 0)
    made = Generator(
        offered=sum(each.offered for each in bins),
        started=sum(each.started for each in bins),
        completed=completed,
        failed=sum(asked.values()) - completed,
        iterations=lag.count,
        lag_p50=lag.percentile(50),
        lag_p99=lag.percentile(99),
        lag_max=lag.highest,
        loop_lag_mean=_highest(samples.mean("loop_lag") for samples in workers),
        loop_lag_max=_highest(samples.highest.get("loop_lag") for samples in workers),
        cpu_mean=_highest(samples.mean("cpu_percent") for samples in workers),
        cpu_max=_highest(samples.highest.get("cpu_percent") for samples in workers),
        bottleneck="",
    )
    return msgspec.structs.replace(made, bottleneck=_bottleneck(made, facts, levels))


def _bottleneck(made: Generator, facts: Facts, levels: Sequence[Level]) -> str:
    few = made.iterations < _MANY
    bounds = (level.limit if few and level.limit is not None else level.target for level in levels)
    run = facts.durations("run").percentile(99)
    bound = max(_LATE, _SHARE_OF_LEVEL * min(bounds, default=0.0), _SHARE_OF_RUN * (run or 0.0))
    harmless = f"{seconds(bound)} would do no harm; {_ADVICE}"
    late = _second_latest(facts, made.iterations) if few else made.lag_p99
    if late is not None and late > bound:
        which = f"2 of {made.iterations}" if few else "1 of 100"
        return f"{which} iterations began {seconds(late)} late or later; {harmless}"
    if made.loop_lag_mean is not None and made.loop_lag_mean > bound:
        return f"a worker's event loop was {seconds(made.loop_lag_mean)} late on average; {harmless}"
    if made.started < _STARTED * made.offered:
        return f"only {made.started} of {made.offered} runs that should have begun did"
    return ""


def _second_latest(facts: Facts, iterations: int) -> float | None:
    """The latest of few iterations may be any single stall; None where there is no other."""
    return facts.durations("lag").percentile(100 * (iterations - 1.5) / iterations) if iterations > 1 else None


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
