"""The run as a plain function sees it: the names of `Run` without `await`, callable from the function's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, NoReturn, TypeVar

from goldenpath.clock import Clock
from goldenpath.runtime.context import UserExecutionContext
from goldenpath.runtime.offload import call_in_thread
from goldenpath.runtime.run import Run
from goldenpath.runtime.spans import TextStream, ToolCallStream
from goldenpath.wire import events as ev

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

    @contextmanager
    def _within(self, block: AbstractAsyncContextManager[T]) -> Iterator[T]:
        value = self._call(_enter(block))
        try:
            yield value
        finally:
            # Leaving must also work after a cancel, so that what is open gets closed.
            asyncio.run_coroutine_threadsafe(_leave(block), self._loop).result()

    @property
    def context(self) -> UserExecutionContext:
        return self._run.context

    @property
    def input(self) -> ev.RunAgentInput:
        return self._run.input

    @property
    def messages(self) -> list[ev.Message]:
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

    def emit(self, event: ev.Event) -> None:
        self._call(self._run.emit(event))

    def text(self, text: str, *, message_id: str | None = None) -> str:
        return self._call(self._run.text(text, message_id=message_id))

    @contextmanager
    def message(self, *, message_id: str | None = None, name: str | None = None) -> Iterator[SyncTextStream]:
        with self._within(self._run.message(message_id=message_id, name=name)) as stream:
            yield SyncTextStream(self, stream)

    @contextmanager
    def reasoning(self, *, message_id: str | None = None) -> Iterator[SyncTextStream]:
        with self._within(self._run.reasoning(message_id=message_id)) as stream:
            yield SyncTextStream(self, stream)

    @contextmanager
    def tool_call(
        self, name: str, *, tool_call_id: str | None = None, parent_message_id: str | None = None
    ) -> Iterator[SyncToolCallStream]:
        block = self._run.tool_call(name, tool_call_id=tool_call_id, parent_message_id=parent_message_id)
        with self._within(block) as stream:
            yield SyncToolCallStream(self, stream)

    def tool_result(self, tool_call_id: str, content: ev.Content, *, message_id: str | None = None) -> None:
        self._call(self._run.tool_result(tool_call_id, content, message_id=message_id))

    def pending(self, tool_call_id: str) -> None:
        self._run.pending(tool_call_id)

    def usage(self, tokens: dict[str, Any]) -> None:
        self._run.usage(tokens)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        with self._within(self._run.step(name)):
            yield

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
        self._run.on_cleanup(lambda: call_in_thread(callback))


class SyncTextStream:
    """A message that is being written by a plain function."""

    def __init__(self, run: SyncRun, stream: TextStream) -> None:
        self._run = run
        self._stream = stream

    @property
    def id(self) -> str:
        return self._stream.id

    def write(self, delta: str) -> None:
        self._run._call(self._stream.write(delta))  # noqa: SLF001 - part of SyncRun


class SyncToolCallStream:
    """A tool call whose arguments are being written by a plain function."""

    def __init__(self, run: SyncRun, stream: ToolCallStream) -> None:
        self._run = run
        self._stream = stream

    @property
    def id(self) -> str:
        return self._stream.id

    def args(self, delta: str) -> None:
        self._run._call(self._stream.args(delta))  # noqa: SLF001 - part of SyncRun


async def _enter(block: AbstractAsyncContextManager[T]) -> T:
    return await block.__aenter__()


async def _leave(block: AbstractAsyncContextManager[Any]) -> None:
    await block.__aexit__(None, None, None)
