"""Recovery: how long after a fault has ended the target is as it was before.

A run is slow when it failed, had no outcome, or took longer than twice the 95th percentile before the fault and 50 ms.
The target has recovered at the first moment, among the end of the fault and the intended starts of the runs after it,
from which on at most 5 % of the runs that should begin within the next 2 s are slow. Durations count from the intended
start, so that a backlog counts, too. Before means: in the 10 s before the fault began.

This needs the history of all users in one judge.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import ClassVar, Final

import msgspec

from goldenpath.lab.checker import Checker
from goldenpath.lab.checkers.fairness import FLOOD
from goldenpath.lab.records import Complete, Injected, Invoke

BEFORE: Final = 10.0
HOLD: Final = 2.0
SLOWER: Final = 2.0
SLACK: Final = 0.05
_TOLERATED: Final = 0.05
_LEAST: Final = 5
"""Fewer runs before a fault say nothing."""


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one fault."""

    fault: str
    began: float
    ended: float
    usual: float | None
    """The 95th percentile of the run times before it, in seconds; None: too few runs to say."""
    seconds: float | None
    """From its end until the target had recovered; None: it never did, or nobody can tell."""
    runs: int
    """How many runs should have begun after it. 0: nobody can tell."""


class Recovered(Checker):
    """Violations: `unrecovered`: the target was not as before until the end of the load. The times are in
    `recoveries`."""

    name: ClassVar[str] = "recovery"
    optional: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[int, float] = {}
        self._runs: list[tuple[float, float]] = []
        """Of each run the intended start, and how long it took: infinite where it was not ok."""
        self._began: dict[str, float] = {}
        self._faults: list[tuple[str, float, float]] = []
        self.recoveries: list[Recovery] = []
        """One for each fault that ended, once there are no more records."""

    def invoked(self, op: Invoke) -> None:
        if op.kind == "ask":
            self._open[op.op] = op.intended

    def completed(self, op: Invoke, record: Complete) -> None:
        if self._open.pop(op.op, None) is not None and record.code != "abandoned":
            self._runs.append((op.intended, record.at - op.intended if record.outcome == "ok" else float("inf")))

    def injected(self, record: Injected) -> None:
        if record.fault.startswith(FLOOD):
            return
        if record.on:
            self._began[record.fault] = record.at
        elif (began := self._began.pop(record.fault, None)) is not None:
            self._faults.append((record.fault, began, record.at))

    def after(self, fault: str, began: float, ended: float) -> Recovery:
        """How the target recovered from what lasted from `began` to `ended`: a fault, a spike."""
        runs = sorted(self._runs)
        starts = [start for start, _ in runs]
        before = sorted(
            seconds
            for start, seconds in runs[bisect_left(starts, began - BEFORE) : bisect_left(starts, began)]
            if start + seconds <= began
        )
        first = bisect_left(starts, ended)
        usual = before[min(len(before) - 1, int(len(before) * 0.95))] if len(before) >= _LEAST else None
        seconds = None if usual is None else _recovered(runs, starts, first, ended, usual * SLOWER + SLACK)
        return Recovery(fault=fault, began=began, ended=ended, usual=usual, seconds=seconds, runs=len(runs) - first)

    def finish(self, at: float) -> None:  # noqa: ARG002
        for fault, began, ended in self._faults:
            recovery = self.after(fault, began, ended)
            self.recoveries.append(recovery)
            if recovery.usual is None or not recovery.runs:
                continue
            self.checked += 1
            if recovery.seconds is None:
                witness = (
                    f"after {fault} had ended the target was never as before: of the last {HOLD:g} s of runs more than "
                    f"{_TOLERATED:.0%} failed or took longer than {recovery.usual * SLOWER + SLACK:.3f} s"
                )
                self.violate("unrecovered", ended, -1, witness)


def _recovered(
    runs: list[tuple[float, float]], starts: list[float], first: int, ended: float, limit: float
) -> float | None:
    slow = [0]
    for _, seconds in runs[first:]:
        slow.append(slow[-1] + (seconds > limit))
    for index in range(first, len(runs)):
        since = ended if index == first else starts[index]
        until = bisect_right(starts, max(since, starts[index]) + HOLD)
        count = slow[until - first] - slow[index - first]
        if count <= _TOLERATED * (until - index):
            return since - ended
    return None
