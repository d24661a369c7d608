"""What happened in the last minute, five minutes, hour: rolling windows of counts and of durations. Sans-I/O.

Time is cut into steps. What happens in the current step is recorded as it comes; when the step is over it is added to
one ring of slices for each span, and to the total since the start. A slice is some steps long, and a window is the
slices of its ring that have not become older than the span, with the current step. So a window is forgotten a slice at
a time: it covers its span, or up to one slice less, and nothing older. Percentiles are those of all the values in it,
because histograms add up without loss, as averages of percentiles do not.

A ring is bounded by its slices, a slice by the buckets of a histogram: values from a microsecond to an hour have 4,096
at most, and a window of what usually happens has some fifty. `now` is on a time line that does not go back, in seconds.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

import msgspec

from goldenpath.histogram import Dump, Histogram

Span = Literal["1m", "5m", "1h"]

STEP: Final = 10.0
"""How long what comes is gathered before it goes to the rings, in seconds."""
SLICES: Final[dict[Span, tuple[int, int]]] = {"1m": (1, 6), "5m": (3, 10), "1h": (18, 20)}
"""Of each span: the steps of a slice, and the slices of the ring."""
FRESH: Final = 4096
"""So many values wait as they are, 4 bytes each, before they are counted."""

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Dump).decode


class _Ring:
    """The slices of one span. Those that are over are kept as bytes: a tenth of what a histogram takes."""

    __slots__ = ("_kept", "_last", "_last_number", "_slices", "_steps", "_sum", "_summed")

    def __init__(self, steps: int, kept: int) -> None:
        self._steps = steps
        self._kept = kept
        self._slices: deque[tuple[int, bytes]] = deque(maxlen=kept - 1)
        self._last_number = -1
        self._last = Histogram()
        self._summed = -1
        """The step that `_sum` was made in."""
        self._sum = Histogram()

    def add(self, step: int, values: Histogram) -> None:
        number = step // self._steps
        if number != self._last_number:
            if self._last.count:
                self._slices.append((self._last_number, _pack(self._last.dump())))
            self._last, self._last_number = Histogram(), number
        self._last.merge(values)

    def sum(self, step: int) -> Histogram:
        """What the slices hold that are not too old in the step `step`; not the caller's own."""
        if step != self._summed:
            oldest = step // self._steps - self._kept + 1
            while self._slices and self._slices[0][0] < oldest:
                self._slices.popleft()
            self._sum = Histogram()
            for _, packed in self._slices:
                self._sum.merge(Histogram.load(_unpack(packed)))
            if self._last_number >= oldest:
                self._sum.merge(self._last)
            self._summed = step
        return self._sum


class Durations:
    """Durations in seconds, by when they were recorded. Belongs to the event loop's thread."""

    __slots__ = ("_append", "_fresh", "_left", "_rings", "_step", "_total", "_until")

    def __init__(self) -> None:
        self._fresh = Histogram()
        self._append = self._fresh.record
        self._left = FRESH
        self._step = 0
        self._until = 0.0
        self._total = Histogram()
        self._rings: dict[Span, _Ring] = {span: _Ring(*slices) for span, slices in SLICES.items()}

    def record(self, seconds: float, now: float) -> None:
        """Count one. Negative durations count as 0."""
        if now >= self._until:
            self._turn(now)
        self._append(seconds)
        self._left -= 1
        if not self._left:
            self._left = FRESH
            self._fresh.fold()

    def _turn(self, now: float) -> None:
        """Begin the step of `now`."""
        if self._fresh.count:
            self._total.merge(self._fresh)
            for ring in self._rings.values():
                ring.add(self._step, self._fresh)
            self._fresh = Histogram()
            self._append = self._fresh.record
            self._left = FRESH
        self._step = int(now // STEP)
        self._until = (self._step + 1) * STEP

    def over(self, span: Span, now: float) -> Histogram:
        """Those of the last `span`; the caller's own."""
        if now >= self._until:
            self._turn(now)
        return Histogram().merge(self._rings[span].sum(self._step)).merge(self._fresh)

    def total(self) -> Histogram:
        """All since the start; the caller's own."""
        return Histogram().merge(self._total).merge(self._fresh)


class Counts:
    """How often something happened, by when. Belongs to the event loop's thread."""

    __slots__ = ("_fresh", "_slices", "_step", "_until", "total")

    def __init__(self) -> None:
        self.total = 0
        """How often since the start."""
        self._fresh = 0
        self._step = 0
        self._until = 0.0
        self._slices: dict[Span, deque[list[int]]] = {span: deque(maxlen=kept) for span, (_, kept) in SLICES.items()}
        """The number of each slice, and its count."""

    def add(self, now: float, times: int = 1) -> None:
        """Count it `times` (>= 0) times."""
        if now >= self._until:
            self._turn(now)
        self._fresh += times
        self.total += times

    def _turn(self, now: float) -> None:
        if self._fresh:
            for span, (steps, _) in SLICES.items():
                slices, number = self._slices[span], self._step // steps
                if slices and slices[-1][0] == number:
                    slices[-1][1] += self._fresh
                else:
                    slices.append([number, self._fresh])
            self._fresh = 0
        self._step = int(now // STEP)
        self._until = (self._step + 1) * STEP

    def over(self, span: Span, now: float) -> int:
        """How often in the last `span`."""
        if now >= self._until:
            self._turn(now)
        steps, kept = SLICES[span]
        oldest = self._step // steps - kept + 1
        return self._fresh + sum(count for number, count in self._slices[span] if number >= oldest)
