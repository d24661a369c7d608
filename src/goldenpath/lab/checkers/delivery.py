"""Delivery: every event once, in order, unchanged; every answer whole. Tolerance 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Format, Frame
from goldenpath.lab.records import Complete, Invoke, Received
from goldenpath.lab.stream import SeenRun, Stream

_SHOWN = 60


class Delivery(Checker):
    """Violations: `lost`, `duplicate`, `reordered` (by the events' numbers), `unsubscribed`, `altered` (an answer that
    is not what the target has to say), `malformed`."""

    name: ClassVar[str] = "delivery"

    def __init__(self, format_: Format) -> None:
        super().__init__()
        self._numbered = format_.numbered
        self._answers: dict[tuple[int, str, str], str] = {}

    def invoked(self, op: Invoke) -> None:
        if op.kind == "ask" and op.answer is not None:
            self._answers[op.user, op.thread, op.run] = op.answer

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        self.checked += len(frames)
        if not self._numbered:
            return
        expected = stream.seq + 1
        for frame in frames:
            if frame.seq != expected:
                self._out_of_place(stream, frame, expected, at)
            expected = frame.seq + 1

    def _out_of_place(self, stream: Stream, frame: Frame, expected: int, at: float) -> None:
        assert frame.event is not None
        if frame.event.type == "MESSAGES_SNAPSHOT" and frame.run_id is None and frame.seq == expected - 1:
            return  # the gap that the reply announced
        what = f"{frame.event.type} of run {frame.run_id}"
        place = f"user {stream.user}, thread {stream.thread!r}: event {frame.seq} ({what}) came"
        if not stream.subscribed:
            kind, witness = "unsubscribed", f"{place} though the thread is not subscribed"
        elif frame.seq > expected:
            missing = f"{expected}" if frame.seq == expected + 1 else f"{expected} to {frame.seq - 1}"
            kind, witness = "lost", f"{place} after {expected - 1}: {missing} did not"
        elif frame.seq == expected - 1:
            kind, witness = "duplicate", f"{place} twice"
        else:
            kind, witness = "reordered", f"{place} after {expected - 1}"
        self.violate(kind, at, stream.user, witness, thread=stream.thread, run=frame.run_id or "")

    def malformed(self, record: Received, why: str) -> None:
        witness = f"user {record.user} received what cannot be read: {why}"
        self.violate("malformed", record.at, record.user, witness)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        expected = self._answers.get((stream.user, stream.thread, run.run))
        if expected is None or not run.whole or run.outcome != "success":
            return
        answer = run.answer
        if answer != expected:
            witness = f"user {stream.user}, run {run.run!r}: {_difference(expected, answer)}"
            self.violate("altered", at, stream.user, witness, thread=stream.thread, run=run.run)

    def completed(self, op: Invoke, record: Complete) -> None:  # noqa: ARG002
        if op.kind == "ask":
            self._answers.pop((op.user, op.thread, op.run), None)


def _difference(expected: str, answer: str) -> str:
    """Where two texts part, in words."""
    at = next((place for place, (a, b) in enumerate(zip(expected, answer, strict=False)) if a != b), None)
    if at is None:
        at = min(len(expected), len(answer))
    wanted, got = (repr(text[at : at + _SHOWN]) if at < len(text) else "the end" for text in (expected, answer))
    return (
        f"the answer has {len(answer)} characters instead of {len(expected)}; at {at} it has {got} instead of {wanted}"
    )
