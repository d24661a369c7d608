"""Tells users what came of what they asked: it watches the history go by, as a checker does, and wakes who waits."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import msgspec

from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Frame
from goldenpath.lab.records import Closed, Invoke, Opened, Received
from goldenpath.lab.stream import SeenRun, Stream
from goldenpath.lab.target import TargetError


class _Waiting(msgspec.Struct):
    op: Invoke
    reply: asyncio.Future[Frame]
    end: asyncio.Future[SeenRun] | None = None


class Progress(Checker):
    """Futures of one event loop: the reply to each operation, and of each `ask` the end of its run.

    What comes over a connection that cannot be read fails what waits on that connection (`garbage`); the loss of a
    connection fails the replies that are still to come over it (`disconnected`). A run may be read to its end over
    another connection, so that is for the user to decide.
    """

    name: ClassVar[str] = "progress"

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[int, _Waiting] = {}
        self._runs: dict[tuple[int, str, str], asyncio.Future[SeenRun]] = {}
        self._own: dict[int, int] = {}
        """The operation of each connection that serves only one."""
        self._unreadable: dict[int, str] = {}
        """Connections that cannot be read any more, and why."""

    def reply(self, op: Invoke) -> asyncio.Future[Frame]:
        """The reply to an operation. Ask before it is sent, and `forget` it in the end."""
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[op.op] = _Waiting(op, future)
        if op.connection in self._unreadable:
            _fail(future, TargetError("garbage", self._unreadable[op.connection]))
        return future

    def end(self, op: Invoke) -> asyncio.Future[SeenRun]:
        """The end of the run of an `ask`; it fails when the run is refused. Ask before it is sent, and `forget` it in
        the end."""
        future: asyncio.Future[SeenRun] = asyncio.get_running_loop().create_future()
        self.reply(op).add_done_callback(lambda reply: _refused(reply, future))
        self._waiting[op.op].end = self._runs[op.user, op.thread, op.run] = future
        if op.connection in self._unreadable:
            _fail(future, TargetError("garbage", self._unreadable[op.connection]))
        return future

    def is_answered(self, op: Invoke) -> bool:
        """Whether its reply has come."""
        waiting = self._waiting.get(op.op)
        return waiting is None or waiting.reply.done()

    def lost(self, op: Invoke, record: Closed) -> None:
        """The rest of the run of an `ask` will not come."""
        waiting = self._waiting.get(op.op)
        if waiting is not None and waiting.end is not None:
            _fail(waiting.end, _disconnected(record))

    def forget(self, op: Invoke) -> None:
        """Nobody waits any more."""
        waiting = self._waiting.pop(op.op, None)
        if waiting is None:
            return
        _take_notice(waiting.reply)
        if waiting.end is not None:
            _take_notice(waiting.end)
            run = op.user, op.thread, op.run
            if self._runs.get(run) is waiting.end:  # else somebody asked for the same run again
                del self._runs[run]

    def opened(self, record: Opened) -> None:
        if record.op:
            self._own[record.connection] = record.op

    def replied(self, user: int, frame: Frame, at: float) -> None:  # noqa: ARG002
        waiting = self._waiting.get(frame.re) if isinstance(frame.re, int) else None
        if waiting is not None and not waiting.reply.done():
            waiting.reply.set_result(frame)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        future = self._runs.get((stream.user, stream.thread, run.run))
        if future is not None and not future.done():
            future.set_result(run)

    def malformed(self, record: Received, why: str) -> None:
        self._unreadable[record.connection] = why
        for waiting in self._on(record.connection):
            error = TargetError("garbage", why, definite=False)
            _fail(waiting.reply, error)
            if waiting.end is not None:
                _fail(waiting.end, error)

    def closed(self, record: Closed) -> None:
        for waiting in self._on(record.connection):
            if waiting.end is None:
                _fail(waiting.reply, _disconnected(record))
        self._own.pop(record.connection, None)
        self._unreadable.pop(record.connection, None)

    def _on(self, connection: int) -> list[_Waiting]:
        own = self._own.get(connection)
        return [
            waiting
            for waiting in self._waiting.values()
            if waiting.op.op == own or (own is None and waiting.op.connection == connection)
        ]


def _disconnected(record: Closed) -> TargetError:
    words = f"close code {record.code}" if record.code else "the connection was closed"
    return TargetError("disconnected", words, definite=False)


def refusal(frame: Frame) -> TargetError:
    """What a reply says that is not ok."""
    if frame.error is None:
        return TargetError("refused", "")
    return TargetError(frame.error.code, frame.error.message, definite=frame.error.definite)


def _fail(future: asyncio.Future[Frame] | asyncio.Future[SeenRun], error: TargetError) -> None:
    if not future.done():
        future.set_exception(error)


def _take_notice(future: asyncio.Future[Frame] | asyncio.Future[SeenRun]) -> None:
    """The event loop complains of an exception that nobody looked at: here something else failed first."""
    if future.done() and not future.cancelled():
        future.exception()


def _refused(reply: asyncio.Future[Frame], end: asyncio.Future[SeenRun]) -> None:
    """A run that was refused has no end to wait for."""
    if not reply.cancelled() and reply.exception() is None and not reply.result().ok:
        _fail(end, refusal(reply.result()))
