"""Tells users what came of what they asked: it watches the history go by, as a checker does, and wakes who waits."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import msgspec

from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Frame
from goldenpath.lab.records import Closed, Invoke, Opened, Received, Sent
from goldenpath.lab.stream import SeenRun, Stream
from goldenpath.lab.target import TargetError


class _Waiting(msgspec.Struct):
    """Somebody waits for the reply to an operation, or for the end of its run."""

    op: Invoke
    reply: asyncio.Future[Frame] | None = None
    end: asyncio.Future[SeenRun] | None = None
    is_answered: bool = False
    sent_at: float = 0.0
    run: SeenRun | None = None
    """What has come of its run; None: nothing."""


class Progress(Checker):
    """Futures of one event loop: the reply to each operation, or for an `ask` the end of its run.

    What comes over a connection that cannot be read fails what waits on that connection (`garbage`); the loss of a
    connection fails the replies that are still to come over it (`disconnected`). A run may be read to its end over
    another connection, so that is for the user to decide.
    """

    name: ClassVar[str] = "progress"

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[int, _Waiting] = {}
        self._runs: dict[tuple[int, str, str], _Waiting] = {}
        self._own: dict[int, int] = {}
        """The operation of each connection that serves only one."""
        self._unreadable: dict[int, str] = {}
        """Connections that cannot be read any more, and why."""

    def reply(self, op: Invoke) -> asyncio.Future[Frame]:
        """The reply to an operation. Ask before it is sent, and `forget` it in the end."""
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._wait(_Waiting(op, reply=future))
        return future

    def end(self, op: Invoke) -> asyncio.Future[SeenRun]:
        """The end of the run of an `ask`; it fails when the run is refused. Ask before it is sent, and `forget` it in
        the end."""
        future: asyncio.Future[SeenRun] = asyncio.get_running_loop().create_future()
        waiting = self._runs[op.user, op.thread, op.run] = _Waiting(op, end=future, sent_at=op.at)
        self._wait(waiting)
        return future

    def heard(self, op: Invoke) -> tuple[float, float]:
        """When an `ask` was sent, and when something came of its run last, or it was sent where nothing has; as times
        of the history."""
        waiting = self._waiting.get(op.op)
        if waiting is None:
            return op.at, op.at
        return waiting.sent_at, max(waiting.sent_at, waiting.run.last_at if waiting.run is not None else 0.0)

    def _wait(self, waiting: _Waiting) -> None:
        op = waiting.op
        self._waiting[op.op] = waiting
        if op.connection in self._unreadable:
            _fail(waiting, TargetError("garbage", self._unreadable[op.connection]))

    def raise_for_garbage(self, connection: int) -> None:
        """Raise `TargetError` (`garbage`) where what comes over a connection cannot be read any more."""
        if connection in self._unreadable:
            raise TargetError("garbage", self._unreadable[connection])

    def is_answered(self, op: Invoke) -> bool:
        """Whether its reply has come."""
        waiting = self._waiting.get(op.op)
        return waiting is None or waiting.is_answered

    def lost(self, op: Invoke, record: Closed) -> None:
        """The rest of the run of an `ask` will not come."""
        waiting = self._waiting.get(op.op)
        if waiting is not None and waiting.end is not None:
            _fail(waiting, _disconnected(record))

    def unsent(self, op: Invoke) -> None:
        """An `ask` will not be sent."""
        waiting = self._waiting.get(op.op)
        if waiting is not None and waiting.end is not None:
            _fail(waiting, TargetError("disconnected", "there is no connection"))

    def forget(self, op: Invoke) -> None:
        """Nobody waits any more."""
        waiting = self._waiting.pop(op.op, None)
        if waiting is None:
            return
        future = waiting.end or waiting.reply
        if future is not None and future.done() and not future.cancelled():
            future.exception()  # the event loop complains of one that nobody looked at: something else failed first
        if waiting.end is not None:
            run = op.user, op.thread, op.run
            if self._runs.get(run) is waiting:  # else somebody asked for the same run again
                del self._runs[run]

    def opened(self, record: Opened) -> None:
        if record.op:
            self._own[record.connection] = record.op

    def sent(self, op: Invoke, record: Sent) -> None:
        waiting = self._waiting.get(op.op)
        if waiting is not None:
            waiting.op, waiting.sent_at = op, record.at

    def began(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        waiting = self._runs.get((stream.user, stream.thread, run.run))
        if waiting is not None:
            waiting.run = run

    def replied(self, user: int, frame: Frame, at: float) -> None:  # noqa: ARG002
        waiting = self._waiting.get(frame.re) if isinstance(frame.re, int) else None
        if waiting is None or waiting.is_answered:
            return
        waiting.is_answered = True
        if waiting.end is not None:
            if not frame.ok:  # a run that was refused has no end to wait for
                _fail(waiting, refusal(frame))
        elif waiting.reply is not None and not waiting.reply.done():
            waiting.reply.set_result(frame)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        waiting = self._runs.get((stream.user, stream.thread, run.run))
        if waiting is not None and waiting.end is not None and not waiting.end.done():
            waiting.end.set_result(run)

    def malformed(self, record: Received, why: str) -> None:
        self._unreadable[record.connection] = why
        for waiting in self._on(record.connection):
            _fail(waiting, TargetError("garbage", why, definite=False))

    def closed(self, record: Closed) -> None:
        for waiting in self._on(record.connection):
            if waiting.end is None:
                _fail(waiting, _disconnected(record))
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


def _fail(waiting: _Waiting, error: TargetError) -> None:
    future = waiting.end or waiting.reply
    if future is not None and not future.done():
        future.set_exception(error)
