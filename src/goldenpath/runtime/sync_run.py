"""The run as a plain function sees it: the names of `Run` without `await`, callable from the function's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, TypeVar

from goldenpath.clock import Clock
from goldenpath.runtime.breakers import DependencyCall
from goldenpath.runtime.context import UserExecutionContext
from goldenpath.runtime.flags.flags import UserFlags
from goldenpath.runtime.run import Run
from goldenpath.runtime.spans import Span, TextStream, ToolCallStream
from goldenpath.wire import events as ev
from goldenpath.wire.messages import Content, Message, RunAgentInput

S = TypeVar("S", bound=Span)
T = TypeVar("T")


class SyncRun:
    """One run of a plain function. Once the run was cancelled, the next call that emits raises
    `asyncio.CancelledError` into the function. Safe to use from any thread but the event loop's."""

    def __init__(self, run: Run, loop: asyncio.AbstractEventLoop) -> None:
        self._run = run
        self._loop = loop

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._run.cancelled:
            coroutine.close()
            raise asyncio.CancelledError
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    @property
    def context(self) -> UserExecutionContext:
        return self._run.context

    @property
    def input(self) -> RunAgentInput:
        return self._run.input

    @property
    def flags(self) -> UserFlags:
        return self._run.flags

    @property
    def messages(self) -> list[Message]:
        return self._run.messages

    @property
    def clock(self) -> Clock:
        return self._run.clock

    @property
    def cancelled(self) -> bool:
        return self._run.cancelled

    @property
    def user_text(self) -> str:
        return self._run.user_text

    @property
    def deadline(self) -> float:
        return self._run.deadline

    def remaining(self) -> float:
        return self._run.remaining()

    def dependency(
        self, name: str, *, what: str = "something the agent needs", model: str | None = None
    ) -> SyncDependencyCall:
        return SyncDependencyCall(self, self._run.dependency(name, what=what, model=model))

    def emit(self, event: ev.Event) -> None:
        self._call(self._run.emit(event))

    def text(self, text: str, *, message_id: str | None = None) -> str:
        return self._call(self._run.text(text, message_id=message_id))

    def message(self, *, message_id: str | None = None, name: str | None = None) -> SyncTextStream:
        return SyncTextStream(self, self._run.message(message_id=message_id, name=name))

    def reasoning(self, *, message_id: str | None = None) -> SyncTextStream:
        return SyncTextStream(self, self._run.reasoning(message_id=message_id))

    def tool_call(
        self, name: str, *, tool_call_id: str | None = None, parent_message_id: str | None = None
    ) -> SyncToolCallStream:
        stream = self._run.tool_call(name, tool_call_id=tool_call_id, parent_message_id=parent_message_id)
        return SyncToolCallStream(self, stream)

    def tool_result(self, tool_call_id: str, content: Content, *, message_id: str | None = None) -> None:
        self._call(self._run.tool_result(tool_call_id, content, message_id=message_id))

    def pending(self, tool_call_id: str) -> None:
        self._run.pending(tool_call_id)

    def usage(self, tokens: dict[str, Any]) -> None:
        self._run.usage(tokens)

    def step(self, name: str) -> SyncSpan[Span]:
        return SyncSpan(self, self._run.step(name))

    def state(self, snapshot: Any) -> None:
        self._call(self._run.state(snapshot))

    def state_delta(self, patch: list[dict[str, Any]]) -> None:
        self._call(self._run.state_delta(patch))

    def custom(self, name: str, value: Any) -> None:
        self._call(self._run.custom(name, value))

    def interrupt(
        self,
        reason: str,
        *,
        message: str | None = None,
        tool_call_id: str | None = None,
        response_schema: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        interrupt_id: str | None = None,
    ) -> NoReturn:
        self._run.interrupt(
            reason,
            message=message,
            tool_call_id=tool_call_id,
            response_schema=response_schema,
            metadata=metadata,
            interrupt_id=interrupt_id,
        )

    def on_cleanup(self, callback: Callable[[], object]) -> None:
        # It may block, as the function may: not on the event loop.
        self._run.on_cleanup(lambda: self._run.in_thread(callback))


class SyncDependencyCall:
    """A call of something that may be down, by a plain function: `with` it."""

    def __init__(self, run: SyncRun, call: DependencyCall) -> None:
        self._run = run
        self._dependency = call

    async def _enter(self) -> None:
        self._dependency.__enter__()

    async def _exit(self, error: BaseException | None) -> None:
        self._dependency.__exit__(None, error, None)

    async def _answered(self) -> None:
        self._dependency.answered()

    def __enter__(self) -> Self:
        self._run._call(self._enter())  # noqa: SLF001 - part of SyncRun
        return self

    def answered(self) -> None:
        self._run._call(self._answered())  # noqa: SLF001

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Leaving must also work after a cancel: a probe has its place until it is told of.
        asyncio.run_coroutine_threadsafe(self._exit(error), self._run._loop).result()  # noqa: SLF001


class SyncSpan(Generic[S]):
    """A part of a run, by a plain function: `with` it."""

    def __init__(self, run: SyncRun, span: S) -> None:
        self._run = run
        self._span = span

    @property
    def id(self) -> str:
        return self._span.id

    def __enter__(self) -> Self:
        self._run._call(self._span.__aenter__())  # noqa: SLF001 - part of SyncRun
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Leaving must also work after a cancel, so that what is open gets closed.
        left = self._span.__aexit__(kind, error, trace)
        asyncio.run_coroutine_threadsafe(left, self._run._loop).result()  # noqa: SLF001


class SyncTextStream(SyncSpan[TextStream]):
    """A message that is being written by a plain function."""

    def write(self, delta: str) -> None:
        self._run._call(self._span.write(delta))  # noqa: SLF001 - part of SyncRun


class SyncToolCallStream(SyncSpan[ToolCallStream]):
    """A tool call whose arguments are being written by a plain function."""

    def args(self, delta: str) -> None:
        self._run._call(self._span.args(delta))  # noqa: SLF001 - part of SyncRun
