"""Resume: whoever comes back reads on exactly where they stood, or is told that they cannot; and what was seen once
stays as it was, for every viewer, also when the target was killed in between.

Of each thread the latest events are kept to compare them with what comes again, and of each run that has ended a
fingerprint. Both have a bound: what is older is not compared.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Format, Frame
from goldenpath.lab.records import Closed, Complete, Invoke
from goldenpath.lab.stream import SeenRun, Stream

_RECENT: Final = 32
"""How many events of a thread are kept while a run goes on."""
_LOGS: Final = 20_000
"""How many threads are known at a time."""
_RUNS: Final = 100_000
"""How many runs that have ended."""


class _Log:
    """A thread as all viewers of its user have seen it."""

    __slots__ = ("epoch", "recent", "seq")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.seq = 0
        """The highest that anybody has seen."""
        self.recent: deque[Frame] = deque(maxlen=_RECENT)


class _Fingerprint(NamedTuple):
    events: int
    answer: int
    texts: int
    outcome: str
    error: str


class Resume(Checker):
    """Violations: `skipped`, `rewound` (reading goes on behind or before where it stood, and no gap is announced),
    `epoch` (the thread has become another log, though nobody deleted it), `forgotten` (the log ends before what was
    seen of it), `snapshot` (none at an announced gap, or one where none was announced), `changed` (an event or a run
    is not what it was when it was seen first). A viewer that is gone with its connection has nothing to read on."""

    name: ClassVar[str] = "resume"
    optional: ClassVar[bool] = True

    def __init__(self, format_: Format) -> None:
        super().__init__()
        self._numbered = format_.numbered
        self._ops: dict[int, tuple[Invoke, int]] = {}
        """Operations that may begin a subscription, with the highest seq that had been seen of their thread before."""
        self._asked: OrderedDict[tuple[int, str, str], None] = OrderedDict()
        self._logs: OrderedDict[tuple[int, str], _Log] = OrderedDict()
        self._log_of: dict[Stream, _Log] = {}
        self._due: dict[Stream, int] = {}
        self._runs: OrderedDict[tuple[int, str, str], _Fingerprint] = OrderedDict()

    def invoked(self, op: Invoke) -> None:
        if op.kind == "ask":
            key = op.user, op.thread, op.run
            if key in self._asked:
                return  # asked for again: it begins where its run does
            self._asked[key] = None
            if len(self._asked) > _RUNS:
                self._asked.popitem(last=False)
        if op.kind in ("ask", "attach"):
            log = self._logs.get((op.user, op.thread))
            self._ops[op.op] = op, log.seq if log is not None else 0

    def completed(self, op: Invoke, record: Complete) -> None:  # noqa: ARG002
        self._ops.pop(op.op, None)

    def subscribed(self, stream: Stream, frame: Frame, at: float) -> None:
        if not self._numbered or stream.viewer < 0:
            return
        log = self._log(stream, frame.epoch or "")
        self._due.pop(stream, None)
        op, seen = self._ops.get(frame.re, (None, 0)) if isinstance(frame.re, int) else (None, 0)
        if op is not None and op.kind == "attach":
            self.checked += 1
        where = f"user {stream.user}, thread {stream.thread!r}: the subscription begins at {frame.epoch}.{frame.seq}"
        if frame.epoch != log.epoch:
            witness = f"{where}, but the thread's epoch was {log.epoch}"
            self._tell("epoch", stream, witness, at)
            self._forget_runs(stream)
            log.epoch, log.seq = frame.epoch or "", 0
            log.recent.clear()
        elif op is not None and op.user == stream.user:
            self._compare_start(stream, op, frame, seen, where, at)
        if frame.gap:
            self._due[stream] = frame.seq

    def _compare_start(self, stream: Stream, op: Invoke, frame: Frame, seen: int, where: str, at: float) -> None:
        if op.after is not None:
            seen = op.after
        if frame.seq == seen:
            return
        if op.after is not None and not frame.gap:
            kind = "skipped" if frame.seq > seen else "rewound"
            self._tell(kind, stream, f"{where} instead of {seen}, and no gap is announced", at)
        elif frame.seq < seen:
            self._tell("forgotten", stream, f"{where}, but {seen} had been seen", at)

    def gone(self, stream: Stream, record: Closed) -> None:  # noqa: ARG002
        self.forgotten(stream)

    def forgotten(self, stream: Stream) -> None:
        self._log_of.pop(stream, None)
        self._due.pop(stream, None)

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        if not self._numbered or stream.viewer < 0:
            return
        first = frames[0]
        if self._due or first.run_id is None:
            frames = self._after_snapshot(stream, frames, at)
            if not frames:
                return
            first = frames[0]
        log = self._log_of.get(stream)
        if log is None:
            log = self._log(stream, stream.epoch)
        last = frames[-1].seq
        if log.seq < first.seq <= last:
            log.recent.extend(frames)
            log.seq = last
        elif log.epoch == stream.epoch:
            self._seen_again(stream, log, frames, at)

    def _after_snapshot(self, stream: Stream, frames: Sequence[Frame], at: float) -> Sequence[Frame]:
        """Frames without the snapshot that a gap begins with."""
        due = self._due.pop(stream, None)
        first = frames[0]
        assert first.event is not None
        is_snapshot = first.run_id is None and first.event.type == "MESSAGES_SNAPSHOT"
        place = f"user {stream.user}, thread {stream.thread!r}: "
        if due is not None and not (is_snapshot and first.seq == due):
            witness = f"{place}{first.event.type} at {first.seq} came instead of the gap's snapshot at {due}"
            self._tell("snapshot", stream, witness, at)
        elif due is None and is_snapshot:
            self._tell("snapshot", stream, f"{place}a snapshot at {first.seq} came, but no gap was announced", at)
        return frames[1:] if is_snapshot else frames

    def _seen_again(self, stream: Stream, log: _Log, frames: Sequence[Frame], at: float) -> None:
        known = {frame.seq: frame for frame in log.recent} if log.recent and frames[-1].seq >= log.recent[0].seq else {}
        for frame in frames:
            if frame.seq > log.seq:
                log.recent.append(frame)
                log.seq = frame.seq
                continue
            before = known.get(frame.seq)
            if before is None:
                continue
            self.checked += 1
            if before.event != frame.event or before.run_id != frame.run_id:
                where = f"user {stream.user}, thread {stream.thread!r}"
                witness = f"{where}: event {frame.seq} was {_words(before)} and is {_words(frame)}"
                self._tell("changed", stream, witness, at)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        if not self._numbered or stream.viewer < 0 or not run.whole:
            return
        print_ = _Fingerprint(run.events, hash(run.answer), hash(run.rest), run.outcome, run.error)
        key = stream.user, stream.thread, run.run
        before = self._runs.setdefault(key, print_)
        if before is not print_:
            self.checked += 1
            if before != print_:
                what = ", ".join(
                    name for name, old, new in zip(_Fingerprint._fields, before, print_, strict=True) if old != new
                )
                witness = f"user {stream.user}, thread {stream.thread!r}: run {run.run!r} has changed: {what}"
                self._tell("changed", stream, witness, at)
        elif len(self._runs) > _RUNS:
            self._runs.popitem(last=False)
        log = self._log_of.get(stream)
        if log is not None:
            log.recent.clear()  # from now on the fingerprint stands for it

    def _log(self, stream: Stream, epoch: str) -> _Log:
        key = stream.user, stream.thread
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = _Log(epoch)
            if len(self._logs) > _LOGS:
                self._logs.popitem(last=False)
        log.epoch = log.epoch or epoch  # of a thread that was forgotten meanwhile only its next subscription says it
        self._log_of[stream] = log
        return log

    def _forget_runs(self, stream: Stream) -> None:
        for key in [key for key in self._runs if key[:2] == (stream.user, stream.thread)]:
            del self._runs[key]

    def _tell(self, kind: str, stream: Stream, witness: str, at: float) -> None:
        self.violate(kind, at, stream.user, witness, thread=stream.thread)


def _words(frame: Frame) -> str:
    event = frame.event
    assert event is not None
    fields = {
        name: value
        for name in event.__struct_fields__
        if (value := getattr(event, name)) is not None and name != "type"
    }
    return f"{event.type} of run {frame.run_id!r} {fields}"
