"""A run along its time axis: load, latencies, samples, faults; in bounded memory, however long it was.

Time is cut into bins of 1/16 s; when there are too many, each two become one.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from math import inf
from random import Random
from typing import ClassVar, Final

import msgspec

from goldenpath.histogram import Histogram
from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Frame
from goldenpath.lab.records import Closed, Complete, Injected, Invoke, Noted, NoteKind, Opened, Sampled
from goldenpath.lab.stream import SeenRun, Stream

WIDTH: Final = 1 / 16
"""Seconds of a bin at first."""
MAX_BINS: Final = 512
MAX_POINTS: Final = 2_000
"""How many runs are kept as they were, chosen by chance, besides the slowest."""
SLOWEST: Final = 50
MAX_SAMPLES: Final = 1_024
"""How many samples of each source are kept; when there are more, every second one goes."""


class Bin:
    """What happened in one stretch of time."""

    __slots__ = ("completed", "connections", "events", "failed", "first_token", "offered", "open", "started")

    def __init__(self) -> None:
        self.offered = 0
        """Runs that should have begun."""
        self.started = 0
        """Runs that did begin."""
        self.completed = 0
        self.failed = 0
        self.events = 0
        self.connections = 0
        """How many connections were open at once, at most; 0 also where none opened or closed."""
        self.open: int | None = None
        """How many were open in the end; None where none opened or closed."""
        self.first_token = Histogram()

    def add(self, other: Bin) -> None:
        """Take the bin after this one in."""
        self.offered += other.offered
        self.started += other.started
        self.completed += other.completed
        self.failed += other.failed
        self.events += other.events
        self.connections = max(self.connections, other.connections)
        self.open = self.open if other.open is None else other.open
        self.first_token.merge(other.first_token)


class Point(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One run: how long it took from its intended start, at `at` seconds from the beginning of the load."""

    seconds: float
    at: float
    user: int
    ok: bool


class Fault(msgspec.Struct, frozen=True):
    """A fault, in seconds from the beginning of the load."""

    fault: str
    began: float
    ended: float | None = None
    """None: it did not end in this run, or was a matter of a moment."""


class InARow:
    """A user's runs that failed since the last that went well: times from the beginning of the load at which they
    began."""

    __slots__ = ("before_last", "first", "last", "ok")

    def __init__(self) -> None:
        self.ok = self.first = self.before_last = self.last = -inf
        """`ok`: when the last began that went well. Each -inf: there is none."""

    def take(self, at: float, *, ok: bool) -> None:
        """One more."""
        if ok:
            self.ok, self.first, self.before_last, self.last = at, -inf, -inf, -inf
            return
        self.first = at if self.first == -inf else self.first
        self.before_last, self.last = self.last, at


class Note(msgspec.Struct, frozen=True):
    """Something about the run itself, in seconds from the beginning of the load."""

    at: float
    kind: NoteKind
    text: str = ""


class Samples:
    """What the monitor read of one source."""

    def __init__(self) -> None:
        self.kept: list[tuple[float, dict[str, float]]] = []
        """Times from the beginning of the load, and figures."""
        self.count = 0
        self.highest: dict[str, float] = {}
        self._sums: dict[str, tuple[int, float]] = {}
        self._every = 1

    def take(self, at: float, figures: dict[str, float]) -> None:
        """One more."""
        if self.count % self._every == 0:
            self.kept.append((at, figures))
            if len(self.kept) > MAX_SAMPLES:
                del self.kept[1::2]
                self._every *= 2
        self.count += 1
        for name, value in figures.items():
            self.highest[name] = max(self.highest.get(name, value), value)
            if at >= 0:  # before the load nobody asks anything
                count, total = self._sums.get(name, (0, 0.0))
                self._sums[name] = count + 1, total + value

    def mean(self, name: str) -> float | None:
        """Of a figure, under load; None where it was not read."""
        count, total = self._sums.get(name, (0, 0.0))
        return total / count if count else None


