"""How long things took and how many there were: read off the history, as every checker reads it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median
from typing import ClassVar, TypeVar

import msgspec

from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Frame
from goldenpath.lab.histogram import Dump, Histogram
from goldenpath.lab.records import Complete, Invoke
from goldenpath.lab.stream import SeenRun, Stream

K = TypeVar("K")


class Second(msgspec.Struct, array_like=True):
    """What happened within one second of a run."""

    offered: int = 0
    """Runs that should have begun."""
    started: int = 0
    """Runs that did begin."""
    completed: int = 0
    failed: int = 0
    events: int = 0


class Measured(msgspec.Struct):
    """The measurements of one judge, or of several merged, as they travel and are stored."""

    durations: dict[str, Dump] = {}
    """By name: `login`, `connect`, `first_token`, `run`, `history` ..., in seconds from the intended start. Besides:
    `golden_path`, to log in, to connect and to get the first answer, without what a user waits in between of their own
    accord; `final_delivery`, from the last piece of an answer
    to its run's end; `lag`, how late the lab itself began."""
    outcomes: dict[str, dict[str, int]] = {}
    """By kind of operation: how many were ok, and how many failed, by code."""
    events: int = 0
    seconds: dict[int, Second] = {}
    """By the whole second of the history's clock."""
    first_tokens: dict[int, Dump] = {}
    """The same durations as `first_token`, by the second in which they ended."""
    users: dict[int, Dump] = {}
    """The same durations as `run`, by user."""


class Moment(msgspec.Struct, frozen=True):
    """How far a run is, for those who watch it."""

    runs: int
    """That ended well."""
    failed: int
    first_token: float | None
    """The median since the last time, in seconds; None where there was none."""


class Measurements(Checker):
    """Reads durations and counts off a history. It finds no violations."""

    name: ClassVar[str] = "measurements"

    def __init__(self) -> None:
        super().__init__()
        self._durations: dict[str, Histogram] = defaultdict(Histogram)
        self._outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self._seconds: dict[int, Second] = defaultdict(Second)
        self._first_tokens: dict[int, Histogram] = defaultdict(Histogram)
        self._users: dict[int, Histogram] = defaultdict(Histogram)
        self._asked: dict[tuple[int, str, str], Invoke] = {}
        self._paths: dict[int, float] = {}
        self._events = 0
        self._recent: list[float] = []

    def invoked(self, op: Invoke) -> None:
        if op.intended != op.at:
            self._durations["lag"].record(op.at - op.intended)
        if op.kind == "ask":
            self._asked[op.user, op.thread, op.run] = op
            self._seconds[int(op.intended)].offered += 1
            self._seconds[int(op.at)].started += 1

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:  # noqa: ARG002
        self._events += len(frames)
        self._seconds[int(at)].events += len(frames)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        op = self._asked.get((stream.user, stream.thread, run.run))
        if op is None:
            return
        if run.first_at is not None:
            self._durations["first_token"].record(run.first_at - op.intended)
            self._recent.append(run.first_at - op.intended)
            self._first_tokens[int(run.first_at)].record(run.first_at - op.intended)
        if run.outcome == "success":
            self._durations["run"].record(at - op.intended)
            self._users[op.user].record(at - op.intended)
            if run.text_at is not None:
                self._durations["final_delivery"].record(at - run.text_at)
            begun = self._paths.pop(op.user, None)
            if begun is not None:
                self._durations["golden_path"].record(begun + at - op.intended)

    def completed(self, op: Invoke, record: Complete) -> None:
        self.checked += 1
        ok = record.outcome == "ok"
        self._outcomes[op.kind]["ok" if ok else record.code or record.outcome] += 1
        if op.kind == "ask":
            self._asked.pop((op.user, op.thread, op.run), None)
            second = self._seconds[int(record.at)]
            if ok:
                second.completed += 1
            else:
                second.failed += 1
        elif ok:
            taken = record.at - op.intended
            self._durations[op.kind].record(taken)
            if op.kind == "login":
                self._paths[op.user] = taken
            elif op.kind == "connect" and op.user in self._paths:
                self._paths[op.user] += taken

    def tick(self) -> Moment:
        """How far it is. Call it every second or so: values that were recorded take no memory any more then."""
        for histogram in self._durations.values():
            histogram.fold()
        recent, self._recent = self._recent, []
        asked = self._outcomes["ask"]
        ok = asked["ok"]
        return Moment(runs=ok, failed=asked.total() - ok, first_token=median(recent) if recent else None)

    def measured(self) -> Measured:
        """What was measured so far."""
        return Measured(
            durations={name: histogram.dump() for name, histogram in self._durations.items()},
            outcomes={kind: dict(counts) for kind, counts in self._outcomes.items()},
            events=self._events,
            seconds=dict(self._seconds),
            first_tokens={second: histogram.dump() for second, histogram in self._first_tokens.items()},
            users={user: histogram.dump() for user, histogram in self._users.items()},
        )


def merged(parts: Sequence[Measured]) -> Measured:
    """What several processes measured, put together."""
    whole = Measured()
    for part in parts:
        _merge_dumps(whole.durations, part.durations)
        _merge_dumps(whole.first_tokens, part.first_tokens)
        _merge_dumps(whole.users, part.users)
        whole.events += part.events
        for kind, counts in part.outcomes.items():
            whole.outcomes[kind] = dict(Counter(whole.outcomes.get(kind, {})) + Counter(counts))
        for at, second in part.seconds.items():
            known = whole.seconds.setdefault(at, Second())
            for field in Second.__struct_fields__:
                setattr(known, field, getattr(known, field) + getattr(second, field))
    return whole


def _merge_dumps(into: dict[K, Dump], dumps: dict[K, Dump]) -> None:
    for key, dump in dumps.items():
        known = into.get(key)
        into[key] = dump if known is None else Histogram.load(known).merge(Histogram.load(dump)).dump()
