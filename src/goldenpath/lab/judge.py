"""Reads a history record by record and shows it to the checkers, while it is written or when it is read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from goldenpath.lab.checker import Checker, Finding
from goldenpath.lab.frames import Decoder, Format, FormatError, Frame
from goldenpath.lab.records import (
    Answered,
    Closed,
    Complete,
    Injected,
    Invoke,
    Noted,
    Opened,
    Received,
    Record,
    Sampled,
)
from goldenpath.lab.stream import SeenRun, Stream


class _Line:
    """One connection."""

    __slots__ = ("attached", "decoder", "unreadable", "user", "viewer")

    def __init__(self, user: int, viewer: int, decoder: Decoder) -> None:
        self.user = user
        self.viewer = viewer
        self.decoder = decoder
        self.unreadable = False
        self.attached: set[str] = set()
        """The threads whose events come over it."""


class Judge:
    """Takes records in order. Not safe across threads.

    An exception in a checker ends that checker, whose finding says so; the others go on.
    """

    def __init__(self, format_: Format, checkers: Sequence[Checker]) -> None:
        self._format = format_
        self._checkers = list(checkers)
        self._broken: dict[str, str] = {}
        self._ops: dict[int, Invoke] = {}
        self._lines: dict[int, _Line] = {}
        self._streams: dict[tuple[int, int], dict[str, Stream]] = {}
        self._last = 0.0
        self.events = 0
        """How many events it has seen."""
        self._listeners: dict[str, list[tuple[Checker, Callable[..., None]]]] = {}
        self._listen(self._checkers)

    def _listen(self, checkers: Sequence[Checker]) -> None:
        """Only what a checker looks at is shown to it: a call for nothing costs as much as one for something."""
        self._listeners = {
            name: [
                (checker, getattr(checker, name))
                for checker in checkers
                if getattr(type(checker), name) is not getattr(Checker, name)
            ]
            for name in _SHOWN
        }

    def take(self, record: Record) -> list[Frame]:
        """Show one record to the checkers. Returns the frames in it, where it is a `Received`."""
        self._last = record.at
        if isinstance(record, Received):
            return self._received(record)
        match record:
            case Invoke():
                self._ops[record.op] = record
                line = self._lines.get(record.connection)
                if line is not None and record.kind == "ask":
                    line.decoder.asked(record.thread, record.run)
                self._show("invoked", record)
            case Complete():
                op = self._ops.pop(record.op, None)
                if op is not None:
                    self._show("completed", op, record)
            case Opened():
                line = _Line(record.user, record.viewer, self._format.decoder())
                self._lines[record.connection] = line
                asked = self._ops.get(record.op)
                if asked is not None:
                    line.decoder.asked(asked.thread, asked.run)
                self._show("opened", record)
            case Closed():
                line = self._lines.pop(record.connection, None)
                self._show("closed", record)
                if line is not None and line.viewer < 0:  # a viewer of this connection only
                    for stream in self._streams.pop((line.user, line.viewer), {}).values():
                        self._leave(stream, stream.present, record.at)
                        self._show("gone", stream, record)
            case Answered():
                op = self._ops.get(record.op)
                if op is not None:
                    self._show("answered", op, record)
            case Injected():
                self._show("injected", record)
            case Sampled():
                self._show("sampled", record)
            case Noted():
                self._show("noted", record)
        return []

    def findings(self) -> list[Finding]:
        """There is no more: what all checkers found."""
        for streams in self._streams.values():
            for stream in streams.values():
                self._leave(stream, stream.present, self._last)
        self._show("finish", self._last)
        return [checker.finding(self._broken.get(checker.name, "")) for checker in self._checkers]

    def stream(self, user: int, viewer: int, thread: str) -> Stream:
        """A viewer's reading of a thread."""
        streams = self._streams.get((user, viewer))
        if streams is None:
            streams = self._streams[user, viewer] = {}
        stream = streams.get(thread)
        if stream is None:
            stream = streams[thread] = Stream(user, viewer, thread)
        return stream

    def _received(self, record: Received) -> list[Frame]:
        line = self._lines.get(record.connection)
        self._show("received", record)
        if line is None or line.unreadable:
            return []
        try:
            frames = line.decoder.feed(record.payload)
        except FormatError as error:
            line.unreadable = True
            self._show("malformed", record, str(error))
            return []
        if len(frames) == 1 and frames[0].event is not None:  # the most frequent case, without detours
            self._events(line, frames[0].thread_id or "", frames, record.at)
            return frames
        for (is_event, thread), group in groupby(frames, _place):
            if is_event:
                self._events(line, thread, list(group), record.at)
            else:
                for frame in group:
                    self._other(line, frame, record.at)
        return frames

    def _events(self, line: _Line, thread: str, frames: Sequence[Frame], at: float) -> None:
        self.events += len(frames)
        stream = self.stream(line.user, line.viewer, thread)
        self._show("events", stream, frames, at)
        for what, run, frame in stream.take(frames, at):
            if what == "began":
                self._show("began", stream, run, at)
            elif what == "late":
                self._show("late", stream, frame, at)
            elif what == "ended":
                self._show("ended", stream, run, at)
                run.forget_texts()
            else:
                self._leave(stream, run, at)

    def _leave(self, stream: Stream, run: SeenRun | None, at: float) -> None:
        if run is not None and not run.outcome:
            self._show("left", stream, run, at)
            run.forget_texts()

    def _other(self, line: _Line, frame: Frame, at: float) -> None:
        thread = frame.thread_id
        if frame.re is not None:
            self._show("replied", line.user, frame, at)
        if thread is None or not frame.ok:
            return
        if frame.type == "detached":
            line.attached.discard(thread)
        elif frame.epoch is not None:
            if frame.run_id is not None and thread in line.attached:
                return  # the reply to a run on an attached thread leaves its cursor where it is
            line.attached.add(thread)
            stream = self.stream(line.user, line.viewer, thread)
            self._show("subscribed", stream, frame, at)
            self._leave(stream, stream.subscribe(frame), at)

    def _show(self, name: str, *arguments: object) -> None:
        for checker, show in self._listeners[name]:
            try:
                show(*arguments)
            except Exception as error:  # what it did not see is unknown, whatever the reason
                self._broken[checker.name] = f"{type(error).__name__} in {name}: {error}"
                self._listen([each for each in self._checkers if each.name not in self._broken])


_SHOWN = (
    "invoked",
    "completed",
    "opened",
    "received",
    "malformed",
    "replied",
    "subscribed",
    "events",
    "began",
    "ended",
    "left",
    "late",
    "gone",
    "answered",
    "closed",
    "injected",
    "sampled",
    "noted",
    "finish",
)


def _place(frame: Frame) -> tuple[bool, str]:
    return frame.event is not None, frame.thread_id or ""


def judge(format_: Format, checkers: Sequence[Checker], records: Iterable[Record]) -> list[Finding]:
    """What the checkers find in a whole history."""
    bench = Judge(format_, checkers)
    for record in records:
        bench.take(record)
    return bench.findings()
