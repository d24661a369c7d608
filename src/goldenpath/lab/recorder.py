"""Where everything that happens in a worker goes through: it gets its time and number, is written, and is judged."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from goldenpath.lab.canary import Canaries
from goldenpath.lab.hiding import Hiding
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
    Overheard,
    Received,
    Record,
    Sampled,
    Sent,
)

UNWRITABLE: Final = "the history cannot be written"


class Recorder:
    """One worker's. Numbers are unique across `workers` of them. Not safe across threads."""

    def __init__(
        self,
        judge: Judge,
        writer: HistoryWriter | None,
        *,
        worker: int = 0,
        workers: int = 1,
        hiding: Hiding | None = None,
        canaries: Canaries | None = None,
    ) -> None:
        """`hiding`: hides what is secret in what a target says, from the history and from the judge; None: nothing
        is. `canaries`: what is looked for in what is overheard; None: nothing of it is kept."""
        self.judge = judge
        self._hiding = hiding
        self._pieces = hiding if hiding is not None and hiding.knows else None
        self._writer = writer
        self._worker = worker
        self._canaries = canaries
        self._workers = workers
        self._ops = self._connections = 0
        self.on_broken: Callable[[str], None] | None = None
        """Told once, in words, that the history cannot be written any more. What follows is judged, but not kept."""
        self.operations = 0
        """How many operations began."""

    def take(self, record: Record, carries: int = 0) -> None:
        """Write a record, which carries so many bytes of others', about, and show it to the judge."""
        self._write(record, carries)
        self.judge.take(record)

    def _write(self, record: Record, carries: int) -> None:
        if self._writer is not None:
            try:
                self._writer.write(record, carries)
            except OSError as error:  # not the target's fault, and whoever brings a record can do nothing about it
                self._break_off(error)

    def close(self) -> None:
        """Write the rest of the history."""
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError as error:
                self._break_off(error)

    def _break_off(self, error: OSError) -> None:
        self._writer = None
        if self.on_broken is not None:
            self.on_broken(f"{UNWRITABLE}: {error.strerror}")

    def next_op(self) -> int:
        """The number of the operation that comes next: for a canary that names it."""
        self._ops += 1
        return self._ops * self._workers + self._worker

    def invoke(self, user: int, kind: Kind, *, intended: float | None = None, op: int = 0, **fields: Any) -> Invoke:
        """An operation begins. `intended` None: now."""
        now = perf_counter()
        record = Invoke(now, op or self.next_op(), user, kind, now if intended is None else intended, **fields)
        self.operations += 1
        self.take(record, len(record.text))
        return record

    def sent(self, op: Invoke, connection: int) -> None:
        """An ask that had waited is sent."""
        self.take(Sent(perf_counter(), op.op, connection))

    def complete(self, op: Invoke, outcome: Outcome, code: str = "", detail: str = "") -> None:
        """What came of it."""
        if self._hiding is not None:
            code, detail = self._hiding.text(code, op.user), self._hiding.text(detail, op.user)
        self.take(Complete(perf_counter(), op.op, outcome, code, detail))

    def opened(self, user: int, viewer: int | None, op: int = 0) -> int:
        """A connection is open, for one operation or for many (`op` 0); returns its number."""
        self._connections += 1
        connection = self._connections * self._workers + self._worker
        self.take(Opened(perf_counter(), user, connection, -connection if viewer is None else viewer, op))
        return connection

    def received(self, user: int, connection: int, payload: bytes) -> None:
        """Something came."""
        if self._pieces is not None:
            payload = self._pieces.piece(payload)
        record = Received(perf_counter(), user, connection, payload)
        self._write(record, len(payload))
        self.judge.received(record)

    def answered(self, user: int, op: int, status: int, body: bytes) -> None:
        """A whole HTTP answer came."""
        if self._hiding is not None:
            body = self._hiding.answer(body, user)
        self.take(Answered(perf_counter(), user, op, status, body), len(body))

    def overheard(self, user: int, place: str, payload: bytes) -> None:
        """Something came besides; kept only where somebody else's canary is in it."""
        if self._canaries is not None and self._canaries.foreign_anyhow(user, payload) is not None:
            if self._hiding is not None:
                payload = self._hiding.answer(payload, user)
            self.take(Overheard(perf_counter(), user, place, payload), len(payload))

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
        if self._hiding is not None:
            text = self._hiding.text(text)
        self.take(Noted(perf_counter(), kind, text))

    def sampled(self, source: str, figures: dict[str, float]) -> None:
        """The monitor read figures."""
        self.take(Sampled(perf_counter(), source, figures))
