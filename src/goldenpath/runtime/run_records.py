"""What became of each run and when: the timeline that operators look at. Times and names of work, never what was said.

Every run has a record from its acceptance on. Those that have not ended are as many as admission lets in; of the others
the newest are kept. A record holds no reference to its run, so that looking at the past keeps nothing alive.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, Literal, Protocol

import msgspec

from goldenpath.clock import Clock
from goldenpath.wire import events as ev

KEPT: Final = 500
"""How many records of runs that ended are kept."""
MAX_STEPS: Final = 64
"""So many steps of one run are kept, the first; the others are counted. A full record takes some 10 KB."""
MAX_NAME: Final = 128
"""How much of the name of a step is kept, in characters."""

StepKind = Literal["tool", "call", "step"]
"""A tool call as the user sees it, a call of something that the run depends on, a step that the agent has named."""


class Step(msgspec.Struct, gc=False):
    """A part of a run's work. Times are monotonic; `ended` None: not yet, or never told."""

    kind: StepKind
    name: str
    began: float
    ended: float | None = None
    failed: bool = False


class RunRecord:
    """One run. Belongs to the event loop's thread. Times are seconds on the monotonic time line; None: not yet, or
    never."""

    __slots__ = (
        "_open", "accepted", "accepted_at", "agent", "begun_at", "bytes", "counted_bytes", "counted_events",
        "ended_at", "error", "events", "first_words_at", "made_at", "number", "run_id", "started_at", "status", "steps",
        "steps_dropped", "thread_id", "tier", "timed_out", "user_id",
    )  # fmt: skip

    def __init__(
        self, user_id: str, tier: str, thread_id: str, run_id: str, agent: str, now: float, time: float
    ) -> None:
        """Of a run that comes at `now`; `time` is the same as Unix time."""
        self.number = 0
        """What the run is asked for by: it says nothing of whose it is. 0: it is not accepted."""
        self.user_id = user_id
        self.tier = tier
        self.thread_id = thread_id
        self.run_id = run_id
        self.agent = agent
        self.accepted = time
        """In Unix time."""
        self.accepted_at = now
        self.begun_at: float | None = None
        """It has its place."""
        self.started_at: float | None = None
        """Its history is loaded, and RUN_STARTED in the log."""
        self.made_at: float | None = None
        """Its engine is made: the agent begins."""
        self.first_words_at: float | None = None
        """Its first words are durable, for all to see."""
        self.ended_at: float | None = None
        self.status = "queued"
        self.error: str | None = None
        """The code of the error that it ended with."""
        self.timed_out: str | None = None
        """Which time-out ended it."""
        self.events = 0
        self.bytes = 0
        self.counted_events = self.counted_bytes = 0
        """What of these the load of its user holds already."""
        self.steps: list[Step] = []
        self.steps_dropped = 0
        self._open: dict[tuple[StepKind, str], Step] = {}

    def begun(self, now: float) -> None:
        self.begun_at, self.status = now, "running"

    def begin_step(self, kind: StepKind, key: str, name: str, now: float) -> None:
        """Note the begin of a step; `key` tells it from others of its kind."""
        if len(self.steps) >= MAX_STEPS:
            self.steps_dropped += 1
            return
        step = Step(kind, name[:MAX_NAME], now)
        self.steps.append(step)
        self._open[kind, key] = step

    def end_step(self, kind: StepKind, key: str, now: float, *, failed: bool = False) -> None:
        """Note its end. Harmless for a step that is not kept."""
        step = self._open.pop((kind, key), None)
        if step is not None:
            step.ended, step.failed = now, failed

    def note(self, event: ev.Event, now: float) -> None:
        """Note one of the events of `STEP_EVENTS`. A tool call ends with its result; where there is none, the record
        does not say when."""
        match event:
            case ev.ToolCallStart():
                self.begin_step("tool", event.tool_call_id, event.tool_call_name, now)
            case ev.ToolCallResult():
                self.end_step("tool", event.tool_call_id, now)
            case ev.StepStarted():
                self.begin_step("step", event.step_name, event.step_name, now)
            case ev.StepFinished():
                self.end_step("step", event.step_name, now)
            case _:
                return

    def close(self, status: str, error: str | None, now: float) -> None:
        self.status, self.error, self.ended_at = status, error, now
        self._open.clear()


STEP_EVENTS: Final = frozenset({ev.ToolCallStart, ev.ToolCallResult, ev.StepStarted, ev.StepFinished})


class CallSpan(Protocol):
    """What is told of one call of something that a run depends on."""

    def begins(self) -> None: ...

    def ends(self, error: BaseException | None) -> None: ...


class RecordedCall:
    """Notes a call in a run's record, and tells `inner`, where there is one. Ends once; it may end without a begin,
    where the call was refused: then it is a failed step of no length."""

    __slots__ = ("_begun", "_clock", "_inner", "_name", "_record")

    def __init__(self, record: RunRecord, name: str, clock: Clock, inner: CallSpan | None) -> None:
        self._record = record
        self._name = name
        self._clock = clock
        self._inner = inner
        self._begun = False

    def begins(self) -> None:
        self._note_begin(self._clock.monotonic())
        if self._inner is not None:
            self._inner.begins()

    def ends(self, error: BaseException | None) -> None:
        now = self._clock.monotonic()
        if not self._begun:
            self._note_begin(now)
        self._record.end_step("call", self._key, now, failed=error is not None)
        if self._inner is not None:
            self._inner.ends(error)

    def _note_begin(self, now: float) -> None:
        self._begun = True
        self._record.begin_step("call", self._key, self._name, now)

    @property
    def _key(self) -> str:
        return f"{id(self):x}"


class RunRecords:
    """The records of one server. Belongs to the event loop's thread."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._number = 0
        self._active: dict[int, RunRecord] = {}
        self._ended: OrderedDict[int, RunRecord] = OrderedDict()
        self.ended = 0
        """How many runs have ended since the start."""
        self.failed = 0
        """How many of them failed or timed out."""
        self.on_close: Callable[[RunRecord], object] | None = None
        """Is shown every record when its run has ended. It must not raise."""

    def accept(self, record: RunRecord) -> None:
        """Its run is accepted: number it, and keep it."""
        self._number += 1
        record.number = self._number
        self._active[record.number] = record

    def close(self, record: RunRecord, status: str, error: str | None, now: float) -> None:
        """Its run has ended. Harmless when repeated."""
        if self._active.pop(record.number, None) is None:
            return
        record.close(status, error, now)
        self.ended += 1
        self.failed += status == "failed"
        self._ended[record.number] = record
        if len(self._ended) > self._kept:
            self._ended.popitem(last=False)
        if self.on_close is not None:
            self.on_close(record)

    def get(self, number: int) -> RunRecord | None:
        """The record of this number; None: there was none, or it is not kept any more."""
        return self._active.get(number) or self._ended.get(number)

    def active(self) -> Iterator[RunRecord]:
        """Those that have not ended, the newest first."""
        return reversed(self._active.values())

    def recent(self) -> Iterator[RunRecord]:
        """Those that ended and are kept, the last that ended first."""
        return reversed(self._ended.values())
