"""Order: the events of a run in the order that AG-UI asks for, and the runs of a thread one after another.

The table is the lab's own, of type strings, so that it shares no mistake with a server. What was opened before a viewer
began to read cannot be known: until the first RUN_STARTED comes, everything may be open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import ClassVar, Final, Literal

from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import TERMINAL, Event, Format, Frame
from goldenpath.lab.records import Closed
from goldenpath.lab.stream import CONTENT, Stream

_Step = Literal["opens", "continues", "closes"]
_PLACES: Final[dict[str, tuple[_Step, str, str]]] = {
    "TEXT_MESSAGE_START": ("opens", "message", "message_id"),
    "TEXT_MESSAGE_CONTENT": ("continues", "message", "message_id"),
    "TEXT_MESSAGE_END": ("closes", "message", "message_id"),
    "TOOL_CALL_START": ("opens", "tool call", "tool_call_id"),
    "TOOL_CALL_ARGS": ("continues", "tool call", "tool_call_id"),
    "TOOL_CALL_END": ("closes", "tool call", "tool_call_id"),
    "REASONING_START": ("opens", "reasoning", "message_id"),
    "REASONING_END": ("closes", "reasoning", "message_id"),
    "REASONING_MESSAGE_START": ("opens", "reasoning message", "message_id"),
    "REASONING_MESSAGE_CONTENT": ("continues", "reasoning message", "message_id"),
    "REASONING_MESSAGE_END": ("closes", "reasoning message", "message_id"),
    "STEP_STARTED": ("opens", "step", "step_name"),
    "STEP_FINISHED": ("closes", "step", "step_name"),
    "SUBAGENT_STARTED": ("opens", "subagent", "subagent_run_id"),
    "SUBAGENT_FINISHED": ("closes", "subagent", "subagent_run_id"),
    "SUBAGENT_ERROR": ("closes", "subagent", "subagent_run_id"),
}
"""What an event does, to what, and the field that says to which one. Events that are not here have no order: snapshots,
chunks, results, and the THINKING events of AG-UI 0.x, which have no ids."""
_NAMED: Final = ("RUN_STARTED", "RUN_FINISHED")
"""Events that name their run and thread themselves."""
_PAST: Final = 32
"""How many runs of a stream are remembered, to know one that comes again."""


class _Reading:
    """What a viewer knows of the present run."""

    __slots__ = ("message", "middle", "open", "over", "past", "run", "seq")

    def __init__(self, *, middle: bool, seq: int = 0) -> None:
        self.run: str | None = None
        self.middle = middle
        """Whether the run may have begun before the reading did."""
        self.over = False
        self.open: dict[tuple[str, str | None], None] = {}
        self.message: str | None = None
        """An open message: the next piece is most often of the same."""
        self.past: deque[str] = deque(maxlen=_PAST)
        self.seq = seq


class Order(Checker):
    """Violations: `unstarted` (a run without RUN_STARTED at its beginning), `restarted` (RUN_STARTED again), `unopened`
    (a piece or an end of what is not open), `reopened` (a start of what is open), `unclosed` (open at RUN_FINISHED),
    `interleaved` (a run's events between another's), `misnamed` (an event says itself that it is another run's, or
    another thread's), `ownerless` (an event of no run that is not the snapshot at a gap).

    Events that came before are left to `delivery`, those after the end of their run to `terminal`."""

    name: ClassVar[str] = "order"

    def __init__(self, format_: Format) -> None:
        super().__init__()
        self._numbered = format_.numbered
        self._readings: dict[Stream, _Reading] = {}

    def subscribed(self, stream: Stream, frame: Frame, at: float) -> None:  # noqa: ARG002
        if not stream.stands_at(frame):
            self._readings[stream] = _Reading(middle=frame.seq != 0, seq=frame.seq)

    def gone(self, stream: Stream, record: Closed) -> None:  # noqa: ARG002
        self.forgotten(stream)

    def forgotten(self, stream: Stream) -> None:
        self._readings.pop(stream, None)

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        self.checked += len(frames)
        reading = self._readings.get(stream)
        if reading is None:
            reading = self._readings[stream] = _Reading(middle=self._numbered)
        for frame in frames:
            event = frame.event
            if (
                event.type == CONTENT  # type: ignore[union-attr]  # each has an event; to assert it costs
                and event.message_id == reading.message  # type: ignore[union-attr]  # the same
                and frame.run_id == reading.run
                and reading.message is not None
            ):
                continue
            self._step(stream, reading, frame, at)
        reading.seq = max(reading.seq, frame.seq)

    def pieces(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        reading = self._readings.get(stream)
        if reading is None or reading.message is None:
            self.events(stream, frames, at)
            return
        self.checked += len(frames)
        reading.seq = frames[-1].seq

    def _step(self, stream: Stream, reading: _Reading, frame: Frame, at: float) -> None:
        if frame.seq:
            if frame.seq <= reading.seq:
                return
            reading.seq = frame.seq
        event, run = frame.event, frame.run_id
        assert event is not None
        if run is None:  # the snapshot at a gap: what came before it was not seen
            if event.type != "MESSAGES_SNAPSHOT":
                self._tell("ownerless", stream, "", f"{event.type} came, which is no run's", at)
                return
            self._readings[stream] = _Reading(middle=True, seq=frame.seq)
            return
        if event.type in _NAMED:
            self._name(stream, run, event, at)
        if run != reading.run:
            self._turn(stream, reading, run, event.type, at)
        elif event.type == "RUN_STARTED":
            self._tell("restarted", stream, run, "RUN_STARTED came again", at)
        if reading.over:
            return
        if event.type in TERMINAL:
            if event.type == "RUN_FINISHED" and reading.open:
                what, name = next(iter(reading.open))
                self._tell("unclosed", stream, run, f"RUN_FINISHED came while {what} {name!r} was open", at)
            reading.over = True
            reading.message = None
            reading.open.clear()
            return
        place = _PLACES.get(event.type)
        if place is not None:
            self._place(stream, reading, event, place, at)

    def _name(self, stream: Stream, run: str, event: Event, at: float) -> None:
        for what, said, right in (("run", event.run_id, run), ("thread", event.thread_id, stream.thread)):
            if said is not None and said != right:
                self._tell("misnamed", stream, run, f"{event.type} says that it is of {what} {said!r}", at)

    def _turn(self, stream: Stream, reading: _Reading, run: str, kind: str, at: float) -> None:
        """Events of another run than before."""
        before = reading.run
        again = run in reading.past
        if before is not None and not reading.over:
            witness = f"{kind} came while run {before!r} of the same thread had not ended"
            self._tell("interleaved", stream, run, witness, at)
        elif again:
            self._tell("interleaved", stream, run, f"{kind} came after events of run {before!r}", at)
        elif kind != "RUN_STARTED" and not (reading.middle and before is None):
            self._tell("unstarted", stream, run, f"its first event is {kind}", at)
        if before is not None:
            reading.past.append(before)
        reading.run = run
        reading.over = False
        reading.middle = kind != "RUN_STARTED"
        reading.open.clear()
        reading.message = None

    def _place(self, stream: Stream, reading: _Reading, event: Event, place: tuple[_Step, str, str], at: float) -> None:
        step, what, field = place
        key = what, getattr(event, field)
        is_open = key in reading.open
        assert reading.run is not None
        if step == "opens":
            if is_open:
                self._tell("reopened", stream, reading.run, f"{event.type} of {what} {key[1]!r}, which is open", at)
            reading.open[key] = None
        elif not is_open and not reading.middle:
            witness = f"{event.type} of {what} {key[1]!r}, which is not open"
            self._tell("unopened", stream, reading.run, witness, at)
        if step == "closes":
            reading.open.pop(key, None)
            if key[1] == reading.message:
                reading.message = None
        else:
            reading.open[key] = None  # told once, or opened before the reading began
            if what == "message":
                reading.message = key[1]

    def _tell(self, kind: str, stream: Stream, run: str, witness: str, at: float) -> None:
        sentence = f"user {stream.user}, thread {stream.thread!r}, run {run!r}: {witness}"
        self.violate(kind, at, stream.user, sentence, thread=stream.thread, run=run)
