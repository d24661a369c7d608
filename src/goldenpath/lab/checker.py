"""What a checker is: it sees a history go by, in order, and says what was wrong in it.

A checker does no I/O and knows no clock but the times of the records, so that a stored run gets the same verdict again.
Every user's records come to the same checker, in their order; records of different users may come to different ones:
while a run goes on each worker process judges its own users. The verdict is that of one judge, who reads all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import ClassVar, Final

import msgspec

from goldenpath.lab.frames import Frame
from goldenpath.lab.plain import plain
from goldenpath.lab.records import (
    Answered,
    Closed,
    Complete,
    Injected,
    Invoke,
    Noted,
    Opened,
    Overheard,
    Received,
    Sampled,
    Sent,
)
from goldenpath.lab.stream import SeenRun, Stream
from goldenpath.lab.verdict import Verdict

KEPT: Final = 100
"""How many violations of one kind a finding describes; all are counted."""


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must not happen, and what shows it."""

    checker: str
    kind: str
    """What it is, in a word: `lost`, `duplicate`, `leak` ..."""
    at: float
    """The monotonic time at which it was seen."""
    user: int
    witness: str
    """The smallest evidence, in one sentence."""
    thread: str = ""
    run: str = ""


class Finding(msgspec.Struct, kw_only=True):
    """What one checker says of a run."""

    checker: str
    checked: int
    """How many things it looked at. 0 is no pass."""
    counts: dict[str, int] = {}
    """How many violations of each kind there were."""
    violations: list[Violation] = []
    """The first of each kind."""
    broken: str = ""
    """Why the checker itself could not do its work; empty where it did."""
    optional: bool = False
    """Whether a scenario may do without what it looks at: nobody cancels, nobody reconnects."""

    @property
    def exercised(self) -> bool:
        """Whether it counts: it looked at something, or should have."""
        return bool(self.checked or self.counts or self.broken or not self.optional)

    @property
    def verdict(self) -> Verdict:
        """Fail where something was wrong; unknown where nothing was looked at, or the checker broke."""
        if self.counts:
            return Verdict.FAIL
        if self.broken or not self.checked:
            return Verdict.UNKNOWN
        return Verdict.PASS


def _order(violation: Violation) -> tuple[float, int, str, str]:
    return violation.at, violation.user, violation.kind, violation.witness


class Checker:
    """Base of the checkers: looks at nothing. Override what you need to see, and count in `checked` what you looked
    at."""

    name: ClassVar[str]
    optional: ClassVar[bool] = False
    """Whether a scenario may do without what it looks at."""
    heeds_pieces: ClassVar[bool] = True
    """Whether pieces of a text say anything to it after the first one. Where not, `pieces` is not called."""

    def __init__(self) -> None:
        self.checked = 0
        self.on_violation: Callable[[Violation], None] | None = None
        """Told of the violations that a finding describes, when they are seen."""
        self._counts: Counter[str] = Counter()
        self._violations: list[Violation] = []

    # --- what it sees -------------------------------------------------------------------------------------------------

    def invoked(self, op: Invoke) -> None:
        """An operation begins."""

    def sent(self, op: Invoke, record: Sent) -> None:
        """An ask that had waited is sent over another connection than was known; `op` has it now."""

    def completed(self, op: Invoke, record: Complete) -> None:
        """An operation's outcome is known."""

    def opened(self, record: Opened) -> None:
        """A connection is open."""

    def received(self, record: Received) -> None:
        """Something came, as bytes. Its frames follow."""

    def mixed(self, record: Received, beside: bytes) -> None:
        """Of what came, and was shown already, not everything was pieces of a text going on: `beside` is the rest."""

    def malformed(self, record: Received, why: str) -> None:
        """What came is not what the target's format says. Nothing of this connection is read any more."""

    def replied(self, user: int, frame: Frame, at: float) -> None:
        """The answer to a command came, over the command's own connection. `frame.re` is the operation's number,
        or begins with it and `:` where an operation has several commands."""

    def subscribed(self, stream: Stream, frame: Frame, at: float) -> None:
        """A subscription begins, after `frame.seq`. The stream is as it was before."""

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        """Consecutive events of one stream came together. The stream is as it was before."""

    def pieces(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        """The same, where all of them only go on with the text of which the stream's last event was a piece: of the
        same run and message, with the next numbers. Override it where that needs less than `events` does."""
        self.events(stream, frames, at)

    def began(self, stream: Stream, run: SeenRun, at: float) -> None:
        """Events of another run than before begin to come."""

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        """A run's terminal event came, the first of that run. What it did is in `run`."""

    def left(self, stream: Stream, run: SeenRun, at: float) -> None:
        """A run's events end before its end: the viewer reads elsewhere or is gone, another run's events come, or there
        are no more records. What was seen of it is in `run`."""

    def late(self, stream: Stream, frame: Frame, at: float) -> None:
        """An event of a run came after that run's terminal event, and it is none that had come before."""

    def gone(self, stream: Stream, record: Closed) -> None:
        """The connection on which alone this stream was is no more. Nothing more comes of it."""

    def forgotten(self, stream: Stream) -> None:
        """Nothing has come of this stream for long, and there are too many others. What comes of its thread from now on
        is another stream's."""

    def answered(self, op: Invoke, record: Answered) -> None:
        """An answer over plain HTTP came."""

    def overheard(self, record: Overheard) -> None:
        """Something came besides messages and answers, with a canary of somebody else's in it."""

    def closed(self, record: Closed) -> None:
        """A connection is no more."""

    def injected(self, record: Injected) -> None:
        """A fault begins or ends."""

    def sampled(self, record: Sampled) -> None:
        """The monitor read figures."""

    def noted(self, record: Noted) -> None:
        """Something about the run itself."""

    def finish(self, at: float) -> None:
        """There is no more; `at` is the time of the last record. Here goes what is wrong because it did not come."""

    # --- what it says -------------------------------------------------------------------------------------------------

    def violate(self, kind: str, at: float, user: int, witness: str, *, thread: str = "", run: str = "") -> None:
        """Say that something was wrong."""
        self._counts[kind] += 1
        if self._counts[kind] > KEPT:
            return
        violation = Violation(
            checker=self.name,
            kind=kind,
            at=at,
            user=user,
            witness=plain(witness),
            thread=plain(thread),
            run=plain(run),
        )
        self._violations.append(violation)
        if self.on_violation is not None:
            self.on_violation(violation)

    @property
    def violated(self) -> int:
        """How many violations there were so far."""
        return self._counts.total()

    def finding(self, broken: str = "") -> Finding:
        """What it has found so far."""
        return Finding(
            checker=self.name,
            checked=self.checked,
            counts=dict(self._counts),
            violations=sorted(self._violations, key=_order),
            broken=broken,
            optional=self.optional,
        )
