"""Snapshot: the messages that fill a gap hold everything that their reader had seen before it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar, Final

from goldenpath.lab.canary import Canaries
from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Frame
from goldenpath.lab.records import Closed, Complete, Invoke
from goldenpath.lab.stream import SeenRun, Stream

_REMEMBERED: Final = 16 * 1024 * 1024
"""How many characters of answers are remembered; those that were read longest ago are forgotten first."""
_SHOWN: Final = 60


class Snapshot(Checker):
    """Violations: `stale` (what a reader had read last, of an answer that had ended or not, or what was asked for it,
    is not in the snapshot), `invented` (a question in it has no canary of its user's)."""

    name: ClassVar[str] = "snapshot"
    optional: ClassVar[bool] = True
    heeds_pieces: ClassVar[bool] = False

    def __init__(self, canaries: Canaries) -> None:
        super().__init__()
        self._canaries = canaries
        self._asked: dict[tuple[int, str, str], str] = {}
        self._read: OrderedDict[Stream, tuple[str, str, str]] = OrderedDict()
        """Of each reading the last run, its answer, and what was asked."""
        self._size = 0

    def invoked(self, op: Invoke) -> None:
        if op.kind == "ask":
            self._asked[op.user, op.thread, op.run] = op.text

    def completed(self, op: Invoke, record: Complete) -> None:  # noqa: ARG002
        if op.kind == "ask":
            self._asked.pop((op.user, op.thread, op.run), None)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        self._remember(stream, run)

    def left(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        self._remember(stream, run)

    def _remember(self, stream: Stream, run: SeenRun) -> None:
        self._forget(stream)
        answer = run.answer
        question = self._asked.get((stream.user, stream.thread, run.run), "")
        self._read[stream] = run.run, answer, question
        self._size += len(answer) + len(question)
        while self._size > _REMEMBERED:
            self._forget(next(iter(self._read)))

    def _forget(self, stream: Stream) -> None:
        _, answer, question = self._read.pop(stream, ("", "", ""))
        self._size -= len(answer) + len(question)

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        first = frames[0]
        if first.run_id is not None or first.event is None or first.event.messages is None:
            return
        self.checked += 1
        run, answer, question = self._read.get(stream, ("", "", ""))
        questions = [message.text for message in first.event.messages if message.role == "user"]
        said = "".join(message.text for message in first.event.messages if message.role == "assistant")
        place = f"user {stream.user}, thread {stream.thread!r}: the snapshot at {first.seq}"
        if answer not in said:
            witness = f"{place} lacks what had been read of run {run!r}: {answer[:_SHOWN]!r}"
            self.violate("stale", at, stream.user, witness, thread=stream.thread, run=run)
        elif question and not any(question in text for text in questions):
            witness = f"{place} lacks what was asked in run {run!r}: {question[:_SHOWN]!r}"
            self.violate("stale", at, stream.user, witness, thread=stream.thread, run=run)
        for text in questions:
            if not self._canaries.owns(stream.user, text):
                witness = f"{place} has a question that the user never asked: {text[:_SHOWN]!r}"
                self.violate("invented", at, stream.user, witness, thread=stream.thread, run=run)

    def gone(self, stream: Stream, record: Closed) -> None:  # noqa: ARG002
        self._forget(stream)

    def forgotten(self, stream: Stream) -> None:
        self._forget(stream)
