"""Delivery: every event once, in order, unchanged; every answer whole. Tolerance 0."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import ClassVar, Final, NamedTuple

from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Format, Frame, Input
from goldenpath.lab.records import Closed, Complete, Invoke, Received
from goldenpath.lab.stream import SeenRun, Stream

_SHOWN: Final = 60
_WAIT: Final = 100
"""How many later events may come before a missing one is lost."""


class _Hole(NamedTuple):
    """Events that have not come though later ones have."""

    first: int
    last: int
    at: float
    place: str
    run: str


class Delivery(Checker):
    """Violations: `lost`, `duplicate`, `reordered` (by the events' numbers), `unsubscribed`, `altered` (an answer that
    is not what the target has to say, or a question that it repeats otherwise than it was asked), `malformed` (it
    cannot be read, or has no number where each has one).

    What is missing counts as lost when a hundred later events have come, or nothing can come any more; what comes
    before that is reordered. Events without numbers, as in AG-UI, show both only by the answer that they add up
    to."""

    name: ClassVar[str] = "delivery"

    def __init__(self, format_: Format) -> None:
        super().__init__()
        self._numbered = format_.numbered
        self._fills_in = format_.fills_in
        self._answers: dict[tuple[int, str, str], str] = {}
        self._questions: dict[tuple[int, str, str], str] = {}
        self._missing: dict[Stream, list[_Hole]] = {}

    def invoked(self, op: Invoke) -> None:
        if op.kind == "ask":
            key = op.user, op.thread, op.run
            self._questions[key] = op.text
            if op.answer is not None:
                self._answers[key] = op.answer

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        self.checked += len(frames)
        for frame in frames:
            if frame.event is not None and frame.event.input is not None:
                self._compare_question(stream, frame, frame.event.input, at)
        if not self._numbered:
            return
        expected = stream.seq + 1
        if not stream.subscribed:
            self._unsubscribed(stream, frames[0], at)
        for frame in frames:
            if frame.seq == expected:
                expected += 1
            elif frame.seq:
                expected = self._out_of_place(stream, frame, expected, at)
            elif not self._fills_in:
                self._unnumbered(stream, frame, at)
        if self._missing and stream in self._missing:
            self._give_up(stream, expected - _WAIT)

    def pieces(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:  # noqa: ARG002
        self.checked += len(frames)
        if self._missing and stream in self._missing:
            self._give_up(stream, frames[-1].seq + 1 - _WAIT)

    def _compare_question(self, stream: Stream, frame: Frame, given: Input, at: float) -> None:
        run = frame.run_id or ""
        asked = self._questions.get((stream.user, stream.thread, run))
        said = [message.text for message in given.messages if message.role == "user"]
        if asked is None or not said or said[-1] == asked:
            return
        witness = f"user {stream.user}, run {run!r} says that it was asked something else: "
        self._tell("altered", at, stream, witness + _difference(asked, said[-1], "the question"), run)

    def _unsubscribed(self, stream: Stream, frame: Frame, at: float) -> None:
        assert frame.event is not None
        run = frame.run_id or ""
        what = f"event {frame.seq} ({frame.event.type} of run {run})"
        witness = f"user {stream.user}, thread {stream.thread!r}: {what} came though the thread is not subscribed"
        self._tell("unsubscribed", at, stream, witness, run)

    def _unnumbered(self, stream: Stream, frame: Frame, at: float) -> None:
        """An event without a number. The snapshot at a gap before the first event has none to carry."""
        assert frame.event is not None
        if frame.run_id is not None or frame.event.type != "MESSAGES_SNAPSHOT":
            run = frame.run_id or ""
            what = f"{frame.event.type} of run {run!r} came without a number"
            self._tell("malformed", at, stream, f"user {stream.user}, thread {stream.thread!r}: {what}", run)

    def _out_of_place(self, stream: Stream, frame: Frame, expected: int, at: float) -> int:
        """Returns the number that is expected next."""
        assert frame.event is not None
        if frame.event.type == "MESSAGES_SNAPSHOT" and frame.run_id is None and frame.seq == expected - 1:
            return expected  # the gap that the reply announced
        what = f"{frame.event.type} of run {frame.run_id}"
        place = f"user {stream.user}, thread {stream.thread!r}: event {frame.seq} ({what}) came"
        run = frame.run_id or ""
        if frame.seq > expected:
            self._missing.setdefault(stream, []).append(_Hole(expected, frame.seq - 1, at, place, run))
        elif self._fill(stream, frame.seq):
            self._tell("reordered", at, stream, f"{place} after {expected - 1}", run)
        else:
            when = "twice" if frame.seq == expected - 1 else f"again after {expected - 1}"
            self._tell("duplicate", at, stream, f"{place} {when}", run)
        return max(expected, frame.seq + 1)

    def _fill(self, stream: Stream, seq: int) -> bool:
        """Whether an event was missing that comes now."""
        holes = self._missing.get(stream, [])
        for index, hole in enumerate(holes):
            if hole.first <= seq <= hole.last:
                holes[index : index + 1] = [
                    part
                    for part in (hole._replace(last=seq - 1), hole._replace(first=seq + 1))
                    if part.first <= part.last
                ]
                return True
        return False

    def _give_up(self, stream: Stream, before: float) -> None:
        """What is missing before `before` is lost."""
        holes = self._missing.pop(stream)
        for hole in holes:
            if hole.last < before:
                missing = f"{hole.first}" if hole.first == hole.last else f"{hole.first} to {hole.last}"
                self._tell("lost", hole.at, stream, f"{hole.place}, but {missing} never did", hole.run)
        waiting = [hole for hole in holes if hole.last >= before]
        if waiting:
            self._missing[stream] = waiting

    def _give_up_all(self, stream: Stream) -> None:
        if stream in self._missing:
            self._give_up(stream, inf)

    def subscribed(self, stream: Stream, frame: Frame, at: float) -> None:  # noqa: ARG002
        self._give_up_all(stream)

    def gone(self, stream: Stream, record: Closed) -> None:  # noqa: ARG002
        self._give_up_all(stream)

    def forgotten(self, stream: Stream) -> None:
        self._give_up_all(stream)

    def finish(self, at: float) -> None:  # noqa: ARG002
        for stream in list(self._missing):
            self._give_up_all(stream)

    def _tell(self, kind: str, at: float, stream: Stream, witness: str, run: str) -> None:
        self.violate(kind, at, stream.user, witness, thread=stream.thread, run=run)

    def malformed(self, record: Received, why: str) -> None:
        witness = f"user {record.user} received what cannot be read: {why}"
        self.violate("malformed", record.at, record.user, witness)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        expected = self._answers.get((stream.user, stream.thread, run.run))
        if expected is None or not run.whole:
            return
        answer = run.answer
        if answer == expected or (run.outcome != "success" and expected.startswith(answer)):
            return  # a run that was cut short has said the beginning
        witness = f"user {stream.user}, run {run.run!r}: {_difference(expected, answer)}"
        self._tell("altered", at, stream, witness, run.run)

    def completed(self, op: Invoke, record: Complete) -> None:  # noqa: ARG002
        if op.kind == "ask":
            self._answers.pop((op.user, op.thread, op.run), None)
            self._questions.pop((op.user, op.thread, op.run), None)


def _difference(expected: str, answer: str, what: str = "the answer") -> str:
    """Where two texts part, in words."""
    at = next((place for place, (a, b) in enumerate(zip(expected, answer, strict=False)) if a != b), None)
    if at is None:
        at = min(len(expected), len(answer))
    wanted, got = (repr(text[at : at + _SHOWN]) if at < len(text) else "the end" for text in (expected, answer))
    return f"{what} has {len(answer)} characters instead of {len(expected)}; at {at} it has {got} instead of {wanted}"
