"""When users begin: the arrivals of a load, as times from its start. Sans-I/O.

An open model starts an iteration when the plan says so, whatever became of those before: what a slow target delays is
seen as latency, not as fewer requests. A closed model starts a user's next iteration when the last one ended, and hides
that (Schroeder, Wierman, Harchol-Balter, "Open Versus Closed: A Cautionary Tale", NSDI 2006). The words are those of
k6."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, sqrt
from random import Random

import msgspec


class Stage(msgspec.Struct, frozen=True):
    """The rate goes linearly from where the stage before ended to `rate` a second, in `duration` seconds."""

    duration: float
    rate: float


class ArrivalRate(msgspec.Struct, frozen=True, tag="arrival-rate"):
    """Open: iterations begin at a rate that stages change. `spread` of 1 puts each at a random moment of its interval,
    0 at its beginning."""

    stages: tuple[Stage, ...]
    start: float = 0.0
    """The rate at the beginning, a second."""
    spread: float = 1.0

    @property
    def duration(self) -> float:
        """Seconds in which iterations begin, as far as the plan says when."""
        return sum(stage.duration for stage in self.stages)

    @property
    def lasts(self) -> float | None:
        """Seconds that the load lasts at least; None: until everybody is done, whenever that is."""
        return self.duration

    @property
    def highest(self) -> float:
        """The highest rate, a second."""
        return max(self.start, *(stage.rate for stage in self.stages))

    def times(self, random: Random) -> Iterator[float]:
        """When iterations begin, ascending. Where the rate is r, one in each interval in which r adds up to 1."""
        begin, rate, due = 0.0, self.start, 0.0
        for stage in self.stages:
            expected = (rate + stage.rate) / 2 * stage.duration
            while due < expected:
                offset = min(due + random.random() * self.spread, expected) if self.spread else due
                yield begin + stage.duration * _when(rate, stage.rate, offset / expected)
                due += 1
            due -= expected
            begin, rate = begin + stage.duration, stage.rate


class Batches(msgspec.Struct, frozen=True, tag="batches"):
    """Open: `size` iterations at once every `every` seconds, `total` in all."""

    total: int
    size: int
    every: float = 1.0

    @property
    def duration(self) -> float:
        return (-(-self.total // self.size) - 1) * self.every

    @property
    def lasts(self) -> float | None:
        return None

    def times(self, random: Random) -> Iterator[float]:  # noqa: ARG002
        for number in range(self.total):
            yield number // self.size * self.every


class Looping(msgspec.Struct, frozen=True, tag="looping"):
    """Closed: each user iterates, one iteration after another, `iterations` times or for `seconds` (None: no limit of
    that kind), with a random pause of `pause` seconds on average between. Users begin at random moments within `over`
    seconds."""

    iterations: int | None = 1
    seconds: float | None = None
    pause: float = 0.0
    over: float = 0.0

    @property
    def duration(self) -> float:
        return self.over if self.seconds is None else self.seconds

    @property
    def lasts(self) -> float | None:
        return self.seconds

    def begin(self, random: Random) -> float:
        """When one user begins."""
        return random.uniform(0, self.over)

    def goes_on(self, done: int, elapsed: float) -> bool:
        """Whether a user who has `done` iterations does another, `elapsed` seconds from the start."""
        return done < (inf if self.iterations is None else self.iterations) and elapsed < (
            inf if self.seconds is None else self.seconds
        )


Arrivals = ArrivalRate | Batches | Looping


def constant(rate: float, duration: float) -> ArrivalRate:
    """`rate` iterations a second for `duration` seconds."""
    return ArrivalRate((Stage(duration, rate),), start=rate)


def ramp(low: float, high: float, duration: float) -> ArrivalRate:
    """From `low` to `high` iterations a second in `duration` seconds."""
    return ArrivalRate((Stage(duration, high),), start=low)


def steps(rates: tuple[float, ...], duration: float) -> ArrivalRate:
    """Each of `rates` for `duration` seconds, one after another."""
    stages = [stage for rate in rates for stage in (Stage(0.0, rate), Stage(duration, rate))]
    return ArrivalRate(tuple(stages))


def spike(low: float, high: float, *, before: float, during: float, after: float) -> ArrivalRate:
    """`low` a second, then at once `high`, then `low` again."""
    stages = (Stage(before, low), Stage(0.0, high), Stage(during, high), Stage(0.0, low), Stage(after, low))
    return ArrivalRate(stages, start=low)


def _when(low: float, high: float, share: float) -> float:
    """At which part (0 to 1) of a stage that goes from `low` to `high` (not both 0) a share of its iterations began.

    The root of a quadratic in the form that does not lose its digits where the rates are nearly the same.
    """
    low, high = low / max(low, high), high / max(low, high)  # lest the square of a tiny rate is 0
    mean = share * (low + high) / 2
    root = sqrt(max(0.0, low * low + 2 * (high - low) * mean))
    return min(1.0, 2 * mean / (low + root)) if mean else 0.0