class Timeline(Checker):
    """Reads a run's course off its history. It finds no violations.

    `zero`: the time of the history at which the load began; 0.0 takes that of the first operation.
    """

    name: ClassVar[str] = "timeline"

    def __init__(self, zero: float) -> None:
        super().__init__()
        self.width = WIDTH
        self.bins: dict[int, Bin] = {}
        """By number: bin 0 begins with the load."""
        self.points: list[Point] = []
        self.slowest: list[Point] = []
        self.runs = 0
        """How many points there would be."""
        self.faults: list[Fault] = []
        self.notes: list[Note] = []
        self.samples: dict[str, Samples] = defaultdict(Samples)
        self.attempts: dict[str, int] = defaultdict(int)
        """By kind of operation: how many began."""
        self.asked: dict[int, int] = defaultdict(int)
        """By user: how many runs they asked for."""
        self.failed: dict[int, InARow] = defaultdict(InARow)
        """By user."""
        self.connections_peak = 0
        self.seal = ""
        """The digest of the manifest, as the history has it; empty: it has none."""
        self.seconds = 0.0
        """From the beginning of the load to the last thing that a user did or received."""
        self.received_bytes = 0
        """How many came over connections in all; whoever reads the history counts them."""
        self.zero = zero
        self._connections: set[int] = set()
        self._asked: dict[tuple[int, str, str], Invoke] = {}
        self._random = Random(0)

    def bin(self, at: float) -> Bin:
        """The bin of a time of the history."""
        number = int((at - self.zero) // self.width)
        found = self.bins.get(number)
        if found is None:
            if len(self.bins) >= MAX_BINS:
                self._halve()
                return self.bin(at)
            found = self.bins[number] = Bin()
        return found

    def fold(self) -> None:
        """Values that were recorded take no memory any more then. Call it now and then."""
        for each in self.bins.values():
            each.first_token.fold()

    def _halve(self) -> None:
        before, self.bins = self.bins, {}
        self.width *= 2
        for number in sorted(before):
            known = self.bins.get(number // 2)
            if known is None:
                self.bins[number // 2] = before[number]
            else:
                known.add(before[number])

    def _time(self, at: float) -> float:
        return at - self.zero

    def _moved(self, at: float) -> None:
        self.seconds = max(self.seconds, at - self.zero)

    def invoked(self, op: Invoke) -> None:
        self.checked += 1
        if not self.zero:
            self.zero = op.intended
        self.attempts[op.kind] += 1
        if op.kind == "ask":
            self.asked[op.user] += 1
            self._asked[op.user, op.thread, op.run] = op
            self.bin(op.intended).offered += 1
            self.bin(op.at).started += 1

    def opened(self, record: Opened) -> None:
        self._connections.add(record.connection)
        self.connections_peak = max(self.connections_peak, len(self._connections))
        self._count_connections(record.at)

    def closed(self, record: Closed) -> None:
        self._count_connections(record.at)
        self._connections.discard(record.connection)
        self.bin(record.at).open = len(self._connections)

    def _count_connections(self, at: float) -> None:
        if not self.zero:
            self.zero = at
        found = self.bin(at)
        found.open = len(self._connections)
        found.connections = max(found.connections, found.open)

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:  # noqa: ARG002
        self.bin(at).events += len(frames)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        op = self._asked.get((stream.user, stream.thread, run.run))
        if op is not None and run.first_at is not None:
            self.bin(run.first_at).first_token.record(run.first_at - op.intended)

    def completed(self, op: Invoke, record: Complete) -> None:
        self._moved(record.at)
        if op.kind != "ask":
            return
        self._asked.pop((op.user, op.thread, op.run), None)
        if record.code == "abandoned":  # when the run of the lab ended: the target did nothing wrong
            return
        ok = record.outcome == "ok"
        found = self.bin(record.at)
        if ok:
            found.completed += 1
        else:
            found.failed += 1
        self.failed[op.user].take(self._time(op.at), ok=ok)
        self._keep(Point(record.at - op.intended, self._time(op.intended), op.user, ok))

    def _keep(self, point: Point) -> None:
        """Every run is kept with the same probability, and the slowest in any case."""
        self.runs += 1
        if len(self.points) < MAX_POINTS:
            self.points.append(point)
        else:
            place = self._random.randrange(self.runs)
            if place < MAX_POINTS:
                self.points[place] = point
        if len(self.slowest) < SLOWEST:
            heapq.heappush(self.slowest, point)
        elif point > self.slowest[0]:
            heapq.heapreplace(self.slowest, point)

    def injected(self, record: Injected) -> None:
        at = self._time(record.at)
        if record.on:
            self.faults.append(Fault(record.fault, at))
            return
        for place, fault in reversed(list(enumerate(self.faults))):
            if fault.fault == record.fault and fault.ended is None:
                self.faults[place] = Fault(fault.fault, fault.began, at)
                return

    def noted(self, record: Noted) -> None:
        if record.kind == "sealed":
            self.seal = record.text
            return
        self.notes.append(Note(self._time(record.at), record.kind, record.text))

    def sampled(self, record: Sampled) -> None:
        self.samples[record.source].take(self._time(record.at), record.figures)
