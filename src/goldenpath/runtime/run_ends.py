"""How the runs of a thread ended, and after which of its messages: the history says neither.

Both lie in the events, which are read from their segments: of each run the last one, and only of those whose end says
something also what came before it. A thread of many long runs is therefore not read as a whole.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

import msgspec

from goldenpath.runtime.event_log import EventLog
from goldenpath.runtime.interfaces import LogStore, RunRow, Segment
from goldenpath.runtime.thread_log import ThreadLog
from goldenpath.wire import events as ev
from goldenpath.wire.answers import RunEnd
from goldenpath.wire.messages import ResumeEntry, StartedInput, ToolMessage

ANCHORS: Final = 8
"""How many of the things said before an end are named. Some may be in no message: text that never came, a result."""

_BEGIN_SOMETHING: Final = tuple(
    b'{"type":"%b"' % name
    for name in (
        b"RUN_STARTED",
        b"TEXT_MESSAGE_START",
        b"REASONING_MESSAGE_START",
        b"TOOL_CALL_START",
        b"ACTIVITY_SNAPSHOT",
        b"TEXT_MESSAGE_CHUNK",
        b"REASONING_MESSAGE_CHUNK",
        b"TOOL_CALL_CHUNK",
    )
)


class RunEnds:
    """Reads how runs ended. Belongs to one event loop; calls may run concurrently."""

    def __init__(self, event_log: EventLog, store: LogStore, max_bytes: int) -> None:
        self._event_log = event_log
        self._store = store
        self._max_bytes = max_bytes

    async def read(self, log: ThreadLog, runs: list[RunRow]) -> tuple[list[RunEnd], bool]:
        """The ends of those of `runs` that ended other than by just finishing, in the order of the log: the newest, as
        far as their events are held and, with what was answered, within `max_bytes` together. And whether that is all.

        The ends are durable, and the log is pinned. Raises `StoreError`; cancelling is safe.
        """
        held = _Segments(self._store, log)
        ends: list[RunEnd] = []
        size = 0
        for run in sorted((run for run in runs if run.last_seq), key=lambda run: -run.last_seq):
            sealed = await held.event(run.last_seq)
            if sealed is None:
                return ends[::-1], False  # what is older was removed as well
            event = ev.decode_event(sealed)
            if _says_nothing(event):
                continue
            after = await _said_before(held, run.last_seq)
            if after is None:
                return ends[::-1], False
            began = _given(await held.event(run.first_seq))
            resume = None if began is None else began.resume
            answers = None
            if _asks(event) and run.last_seq < log.visible:
                answers = _answers(await self._given_next(log, held, run.last_seq + 1))
            end = RunEnd(run.run_id, run.last_seq, msgspec.Raw(sealed), after, resume, answers)
            size += len(msgspec.json.encode(end))
            if size > self._max_bytes:
                return ends[::-1], False
            ends.append(end)
        return ends[::-1], True

    async def _given_next(self, log: ThreadLog, held: _Segments, seq: int) -> StartedInput | None:
        """What the next run was given, which may still be active and in no segment."""
        sealed = await held.event(seq)
        if sealed is None:
            batch = await self._event_log.read(log, seq - 1, 1)
            sealed = None if batch is None else batch.events[0]
        return _given(sealed)


class _Segments:
    """The segments of a log, read backwards. A run that ended lies in segments as a whole."""

    def __init__(self, store: LogStore, log: ThreadLog) -> None:
        self._store = store
        self._epoch = log.epoch
        self._recent: deque[Segment] = deque(maxlen=4)

    async def holding(self, seq: int) -> Segment | None:
        """The segment that holds this event; None where there is none (any more)."""
        for segment in self._recent:
            if segment.first_seq <= seq <= segment.last_seq:
                return segment
        found = await self._store.segments(self._epoch, seq - 1, 1) if seq > 0 else []
        if not found or found[0].first_seq > seq:
            return None
        self._recent.append(found[0])
        return found[0]

    async def event(self, seq: int) -> bytes | None:
        """The event of this seq, where a segment holds it."""
        segment = await self.holding(seq)
        return None if segment is None else segment.events[seq - segment.first_seq]


async def _said_before(held: _Segments, seq: int) -> list[str] | None:
    """The ids of the messages and tool calls that began last before the terminal event `seq`, the last first, back to
    what a run was told. None where that is not known any more."""
    found: list[str] = []
    while seq > 1:
        segment = await held.holding(seq - 1)
        if segment is None:
            return found or None  # what was before was removed
        for event in reversed(segment.events[: seq - segment.first_seq]):
            if event.startswith(_BEGIN_SOMETHING):
                begun = ev.decode_event(event)
                found += (each for each in _begins(begun) if each not in found)
                if len(found) >= ANCHORS or (found and isinstance(begun, ev.RunStarted) and _tells(begun)):
                    return found[:ANCHORS]
        seq = segment.first_seq
    return found


def _given(sealed: bytes | None) -> StartedInput | None:
    """What the run was given whose RUN_STARTED this is."""
    event = None if sealed is None else ev.decode_event(sealed)
    return event.input if isinstance(event, ev.RunStarted) else None


def _tells(event: ev.RunStarted) -> bool:
    """Whether a run came with a message that is shown as one: a tool's result is shown with its call."""
    return event.input is not None and any(not isinstance(each, ToolMessage) for each in event.input.messages)


def _says_nothing(event: ev.Event) -> bool:
    """Whether the run just finished: its messages are all there is to show."""
    if not isinstance(event, ev.RunFinished) or event.result is not None:
        return False
    outcome = event.outcome
    return outcome is None or (isinstance(outcome, ev.SuccessOutcome) and not outcome.pending_tool_call_ids)


def _asks(event: ev.Event) -> bool:
    """Whether the run left something to answer; other outcomes of what is shown leave nothing."""
    return isinstance(event, ev.RunFinished) and isinstance(event.outcome, ev.InterruptOutcome | ev.SuccessOutcome)


def _answers(given: StartedInput | None) -> list[ResumeEntry]:
    """What a run was given for what the run before it asked: answers, and results of tool calls as such."""
    if given is None:
        return []
    results = (message for message in given.messages if isinstance(message, ToolMessage))
    return [*(given.resume or ()), *map(_answer_of, results)]


def _answer_of(result: ToolMessage) -> ResumeEntry:
    payload = result.content if isinstance(result.content, str) else None
    status: Literal["resolved", "cancelled"] = "resolved" if result.error is None else "cancelled"
    return ResumeEntry(interrupt_id=result.tool_call_id, status=status, payload=payload)


def _begins(event: ev.Event) -> list[str]:
    """The ids of what an event begins, the last first."""
    match event:
        case ev.RunStarted():
            return [] if event.input is None else [message.id for message in reversed(event.input.messages)]
        case ev.ToolCallStart() | ev.ToolCallChunk():
            return [] if event.tool_call_id is None else [event.tool_call_id]
        case ev.TextMessageStart() | ev.TextMessageChunk() | ev.ReasoningMessageStart() | ev.ReasoningMessageChunk():
            return [] if event.message_id is None else [event.message_id]
        case ev.ActivitySnapshot():
            return [event.message_id]
        case _:
            return []
