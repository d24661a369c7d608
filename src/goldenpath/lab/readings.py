"""What is read off the facts of a run: counts, rates, peaks, memory, how the worst-served user fares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from goldenpath.histogram import Histogram
from goldenpath.lab.course import drift as drift_of
from goldenpath.lab.facts import NOTHING, Facts, Value


def all_violations(facts: Facts) -> Value:
    """How many there were, of how many things that were looked at."""
    checked = sum(finding.checked for finding in facts.findings.values())
    return (
        Value(sum(sum(finding.counts.values()) for finding in facts.findings.values()), checked) if checked else NOTHING
    )


def count(of: Callable[[Facts], float]) -> Callable[[Facts], Value]:
    """A number; nothing where nothing began."""
    return lambda facts: Value(of(facts), 1) if facts.begun else NOTHING


def runs(facts: Facts) -> float:
    """How many ended well."""
    return facts.measured.outcomes.get("ask", {}).get("ok", 0)


def a_second(count: Callable[[Facts], float]) -> Callable[[Facts], Value]:
    """A number by the seconds of the load; nothing where nothing began, or took no time."""

    def of(facts: Facts) -> Value:
        seconds = facts.timeline.seconds
        return Value(count(facts) / seconds, 1) if facts.begun and seconds > 0 else NOTHING

    return of


def peak(field: str) -> Callable[[Facts], Value]:
    """The most in a second (in a bin, where those have become longer)."""

    def of(facts: Facts) -> Value:
        timeline = facts.timeline
        sums: dict[int, int] = {}
        for number, each in timeline.bins.items():
            second = int(number * timeline.width // max(1.0, timeline.width))
            sums[second] = sums.get(second, 0) + getattr(each, field)
        return Value(max(sums.values()) / max(1.0, timeline.width), len(sums)) if sums else NOTHING

    return of


NOTICED: Final = 0.1
"""Seconds. Of two waits that are shorter nobody says which was the longer one."""
_GREEDY: Final = 2
_LONG: Final = 1.0
"""Seconds that a run may take whatever the others' take: so much a busy machine may cost one user of a few."""


def worst_served(facts: Facts) -> Value:
    """Users who ask for more than twice as much as others wait for themselves, and are not counted."""
    asked = sorted(facts.timeline.asked.values())
    usual = asked[len(asked) // 2] if asked else 0
    medians = sorted(
        max(NOTICED, Histogram.load(dump).percentile(50) or 0.0)
        for user, dump in facts.measured.users.items()
        if facts.timeline.asked.get(user, 0) <= _GREEDY * usual
    )
    if len(medians) < 2:
        return NOTHING
    return Value(medians[-1] / medians[(len(medians) - 1) // 2], len(medians))  # of two, the other one


def left_behind(facts: Facts) -> Value:
    """`worst_served`, and 1 where the worst-served user's median run takes a second at most."""
    value = worst_served(facts)
    longest = max((Histogram.load(dump).percentile(50) or 0.0 for dump in facts.measured.users.values()), default=0.0)
    return value if value.value is None or longest > _LONG else Value(1.0, value.samples)


def memory(read: Callable[[float, float, float], float | None]) -> Callable[[Facts], Value]:
    """Something of the memory at the beginning, at its highest and at the end."""

    def of(facts: Facts) -> Value:
        readings = [(at, figures["memory_mb"]) for at, figures in facts.target.kept if "memory_mb" in figures]
        if len(readings) < 2:
            return NOTHING
        begin = [memory for at, memory in readings if at <= 0][-1:] or [readings[0][1]]
        value = read(begin[0], max(facts.target.highest["memory_mb"], begin[0]), readings[-1][1])
        return Value(value, facts.target.count)

    return of


WARM_UP: Final = 300.0
"""Seconds. So long a service under load fills its caches: how its memory grows meanwhile tells nothing of leaks."""


def memory_drift(facts: Facts) -> Value:
    """By how many percent the memory is higher in the end than after the warm-up."""
    readings = [(at, figures["memory_mb"]) for at, figures in facts.target.kept if "memory_mb" in figures]
    warm = [memory for at, memory in readings if 0 <= at <= WARM_UP][-1:]
    if not warm or readings[-1][0] <= WARM_UP:
        return NOTHING
    return Value(100 * (readings[-1][1] / warm[0] - 1), facts.target.count)


def too_short_to_drift(facts: Facts) -> str:
    """Why a load says nothing of `memory_drift`; empty: it does."""
    seconds = facts.timeline.seconds
    return f"the load lasted {seconds:.0f} s, caches fill for {WARM_UP:.0f} s" if seconds <= WARM_UP else ""


def cpu(*, peak: bool) -> Callable[[Facts], Value]:
    """Of all cores, in percent: at its highest, or on average under load."""

    def of(facts: Facts) -> Value:
        used = facts.target.highest.get("cpu_percent") if peak else facts.target.mean("cpu_percent")
        return Value(used / max(1, facts.manifest.cores), facts.target.count) if used is not None else NOTHING

    return of


def round_trip(facts: Facts) -> Value:
    """Seconds, at the longest, from opening a connection to the target's `/metrics` to its answer."""
    longest = facts.target.highest.get("round_trip")
    return Value(longest, facts.target.count) if longest is not None else NOTHING


def operations(facts: Facts) -> float:
    """How many began."""
    return sum(facts.timeline.attempts.values())


def connections_peak(facts: Facts) -> float:
    """How many were open at once, at most."""
    return facts.timeline.connections_peak


def drift(facts: Facts) -> Value:
    """How much slower the run got, as `course.drift` has it."""
    return Value(drift_of(facts.timeline, NOTICED), facts.timeline.runs)


def memory_per_user(facts: Facts) -> Value:
    """What was taken at the highest, in MB by user."""
    return memory(lambda start, peak, _: (peak - start) / max(1, facts.manifest.users))(facts)
