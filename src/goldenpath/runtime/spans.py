"""The parts of a run that have a beginning and an end: messages, reasoning, tool calls, steps.

Each is an async context manager: entering it appends what opens it, leaving it what closes it, also on an error. What
the end of the run closed already is left alone.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Protocol, Self

from goldenpath.wire import events as ev
from goldenpath.wire.errors import GoldenpathError
from goldenpath.wire.events import encode, encode_text
from goldenpath.wire.order import OrderError, Place, RunOrder

_BLOCKS: Final = {"message": "message()", "reasoning message": "reasoning()", "tool call": "tool_call(...)"}
"""By what is open, the block that opens it."""


class RunEndedError(GoldenpathError):
    """The run has its end, or its thread was deleted; its agent can say nothing more."""


class Emitter(Protocol):
    """The run, as its parts need it."""

    ended: bool
    order: RunOrder

    @property
    def closed(self) -> bool: ...

    async def emit(self, event: ev.Event) -> None: ...

    def append(self, data: bytes) -> bool: ...

    async def keep_pace(self) -> None: ...


class Span:
    """A part of a run. `id` is what its events are told by: a message's id, a tool call's, a step's name."""

    __slots__ = ("_ends", "_run", "_starts", "id")

    def __init__(
        self, run: Emitter, identity: str, starts: tuple[ev.Event, ...], ends: tuple[tuple[Place, ev.Event], ...]
    ) -> None:
        self.id = identity
        self._run = run
        self._starts = starts
        self._ends = ends

    async def __aenter__(self) -> Self:
        for event in self._starts:
            await self._run.emit(event)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run = self._run
        for place, event in self._ends:
            # After the end everything is closed already; and a block left by an error must not hide that error.
            if not run.ended and place in run.order.places:
                await run.emit(event)

    def _refuse_outside(self) -> None:
        """Raises `OrderError` where the block is not entered, or left; `RunEndedError` after the end of the run."""
        run, place = self._run, self._ends[0][0]
        if place in run.order.places:
            return
        if run.closed:
            raise RunEndedError(f"the run of {place[0]} {self.id} has its end")
        block = _BLOCKS[place[0]]
        raise OrderError(
            f"{place[0]} {self.id!r} is not open: use `async with run.{block}` (in a plain function `with`), and write"
            " inside the block"
        )


class TextStream(Span):
    """A message, or a thought, that is being written."""

    __slots__ = ("_place", "_prefix")

    def __init__(
        self,
        run: Emitter,
        identity: str,
        starts: tuple[ev.Event, ...],
        ends: tuple[tuple[Place, ev.Event], ...],
        event_type: str,
    ) -> None:
        super().__init__(run, identity, starts, ends)
        self._place = ends[0][0]
        # The same bytes that encoding the event's struct gives: a test compares them.
        self._prefix = b'{"type":"%b","messageId":%b,"delta":' % (event_type.encode(), encode(identity))

    async def write(self, delta: str) -> None:
        """Append `delta`; an empty one is left out. Raises as `Run.emit` does, `OrderError` outside the `async with`,
        and TypeError for what is no text."""
        if not isinstance(delta, str):
            raise TypeError(f"a delta is text, not {type(delta).__name__}")
        if not delta:
            return
        run = self._run
        if self._place not in run.order.places:
            self._refuse_outside()
        if run.append(b"%b%b}" % (self._prefix, encode_text(delta))):
            await run.keep_pace()


class ToolCallStream(Span):
    """A tool call whose arguments are being written."""

    __slots__ = ()

    async def args(self, delta: str) -> None:
        """Append `delta` to the arguments' JSON text; an empty one is left out. Raises as `Run.emit` does, `OrderError`
        outside the `async with`."""
        if delta:
            self._refuse_outside()
            await self._run.emit(ev.ToolCallArgs(self.id, delta))


def message(run: Emitter, identity: str, name: str | None) -> TextStream:
    start = ev.TextMessageStart(identity, role="assistant", name=name)
    end = ("message", identity), ev.TextMessageEnd(identity)
    return TextStream(run, identity, (start,), (end,), "TEXT_MESSAGE_CONTENT")


def reasoning(run: Emitter, identity: str) -> TextStream:
    starts = ev.ReasoningStart(identity), ev.ReasoningMessageStart(identity)
    ends = (
        (("reasoning message", identity), ev.ReasoningMessageEnd(identity)),
        (("reasoning", identity), ev.ReasoningEnd(identity)),
    )
    return TextStream(run, identity, starts, ends, "REASONING_MESSAGE_CONTENT")


def tool_call(run: Emitter, identity: str, name: str, parent_message_id: str | None) -> ToolCallStream:
    start = ev.ToolCallStart(identity, name, parent_message_id=parent_message_id)
    return ToolCallStream(run, identity, (start,), ((("tool call", identity), ev.ToolCallEnd(identity)),))


def step(run: Emitter, name: str) -> Span:
    return Span(run, name, (ev.StepStarted(name),), ((("step", name), ev.StepFinished(name)),))
