"""Where everything that happens in a worker goes through: it gets its time and number, is written, and is judged."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from goldenpath.lab.history import HistoryWriter
from goldenpath.lab.judge import Judge
from goldenpath.lab.records import (
    Answered,
    Closed,
    Complete,
    Injected,
    Invoke,
    Kind,
    Noted,
    NoteKind,
    Opened,
    Outcome,
    Received,
    Record,
    Sampled,
)


class Recorder:
    """One worker's. Numbers are unique across `workers` of them. Not safe across threads."""

    def __init__(self, judge: Judge, writer: HistoryWriter | None, *, worker: int = 0, workers: int = 1) -> None:
        self.judge = judge
        self._writer = writer
        self._worker = worker
        self._workers = workers
        self._ops = self._connections = 0
        self.operations = 0
        """How many operations began."""

    def take(self, record: Record) -> None:
        """Write a record and show it to the judge. Raises OSError when the history cannot be written."""
        if self._writer is not None:
            self._writer.write(record)
        self.judge.take(record)

    def next_op(self) -> int:
        """The number of the operation that comes next: for a canary that names it."""
        self._ops += 1
        return self._ops * self._workers + self._worker

    def invoke(self, user: int, kind: Kind, *, intended: float | None = None, op: int = 0, **fields: Any) -> Invoke:
        """An operation begins. `intended` None: now."""
        now = perf_counter()
        record = Invoke(now, op or self.next_op(), user, kind, now if intended is None else intended, **fields)
        self.operations += 1
        self.take(record)
        return record

    def complete(self, op: Invoke, outcome: Outcome, code: str = "", detail: str = "") -> None:
        """What came of it."""
        self.take(Complete(perf_counter(), op.op, outcome, code, detail))

    def opened(self, user: int, viewer: int | None, op: int = 0) -> int:
        """A connection is open, for one operation or for many (`op` 0); returns its number."""
        self._connections += 1
        connection = self._connections * self._workers + self._worker
        self.take(Opened(perf_counter(), user, connection, -connection if viewer is None else viewer, op))
        return connection

    def received(self, user: int, connection: int, payload: bytes) -> None:
        """Something came."""
        self.take(Received(perf_counter(), user, connection, payload))

    def answered(self, user: int, op: int, status: int, body: bytes) -> None:
        """A whole HTTP answer came."""
        self.take(Answered(perf_counter(), user, op, status, body))

    def closed(self, user: int, connection: int, *, ours: bool, code: int = 0) -> Closed:
        """A connection is no more."""
        record = Closed(perf_counter(), user, connection, ours, code)
        self.take(record)
        return record

    def injected(self, fault: str, *, on: bool) -> None:
        """A fault begins or ends."""
        self.take(Injected(perf_counter(), fault, on))

    def noted(self, kind: NoteKind, text: str = "") -> None:
        """Something about the run itself."""
        self.take(Noted(perf_counter(), kind, text))

    def sampled(self, source: str, figures: dict[str, float]) -> None:
        """The monitor read figures."""
        self.take(Sampled(perf_counter(), source, figures))
