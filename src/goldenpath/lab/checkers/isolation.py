"""Isolation: nobody receives anything of anybody else. Tolerance 0.

Three nets, because each server leaks in its own way: canaries in the bytes as they come; canaries in texts, which come
in pieces; and events of threads and runs that the user never asked for.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar, Final

from goldenpath.lab.canary import LONGEST, Canaries, Canary
from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Frame
from goldenpath.lab.records import Answered, Closed, Complete, Invoke, Noted, Overheard, Received
from goldenpath.lab.stream import SeenRun, Stream

_HEAP: Final = 8
"""How many messages of a user are collected before disguises are looked for in them: each search costs, however
short."""
_INTRUSIONS: Final = 10_000
"""How many attempts to intrude are known at a time."""
_TOLD: Final = 1_000
"""How many leaks are remembered, to tell each once."""
_LARGE: Final = 4_096
"""A message of more bytes is looked at at once."""
_WHOLE: Final = b"}]\n \"',;:"
"""No canary goes on behind one of these."""
_RUNS: Final = 1_000
"""How many runs of a thread are known at a time."""
_THREADS: Final = 1_000
"""How many threads of a user."""
_WHO: Final = re.compile(r"user (\d{1,9})\b")
"""Whom a witness names."""


class _Thread:
    """One that its user asked for."""

    __slots__ = ("forgetful", "runs")

    def __init__(self) -> None:
        self.runs: dict[str, None] = {}
        self.forgetful = False
        """Whether it has more runs than are known: one that is not may still be the user's own."""


class Isolation(Checker):
    """Violations: `leak` (another user's canary), `stray` (a thread or run that is none of the user's), `intrusion`
    (what belongs to somebody else was not refused), `unstored` (a breach ended the run when it was seen, and what shows
    it cannot be read any more)."""

    name: ClassVar[str] = "isolation"
    heeds_pieces: ClassVar[bool] = False

    def __init__(self, canaries: Canaries) -> None:
        super().__init__()
        self._canaries = canaries
        self._mark = canaries.mark
        self._threads: dict[int, OrderedDict[str, _Thread]] = {}
        self._forgetful: set[int] = set()
        """Users with more threads than are known: one that is not may still be their own."""
        self._intrusions: OrderedDict[int, Invoke] = OrderedDict()
        """The last ones that have met nothing but refusals so far; a reply may come when the last way was tried."""
        self._tails: dict[int, bytes] = {}
        self._told: OrderedDict[tuple[int, Canary], None] = OrderedDict()
        """Who received which canary, the last ones."""
        self._leaked = False
        """Whether a leak was found in what came last."""
        self._heaps: dict[int, list[bytes]] = {}
        """By user: what is to be searched for disguises."""
        self._seen_live: Noted | None = None

    def invoked(self, op: Invoke) -> None:
        if op.kind in ("ask", "attach"):
            self._own(op)
        elif op.kind == "intrude":
            self._intrusions[op.op] = op
            if len(self._intrusions) > _INTRUSIONS:
                self._intrusions.popitem(last=False)

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
        self._leaked = leaked

    def mixed(self, record: Received, beside: bytes) -> None:
        if not self._leaked:
            self._heap(record.user, beside, record.at)

    def _heap(self, user: int, payload: bytes, at: float) -> None:
        heap = self._heaps.setdefault(user, [])
        heap.append(payload)
        if len(heap) > _HEAP or len(payload) > _LARGE:
            self._search(user, at)

    def _search(self, user: int, at: float) -> None:
        """Look for disguises in what was collected."""
        heap = self._heaps.pop(user, None)
        if heap:
            found = self._canaries.disguised(user, b"".join(heap))
            if found is not None:
                self._tell_leak(user, *found, at, "received, disguised,", "", "")

    def overheard(self, record: Overheard) -> None:
        self._scan_anyhow(record.user, record.payload, record.at, f"received in {record.place}")

    def answered(self, op: Invoke, record: Answered) -> None:
        self.checked += 1
        how = f"received in the answer to {op.kind}"
        self._scan_anyhow(record.user, record.body, record.at, how, thread=op.thread)
        if op.kind == "intrude" and record.status < 300:
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
        leaked = False
        texts = [text.encode(errors="replace") for text in (run.answer, run.rest) if text]
        for text in texts:
            found = self._canaries.foreign(stream.user, text)
            leaked = leaked or found is not None
            if found is not None and (stream.user, found) not in self._told:  # it may have been seen as bytes
                self._tell_leak(stream.user, found, text, at, "read, in a text", stream.thread, run.run)
        if texts and not leaked:
            self._heap(stream.user, b"\n".join(texts), at)

    def replied(self, user: int, frame: Frame, at: float) -> None:
        if not self._intrusions:
            return
        number, _, command = str(frame.re).partition(":")
        op = self._intrusions.get(int(number)) if number.isdecimal() else None
        if op is not None and op.user == user and frame.ok and frame.cancelled != []:
            self._intruded(op, at, f"a command was not refused: {command or 'attach'}")

    def completed(self, op: Invoke, record: Complete) -> None:
        if record.detail:
            said = f"{record.code} {record.detail}".encode(errors="replace")
            self._scan_anyhow(op.user, said, record.at, f"was told why {op.kind} failed, with", thread=op.thread)
        if op.kind == "intrude":
            self.checked += 1
            if record.code == "admitted":
                self._intruded(op, record.at, record.detail)

    def _intruded(self, op: Invoke, at: float, how: str) -> None:
        """Told once for each operation, however many ways were open."""
        if self._intrusions.pop(op.op, None) is not None:
            witness = f"user {op.user} was let in to thread {op.thread!r} of user {op.owner}: {how}"
            self.violate("intrusion", at, op.user, witness, thread=op.thread)

    def closed(self, record: Closed) -> None:
        self._tails.pop(record.connection, None)
        self._search(record.user, record.at)

    def noted(self, record: Noted) -> None:
        if record.kind == "aborted":
            self._seen_live = record

    def finish(self, at: float) -> None:
        for user in list(self._heaps):
            self._search(user, at)
        if self._seen_live is not None and not self.violated:
            who = _WHO.search(self._seen_live.text)
            self.violate("unstored", self._seen_live.at, int(who[1]) if who else 0, self._seen_live.text)

    def _scan(self, user: int, payload: bytes, at: float, how: str, *, thread: str = "", run: str = "") -> bool:
        """Whether another's canary is in it."""
        found = self._canaries.foreign(user, payload)
        if found is not None:
            self._tell_leak(user, found, payload, at, how, thread, run)
        return found is not None

    def _scan_anyhow(self, user: int, payload: bytes, at: float, how: str, *, thread: str = "", run: str = "") -> None:
        """The same, also where it is escaped or encoded."""
        found = self._canaries.foreign_anyhow(user, payload)
        if found is not None:
            self._tell_leak(user, *found, at, how, thread, run)

    def _tell_leak(self, user: int, found: Canary, payload: bytes, at: float, how: str, thread: str, run: str) -> None:
        self._told[user, found] = None
        if len(self._told) > _TOLD:
            self._told.popitem(last=False)
        witness = (
            f"user {user} {how} what user {found.user} sent in operation {found.op}: {_around(payload, found.user)}"
        )
        self.violate("leak", at, user, witness, thread=thread, run=run)


def _around(payload: bytes, owner: int) -> str:
    """The text around the foreign canary."""
    place = payload.find(f"-{owner}.".encode())
    return repr(payload[max(0, place - 60) : place + 60].decode(errors="replace"))
