"""Reads a history record by record and shows it to the checkers, while it is written or when it is read back."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Final

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

_THREADS: Final = 512
"""How many threads of a viewer are known at a time. Of more, those are forgotten where nothing has come for longest and
no run is under way."""
_AWAY: Final = 10_000
"""How many viewers without a connection are known at a time."""

_Viewer = tuple[int, int]


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
        self._streams: dict[_Viewer, dict[str, Stream]] = {}
        self._forgetful: set[_Viewer] = set()
        """Viewers of whom threads were forgotten. What comes of one that is not known goes on where it stood."""
        self._open: Counter[_Viewer] = Counter()
        """How many connections a viewer has."""
        self._away: OrderedDict[_Viewer, None] = OrderedDict()
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
                viewer = line.user, line.viewer
                self._open[viewer] += 1
                self._away.pop(viewer, None)
                asked = self._ops.get(record.op)
                if asked is not None:
                    line.decoder.asked(asked.thread, asked.run)
                self._show("opened", record)
            case Closed():
                line = self._lines.pop(record.connection, None)
                self._show("closed", record)
                if line is not None:
                    self._closed((line.user, line.viewer), record)
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
            if len(streams) >= _THREADS:
                self._make_room(streams)
            stream = streams[thread] = Stream(user, viewer, thread)
        return stream

    def _make_room(self, streams: dict[str, Stream]) -> None:
        """Forget the half of a viewer's threads of which nothing has come for longest."""
        over = [stream for stream in streams.values() if stream.present is not None and stream.present.outcome]
        over.sort(key=_last_at)
        for stream in over[: len(streams) // 2]:
            del streams[stream.thread]
            self._forgetful.add((stream.user, stream.viewer))
            self._show("forgotten", stream)

    def _closed(self, viewer: _Viewer, record: Closed) -> None:
        """One connection less."""
        self._open[viewer] -= 1
        if self._open[viewer] > 0:
            return
        del self._open[viewer]
        self._forgetful.discard(viewer)  # over another connection it subscribes anew
        if viewer[1] < 0:  # a viewer of this connection only
            for stream in self._streams.pop(viewer, {}).values():
                self._leave(stream, stream.present, record.at)
                self._show("gone", stream, record)
            return
        self._away[viewer] = None
        if len(self._away) > _AWAY:
            for stream in self._streams.pop(self._away.popitem(last=False)[0], {}).values():
                self._leave(stream, stream.present, record.at)
                self._show("forgotten", stream)

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
        if not stream.subscribed and self._forgetful and (line.user, line.viewer) in self._forgetful:
            stream.subscribed, stream.seq = True, max(0, frames[0].seq - 1)
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
    "forgotten",
    "answered",
    "closed",
    "injected",
    "sampled",
    "noted",
    "finish",
)


def _last_at(stream: Stream) -> float:
    return stream.present.last_at if stream.present is not None else 0.0


def _place(frame: Frame) -> tuple[bool, str]:
    return frame.event is not None, frame.thread_id or ""


def judge(format_: Format, checkers: Sequence[Checker], records: Iterable[Record]) -> list[Finding]:
    """What the checkers find in a whole history."""
    bench = Judge(format_, checkers)
    for record in records:
        bench.take(record)
    return bench.findings()
