"""What the users of the reference workload saw, counted; and the check of what is known of its runs besides."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from bench import workload
from goldenpath.lab.checker import Checker
from goldenpath.lab.records import Complete, Invoke, Received
from goldenpath.lab.stream import SeenRun, Stream


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all do not exceed; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass
class Tally:
    """Of one phase. Latencies are seconds, from the intended start of the message: all of them, because a histogram's
    buckets are as wide as what is told apart here."""

    expected: int = 0
    completed: int = 0
    events: int = 0
    messages: int = 0
    """WebSocket messages received: events / messages is how well the server coalesces."""
    received_bytes: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Operations that were not ok, by code."""
    start_lag: list[float] = field(default_factory=list)
    first_token: list[float] = field(default_factory=list)
    run: list[float] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether every run is there; False when nothing was to be seen."""
        return self.expected > 0 and self.completed == self.expected and not self.failed

    def __str__(self) -> str:
        failed = "".join(f", {count} {code}" for code, count in self.failed.items())
        return f"{self.completed} of {self.expected} runs complete{failed}, {self.events} events"

    def latencies(self) -> dict[str, float]:
        """Percentiles in milliseconds."""
        return {
            f"{name}_p{percent:g}_ms": percentile(values, percent) * 1000
            for name, values in (("start_lag", self.start_lag), ("first_token", self.first_token), ("run", self.run))
            for percent in (50, 95, 99)
        }


class Reference(Checker):
    """Violations: `events` (a run that was seen whole has more or fewer than the workload), `content` (a tool's
    arguments or result are not those of the question). The answers are for `Delivery` to check.

    Counts in `tally`, which may be replaced at any time; what users from `crowd` on do is not counted."""

    name: ClassVar[str] = "reference"

    def __init__(self, crowd: int) -> None:
        super().__init__()
        self.tally = Tally()
        self._crowd = crowd
        self._asked: dict[tuple[int, str, str], Invoke] = {}

    def invoked(self, op: Invoke) -> None:
        if op.kind == "ask":
            self._asked[op.user, op.thread, op.run] = op
            if op.user < self._crowd:
                self.tally.start_lag.append(op.at - op.intended)

    def received(self, record: Received) -> None:
        if record.user < self._crowd:
            self.tally.messages += 1
            self.tally.received_bytes += len(record.payload)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        op = self._asked.pop((stream.user, stream.thread, run.run), None)
        if op is None or run.outcome != "success":
            return
        self.checked += 1
        if run.whole:
            self._check(op, run, at)
        if op.user < self._crowd:
            self.tally.completed += 1
            self.tally.run.append(at - op.intended)
            if run.first_at is not None:
                self.tally.first_token.append(run.first_at - op.intended)

    def _check(self, op: Invoke, run: SeenRun, at: float) -> None:
        mark = workload.marker_of(op.text)
        if run.events != workload.EVENTS:
            witness = f"user {op.user} got {run.events} events of run {op.run!r} instead of {workload.EVENTS}"
            self.violate("events", at, op.user, witness, thread=op.thread, run=op.run)
        if run.rest != workload.tool_arguments(mark) + workload.tool_answer(mark):
            witness = f"user {op.user} ({mark}) got {run.rest[:120]!r} of a tool"
            self.violate("content", at, op.user, witness, thread=op.thread, run=op.run)

    def completed(self, op: Invoke, record: Complete) -> None:
        if op.kind == "ask":
            self._asked.pop((op.user, op.thread, op.run), None)
        if record.outcome != "ok" and op.user < self._crowd:
            self.tally.failed[record.code or record.outcome] += 1
