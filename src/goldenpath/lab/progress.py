"""Tells users what came of what they asked: it watches the history go by, as a checker does, and wakes who waits."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Frame
from goldenpath.lab.stream import SeenRun, Stream


class Progress(Checker):
    """Futures of one event loop: of replies by operation, of runs by user, thread and run id."""

    name: ClassVar[str] = "progress"

    def __init__(self) -> None:
        super().__init__()
        self._replies: dict[int, asyncio.Future[Frame]] = {}
        self._runs: dict[tuple[int, str, str], asyncio.Future[SeenRun]] = {}

    def reply(self, op: int) -> asyncio.Future[Frame]:
        """The reply to an operation. Ask before it is sent, and `forget` it in the end."""
        future = self._replies[op] = asyncio.get_running_loop().create_future()
        return future

    def end(self, user: int, thread: str, run: str) -> asyncio.Future[SeenRun]:
        """The end of a run. Ask before it is sent, and `forget` it in the end."""
        future = self._runs[user, thread, run] = asyncio.get_running_loop().create_future()
        return future

    def forget(self, op: int, user: int = 0, thread: str = "", run: str = "") -> None:
        """Nobody waits any more."""
        self._replies.pop(op, None)
        self._runs.pop((user, thread, run), None)

    def replied(self, user: int, frame: Frame, at: float) -> None:  # noqa: ARG002
        future = self._replies.get(frame.re) if isinstance(frame.re, int) else None
        if future is not None and not future.done():
            future.set_result(frame)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        future = self._runs.get((stream.user, stream.thread, run.run))
        if future is not None and not future.done():
            future.set_result(run)
