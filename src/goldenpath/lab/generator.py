"""Whether the lab itself kept up: what it measured of a target while it could not is no measurement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from goldenpath.lab.facts import Facts

_LATE: Final = 0.25
"""Seconds; and a lateness below this spoils no level of seconds."""
_SHARE: Final = 0.25
"""The lab's own lateness may be this much of the latency that it measured."""
_STARTED: Final = 0.99
"""This much of what should have begun has to have begun."""


class Generator(msgspec.Struct, frozen=True, kw_only=True):
    """What the lab offered, and what it cost itself."""

    offered: int
    """Runs that should have begun."""
    started: int
    completed: int
    failed: int
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


def generator_of(facts: Facts) -> Generator:
    """What a run says of the lab itself."""
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
        lag_p50=lag.percentile(50),
        lag_p99=lag.percentile(99),
        lag_max=lag.highest,
        loop_lag_mean=_highest(samples.mean("loop_lag") for samples in workers),
        loop_lag_max=_highest(samples.highest.get("loop_lag") for samples in workers),
        cpu_mean=_highest(samples.mean("cpu_percent") for samples in workers),
        cpu_max=_highest(samples.highest.get("cpu_percent") for samples in workers),
        bottleneck="",
    )
    return msgspec.structs.replace(made, bottleneck=_bottleneck(made, facts.durations("run").percentile(99)))


def _bottleneck(made: Generator, slowest: float | None) -> str:
    bound = max(_LATE, _SHARE * (slowest or 0.0))
    if made.lag_p99 is not None and made.lag_p99 > bound:
        return f"1 of 100 iterations began {made.lag_p99:.3g} s late or later"
    if made.loop_lag_mean is not None and made.loop_lag_mean > bound:
        return f"a worker's event loop was {made.loop_lag_mean:.3g} s late on average"
    if made.started < _STARTED * made.offered:
        return f"only {made.started} of {made.offered} runs that should have begun did"
    return ""


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
