"""One viewer's operations: each is recorded, given up in the end, and its outcome is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from goldenpath.lab.frames import Frame
from goldenpath.lab.progress import Progress, refusal
from goldenpath.lab.recorder import Recorder
from goldenpath.lab.records import Invoke, Kind
from goldenpath.lab.target import Client, TargetError

T = TypeVar("T")

_OVER_THE_CONNECTION: Final = frozenset(("ask", "attach", "cancel", "intrude"))


class OperationError(Exception):
    """An operation was not ok. It is recorded already."""

    def __init__(self, op: Invoke, code: str, detail: str) -> None:
        super().__init__(f"{op.kind}: {code} {detail}")
        self.code = code


class Operations:
    """Begins and ends a viewer's operations. They may be concurrent."""

    def __init__(self, user: int, client: Client, recorder: Recorder, progress: Progress, patience: float) -> None:
        self.patience = patience
        """How many seconds an operation may take before it is given up."""
        self.intended: float | None = None
        """From when the next operation counts, a time of the history; None: from its beginning."""
        self._user = user
        self._client = client
        self._recorder = recorder
        self._progress = progress

    def invoke(self, kind: Kind, **fields: Any) -> Invoke:
        """An operation begins."""
        intended, self.intended = self.intended, None
        connection = 0 if kind == "ask" and self._client.in_turn else self._client.connection
        return self._recorder.invoke(self._user, kind, intended=intended, connection=connection, **fields)

    def ok(self, op: Invoke) -> None:
        """It had its effect."""
        self._recorder.complete(op, "ok")

    def not_ok(self, op: Invoke, error: BaseException) -> BaseException:
        """Record what came of it instead. Returns what to raise."""
        if isinstance(error, TargetError):
            over = op.connection or (self._client.in_turn and op.kind == "ask")
            if error.code == "garbage" and over and op.kind in _OVER_THE_CONNECTION:
                self._client.drop()  # nothing that comes over this connection can be read any more
            self._recorder.complete(op, "fail" if error.definite else "info", error.code, error.detail)
            return OperationError(op, error.code, error.detail)
        if isinstance(error, TimeoutError):
            self._recorder.complete(op, "info", "timeout", str(error))
            return OperationError(op, "timeout", str(error))
        if isinstance(error, asyncio.CancelledError):
            self._recorder.complete(op, "info", "abandoned")
        return error

    @asynccontextmanager
    async def outcome(self, op: Invoke) -> AsyncIterator[None]:
        """Record what comes of the operation in the block. Raises `OperationError` where it is not ok."""
        try:
            yield
        except BaseException as error:
            raise self.not_ok(op, error) from None
        self.ok(op)

    async def patiently(self, work: Awaitable[T], patience: float | None = None) -> T:
        """Wait for `work`, but not for ever. Raises TimeoutError. `patience` None: as long as for all operations."""
        patience = self.patience if patience is None else patience
        try:
            async with asyncio.timeout(patience):
                return await work
        except TimeoutError:
            raise too_long(patience) from None

    async def replied(self, op: Invoke, sending: Awaitable[None]) -> Frame:
        """Send, and wait for the reply. Raises `TargetError` where it is a refusal."""
        reply = self._progress.reply(op)
        try:
            frame = await self.patiently(_after(sending, reply))
        finally:
            self._progress.forget(op)
        if not frame.ok:
            raise refusal(frame)
        return frame


def too_long(patience: float) -> TimeoutError:
    """Nothing has come in so many seconds."""
    return TimeoutError(f"nothing in {patience:g} s")


async def _after(sending: Awaitable[None], then: Awaitable[T]) -> T:
    await sending
    return await then
