"""Isolation: nobody receives anything of anybody else. Tolerance 0.

Three nets, because each server leaks in its own way: canaries in the bytes as they come; canaries in texts, which come
in pieces; and events of threads and runs that the user never asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar, Final

from goldenpath.lab.canary import LONGEST, Canaries
from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Frame
from goldenpath.lab.records import Answered, Closed, Complete, Invoke, Received
from goldenpath.lab.stream import SeenRun, Stream

_WHOLE: Final = b"}]\n \"',;:"
"""No canary goes on behind one of these."""
_RUNS: Final = 1_000
"""How many runs of a thread are known at a time."""
_THREADS: Final = 1_000
"""How many threads of a user."""


class _Thread:
    """One that its user asked for."""

    __slots__ = ("forgetful", "runs")

    def __init__(self) -> None:
        self.runs: dict[str, None] = {}
        self.forgetful = False
        """Whether it has more runs than are known: one that is not may still be the user's own."""


class Isolation(Checker):
    """Violations: `leak` (another user's canary), `stray` (a thread or run that is none of the user's), `intrusion`
    (what belongs to somebody else was not refused)."""

    name: ClassVar[str] = "isolation"

    def __init__(self, canaries: Canaries) -> None:
        super().__init__()
        self._canaries = canaries
        self._mark = canaries.mark
        self._threads: dict[int, OrderedDict[str, _Thread]] = {}
        self._forgetful: set[int] = set()
        """Users with more threads than are known: one that is not may still be their own."""
        self._intrusions: dict[int, Invoke] = {}
        """Those under way that have met a refusal so far."""
        self._tails: dict[int, bytes] = {}

    def invoked(self, op: Invoke) -> None:
        if op.kind in ("ask", "attach"):
            self._own(op)
        elif op.kind == "intrude":
            self._intrusions[op.op] = op

    def _own(self, op: Invoke) -> None:
        threads = self._threads.get(op.user)
        if threads is None:
            threads = self._threads[op.user] = OrderedDict()
        thread = threads.get(op.thread)
        if thread is None:
            thread = threads[op.thread] = _Thread()
            if len(threads) > _THREADS:
                threads.popitem(last=False)
                self._forgetful.add(op.user)
        else:
            threads.move_to_end(op.thread)
        if op.kind == "ask":
            thread.runs[op.run] = None
            if len(thread.runs) > _RUNS:
                del thread.runs[next(iter(thread.runs))]
                thread.forgetful = True

    def received(self, record: Received) -> None:
        self.checked += 1
        payload = record.payload
        tail = self._tails.pop(record.connection, b"") if self._tails else b""
        if tail:
            payload = tail + payload
        leaked = self._mark in payload and self._scan(record.user, payload, record.at, "received")
        if payload and payload[-1] not in _WHOLE and not leaked:
            self._tails[record.connection] = payload[-LONGEST:]

    def answered(self, op: Invoke, record: Answered) -> None:
        self.checked += 1
        self._scan(record.user, record.body, record.at, f"received in the answer to {op.kind}", thread=op.thread)
        if op.kind == "intrude" and record.status < 400:
            self._intruded(op, record.at, f"an answer has status {record.status}")

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        present = stream.present
        run = present.run if present is not None else None
        for frame in frames:
            if frame.run_id != run and frame.run_id is not None:
                run = frame.run_id
                self._is_own(stream, run, at)

    def _is_own(self, stream: Stream, run: str, at: float) -> None:
        user, thread = stream.user, stream.thread
        threads = self._threads.get(user)
        own = threads.get(thread) if threads is not None else None
        if own is None:
            if user in self._forgetful:
                return
            witness = f"user {user} received events of thread {thread!r}, which they never asked for"
            self.violate("stray", at, user, witness, thread=thread, run=run)
            return
        if own.runs and run not in own.runs and not own.forgetful:
            witness = f"user {user} received events of run {run!r} in thread {thread!r}, which they never started"
            self.violate("stray", at, user, witness, thread=thread, run=run)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        self._read(stream, run, at)

    def left(self, stream: Stream, run: SeenRun, at: float) -> None:
        self._read(stream, run, at)

    def _read(self, stream: Stream, run: SeenRun, at: float) -> None:
        """Pieces are too short to show a canary; what they add up to is not."""
        self.checked += 1
        for text in (run.answer, "".join(run.texts)):
            self._scan(stream.user, text.encode(), at, "read, in a text", thread=stream.thread, run=run.run)

    def replied(self, user: int, frame: Frame, at: float) -> None:
        op = self._intrusions.get(frame.re) if isinstance(frame.re, int) else None
        if op is not None and op.user == user and frame.ok:
            self._intruded(op, at, "a command was not refused")

    def completed(self, op: Invoke, record: Complete) -> None:
        if op.kind == "intrude":
            self.checked += 1
            if record.code == "admitted" and op.op in self._intrusions:
                self._intruded(op, record.at, record.detail)
            self._intrusions.pop(op.op, None)

    def _intruded(self, op: Invoke, at: float, how: str) -> None:
        """Told once for each operation, however many ways were open."""
        if self._intrusions.pop(op.op, None) is not None:
            witness = f"user {op.user} was let in to thread {op.thread!r} of user {op.owner}: {how}"
            self.violate("intrusion", at, op.user, witness, thread=op.thread)

    def closed(self, record: Closed) -> None:
        self._tails.pop(record.connection, None)

    def _scan(self, user: int, payload: bytes, at: float, how: str, *, thread: str = "", run: str = "") -> bool:
        """Whether another's canary is in it."""
        found = self._canaries.foreign(user, payload)
        if found is not None:
            witness = (
                f"user {user} {how} what user {found.user} sent in operation {found.op}: {_around(payload, found.user)}"
            )
            self.violate("leak", at, user, witness, thread=thread, run=run)
        return found is not None


def _around(payload: bytes, owner: int) -> str:
    """The text around the foreign canary."""
    place = payload.find(f"-{owner}.".encode())
    return repr(payload[max(0, place - 60) : place + 60].decode(errors="replace"))
