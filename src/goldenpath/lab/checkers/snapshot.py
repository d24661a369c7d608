"""Snapshot: the messages that fill a gap hold everything that their reader had seen before it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar, Final

from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Frame
from goldenpath.lab.records import Closed
from goldenpath.lab.stream import SeenRun, Stream

_REMEMBERED: Final = 16 * 1024 * 1024
"""How many characters of answers are remembered; those that were read longest ago are forgotten first."""
_SHOWN: Final = 60


class Snapshot(Checker):
    """Violations: `stale`: what a reader had read last, of an answer that had ended or not, is not in the snapshot."""

    name: ClassVar[str] = "snapshot"
    optional: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._read: OrderedDict[Stream, tuple[str, str]] = OrderedDict()
        """Of each reading the last run, and its answer."""
        self._size = 0

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        self._remember(stream, run)

    def left(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        self._remember(stream, run)

    def _remember(self, stream: Stream, run: SeenRun) -> None:
        self._forget(stream)
        answer = run.answer
        self._read[stream] = run.run, answer
        self._size += len(answer)
        while self._size > _REMEMBERED:
            self._forget(next(iter(self._read)))

    def _forget(self, stream: Stream) -> None:
        self._size -= len(self._read.pop(stream, ("", ""))[1])

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        first = frames[0]
        if first.run_id is not None or first.event is None or first.event.messages is None:
            return
        self.checked += 1
        run, answer = self._read.get(stream, ("", ""))
        said = "".join(message.text for message in first.event.messages if message.role == "assistant")
        if answer not in said:
            witness = (
                f"user {stream.user}, thread {stream.thread!r}: the snapshot at {first.seq} lacks what had been read "
                f"of run {run!r}: {answer[:_SHOWN]!r}"
            )
            self.violate("stale", at, stream.user, witness, thread=stream.thread, run=run)

    def gone(self, stream: Stream, record: Closed) -> None:  # noqa: ARG002
        self._forget(stream)

    def forgotten(self, stream: Stream) -> None:
        self._forget(stream)
