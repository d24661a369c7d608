"""Durations in a log-linear histogram: a relative error below 0.4 %, mergeable across processes, cheap to record.

The buckets are those of HdrHistogram: each power of two is cut into 128 equal parts. A float of 32 bits has them
already, as the upper half of its bits: exponent and 7 bits of mantissa. So `record` only appends to an array of floats,
and counting is one pass in C over every other 16 bits of it."""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Final, Self

import msgspec

_STEPS: Final = 128
_UPPER_HALF: Final = 1 if sys.byteorder == "little" else 0
_BIAS: Final = 127
_SIGN: Final = 1 << 15


class Dump(msgspec.Struct, frozen=True):
    """A histogram as it travels between processes and into files."""

    count: int
    total: float
    lowest: float
    highest: float
    buckets: list[tuple[int, int]]


class Histogram:
    """Counts of values in seconds. Negative ones count as 0. Not safe across threads; merge instead.

    Values that were recorded stay as they are, 4 bytes each, until `fold` or anything is read: fold every second or so.
    """

    __slots__ = ("_buckets", "_fresh", "_highest", "_lowest", "_total", "record")

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._buckets: Counter[int] = Counter()
        self._fresh = array("f", values)
        self._total = 0.0
        self._lowest = float("inf")
        self._highest = 0.0
        self.record = self._fresh.append
        """Count one value, in seconds. Raises TypeError for what is no number."""

    def fold(self) -> None:
        """Count what was recorded since the last time, so that it takes no memory any more."""
        fresh = self._fresh
        if not fresh:
            return
        values = fresh.tolist()
        lowest, highest = min(values), max(values)
        if not lowest >= 0:
            values = [value if value > 0 else 0.0 for value in values]
            fresh[:] = array("f", values)
            lowest, highest = min(values), max(values)
        self._lowest = min(self._lowest, lowest)
        self._highest = max(self._highest, highest)
        self._total += sum(values)
        halves = array("H")
        halves.frombytes(fresh.tobytes())
        self._buckets.update(halves[_UPPER_HALF::2])
        del fresh[:]

    @property
    def count(self) -> int:
        """How many values there are."""
        self.fold()
        return self._buckets.total()

    @property
    def total(self) -> float:
        """The sum of all values, in seconds."""
        self.fold()
        return self._total

    @property
    def mean(self) -> float | None:
        """In seconds; None where there is no value."""
        count = self.count
        return self._total / count if count else None

    @property
    def highest(self) -> float | None:
        """In seconds; None where there is no value."""
        return self._highest if self.count else None

    def percentile(self, percent: float) -> float | None:
        """The value that `percent` (0 to 100) of all values do not exceed, in seconds; None where there is none.

        The nearest rank, as the middle of its bucket, and never outside of what was really seen."""
        count = self.count
        if not count:
            return None
        rank = max(1, -int(-count * percent // 100))
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                return min(max(_middle(bucket), self._lowest), self._highest)
        return self._highest

    def merge(self, other: Histogram) -> Self:
        """Count everything that `other` counted, too."""
        self.fold()
        other.fold()
        self._buckets.update(other._buckets)
        self._total += other._total
        self._lowest = min(self._lowest, other._lowest)
        self._highest = max(self._highest, other._highest)
        return self

    def buckets(self) -> list[tuple[float, int]]:
        """The middles of the buckets in use, in seconds, ascending, and how many values each has."""
        self.fold()
        return [(_middle(bucket), self._buckets[bucket]) for bucket in sorted(self._buckets)]

    def dump(self) -> Dump:
        """As a value that JSON can carry; `load` is the way back."""
        count = self.count
        return Dump(count, self._total, self._lowest if count else 0.0, self._highest, sorted(self._buckets.items()))

    @classmethod
    def load(cls, dump: Dump) -> Self:
        """The histogram that was dumped."""
        made = cls()
        made._buckets.update(dict(dump.buckets))
        made._total, made._highest = dump.total, dump.highest
        made._lowest = dump.lowest if dump.count else float("inf")
        return made


def _middle(bucket: int) -> float:
    """The middle of the floats whose upper half is `bucket`."""
    exponent, step = divmod(bucket & ~_SIGN, _STEPS)
    if exponent == 0:  # subnormal: less than 1e-38
        return 0.0
    return float((1 + (step + 0.5) / _STEPS) * 2.0 ** (exponent - _BIAS))
