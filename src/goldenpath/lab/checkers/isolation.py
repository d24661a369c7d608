"""Isolation: nobody receives anything of anybody else. Tolerance 0.

Three nets, because each server leaks in its own way: canaries in the bytes as they come; canaries in texts, which come
in pieces; and events of threads and runs that the user never asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from goldenpath.lab.canary import LONGEST, Canaries
from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Frame
from goldenpath.lab.records import Answered, Closed, Complete, Invoke, Received
from goldenpath.lab.stream import SeenRun, Stream


class Isolation(Checker):
    """Violations: `leak` (another user's canary), `stray` (a thread or run that is none of the user's), `intrusion`
    (what belongs to somebody else was not refused)."""

    name: ClassVar[str] = "isolation"

    def __init__(self, canaries: Canaries) -> None:
        super().__init__()
        self._canaries = canaries
        self._threads: dict[int, set[str]] = {}
        self._runs: dict[tuple[int, str], set[str]] = {}
        self._tails: dict[int, bytes] = {}

    def invoked(self, op: Invoke) -> None:
        if op.kind in ("ask", "attach"):
            self._threads.setdefault(op.user, set()).add(op.thread)
        if op.kind == "ask" and op.run:
            self._runs.setdefault((op.user, op.thread), set()).add(op.run)

    def received(self, record: Received) -> None:
        self.checked += 1
        payload = record.payload
        tail = self._tails.get(record.connection)
        if tail:
            payload = tail + payload
        self._scan(record.user, payload, record.at, "received")
        if len(record.payload) < LONGEST or payload[-1:] not in b"}\n":
            self._tails[record.connection] = payload[-LONGEST:]
        elif tail:
            del self._tails[record.connection]

    def answered(self, op: Invoke, record: Answered) -> None:
        self.checked += 1
        self._scan(record.user, record.body, record.at, f"received in the answer to {op.kind}", thread=op.thread)

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        present = stream.present
        run = present.run if present is not None else None
        for frame in frames:
            if frame.run_id != run and frame.run_id is not None:
                run = frame.run_id
                self._is_own(stream, run, at)

    def _is_own(self, stream: Stream, run: str, at: float) -> None:
        user, thread = stream.user, stream.thread
        if thread not in self._threads.get(user, ()):
            witness = f"user {user} received events of thread {thread!r}, which they never asked for"
            self.violate("stray", at, user, witness, thread=thread, run=run)
            return
        asked = self._runs.get((user, thread))
        if asked and run not in asked:
            witness = f"user {user} received events of run {run!r} in thread {thread!r}, which they never started"
            self.violate("stray", at, user, witness, thread=thread, run=run)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        self.checked += 1
        for text in (run.answer, "".join(run.texts)):
            self._scan(stream.user, text.encode(), at, "read, in a text", thread=stream.thread, run=run.run)

    def completed(self, op: Invoke, record: Complete) -> None:
        if op.kind == "intrude":
            self.checked += 1
            if record.outcome == "fail" and record.code == "admitted":
                witness = f"user {op.user} was let in to thread {op.thread!r} of user {op.owner}: {record.detail}"
                self.violate("intrusion", record.at, op.user, witness, thread=op.thread)

    def closed(self, record: Closed) -> None:
        self._tails.pop(record.connection, None)

    def _scan(self, user: int, payload: bytes, at: float, how: str, *, thread: str = "", run: str = "") -> None:
        found = self._canaries.foreign(user, payload)
        if found is not None:
            witness = (
                f"user {user} {how} what user {found.user} sent in operation {found.op}: {_around(payload, found.user)}"
            )
            self.violate("leak", at, user, witness, thread=thread, run=run)


def _around(payload: bytes, owner: int) -> str:
    """The text around the foreign canary."""
    place = payload.find(f"-{owner}.".encode())
    return repr(payload[max(0, place - 60) : place + 60].decode(errors="replace"))
