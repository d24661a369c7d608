"""Drives users against a target as a worker of the lab does, and judges what they saw, twice: live and as stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from goldenpath.lab.canary import Canaries
from goldenpath.lab.checker import Checker, Finding
from goldenpath.lab.checkers import standard_checkers
from goldenpath.lab.formats import make_format
from goldenpath.lab.frames import Frame
from goldenpath.lab.history import HistoryWriter, read_history
from goldenpath.lab.judge import Judge, judge
from goldenpath.lab.operations import OperationError
from goldenpath.lab.progress import Progress
from goldenpath.lab.recorder import Recorder
from goldenpath.lab.records import Closed, Complete, Invoke, Record
from goldenpath.lab.stream import Stream
from goldenpath.lab.targets import TargetSpec, make_target
from goldenpath.lab.user import User

NONCE = "0123abcd"
PATIENCE = 20.0
"""Longer than anything takes: whoever needs it all hangs."""


class Watch(Checker):
    """What was seen, for tests."""

    name = "watch"

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[tuple[str, str, str]] = []
        """Of each operation: its kind, outcome and code."""
        self.details: list[str] = []
        self.asked: list[Invoke] = []
        self.types: list[str] = []
        """Of all events."""
        self.answers: list[str] = []
        self.answering = asyncio.Event()
        """The first piece of an answer has come."""
        self.attaching = 0
        """How many attaches are under way."""
        self.on_events: Callable[[], object] | None = None
        """Told, in the same moment, that events came."""
        self.closing = asyncio.Event()
        """A connection is gone."""

    def invoked(self, op: Invoke) -> None:
        if op.kind == "ask":
            self.asked.append(op)
        self.attaching += op.kind == "attach"

    def completed(self, op: Invoke, record: Complete) -> None:
        self.outcomes.append((op.kind, record.outcome, record.code))
        self.details.append(record.detail)
        self.attaching -= op.kind == "attach"

    def events(self, stream: Stream, frames: Any, at: float) -> None:
        frame: Frame
        for frame in frames:
            assert frame.event is not None
            self.types.append(frame.event.type)
            if frame.event.type == "TEXT_MESSAGE_CONTENT":
                self.answering.set()
        if self.on_events is not None:
            self.on_events()

    def closed(self, record: Closed) -> None:
        self.closing.set()

    def ended(self, stream: Stream, run: Any, at: float) -> None:
        self.answers.append(run.answer)


class Bench(msgspec.Struct):
    """What a test's users need."""

    recorder: Recorder
    watch: Watch
    make_user: Callable[[int], User]

    async def gone(self, work: Awaitable[Any]) -> None:
        """Do what may fail: what came of it is on the watch."""
        try:
            await work
        except OperationError:
            return


async def play(
    spec: TargetSpec, directory: Path, program: Callable[[Bench], Awaitable[None]]
) -> tuple[list[Finding], Watch, list[Record]]:
    """Run `program`; returns what the standard checkers found, what was seen, and the history."""
    target = make_target(spec)
    format_ = make_format(target.format, target.format_options)
    canaries, watch, progress = Canaries(NONCE), Watch(), Progress()
    path = directory / "history-0.bin"
    with HistoryWriter(path, "run") as writer:
        bench_judge = Judge(format_, [*standard_checkers(format_, canaries), watch, progress])
        recorder = Recorder(bench_judge, writer, canaries=canaries)
        users: list[User] = []

        def make_user(number: int) -> User:
            user = User(number, target, recorder, progress, canaries, seed=1, patience=PATIENCE)
            users.append(user)
            return user

        try:
            await target.open()
            await program(Bench(recorder, watch, make_user))
        finally:
            for user in users:
                await user.close()
            await target.close()
        findings = bench_judge.findings()
    records = list(read_history(directory))
    stored = judge(make_format(target.format, target.format_options), standard_checkers(format_, canaries), records)
    live = [finding for finding in findings if finding.checker not in ("watch", "progress")]
    assert stored == live, "a stored run is judged otherwise than it was live"
    return live, watch, records
