"""Reads a history record by record and shows it to the checkers, while it is written or when it is read back."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from goldenpath.lab.checker import Checker, Finding
from goldenpath.lab.frames import UNREADABLE, Decoder, Format, Frame
from goldenpath.lab.records import (
    REFUSED,
    TOO_BIG,
    Answered,
    Closed,
    Complete,
    Injected,
    Invoke,
    Noted,
    Opened,
    Overheard,
    Received,
    Record,
    Sampled,
    Sent,
)
from goldenpath.lab.stream import CONTENT, SeenRun, Stream
from goldenpath.lab.target import TOO_LARGE

_THREADS: Final = 512
"""How many threads of a viewer are known at a time. Of more, those are forgotten where nothing has come for longest and
no run is under way."""
_AWAY: Final = 10_000
"""How many viewers without a connection are known at a time."""

_FEW: Final = 4
"""Fewer pieces are not worth to be left out."""

_Viewer = tuple[int, int]


class _Line:
    """One connection."""

    __slots__ = ("attached", "decoder", "streams", "unreadable", "user", "viewer")

    def __init__(self, user: int, viewer: int, decoder: Decoder, streams: dict[str, Stream]) -> None:
        self.user = user
        self.viewer = viewer
        self.decoder = decoder
        self.streams = streams
        """Its viewer's, by thread."""
        self.unreadable = False
        self.attached: set[str] = set()
        """The threads whose events come over it."""


class Judge:
    """Takes records in order. Not safe across threads.

    An exception in a checker ends that checker, whose finding says so; the others go on.
    """

    def __init__(self, format_: Format, checkers: Sequence[Checker]) -> None:
        self._format = format_
        self._step = 1 if format_.numbered else 0
        """From the number of an event to that of the next."""
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
        self._on_received = self._listeners["received"]
        self._on_mixed = self._listeners["mixed"]
        self._on_pieces = [
            (checker, show if type(checker).pieces is Checker.pieces else checker.pieces)
            for checker, show in self._listeners["events"]
            if checker.heeds_pieces
        ]

    def take(self, record: Record) -> None:
        """Show one record to the checkers."""
        self._last = record.at
        match record:
            case Received():
                self.received(record)
            case Invoke():
                self._ops[record.op] = record
                line = self._lines.get(record.connection)
                if line is not None and record.kind == "ask":
                    line.decoder.asked(record.thread, record.run)
                self._show("invoked", record)
            case Sent():
                self._sent(record)
            case Complete():
                op = self._ops.pop(record.op, None)
                if op is not None:
                    self._show("completed", op, record)
            case Opened():
                viewer = record.user, record.viewer
                streams = self._streams.setdefault(viewer, {})
                line = _Line(*viewer, self._format.decoder(), streams)
                self._lines[record.connection] = line
                self._open[viewer] += 1
                self._away.pop(viewer, None)
                asked = self._ops.get(record.op)
                if asked is not None:
                    line.decoder.asked(asked.thread, asked.run)
                self._show("opened", record)
            case Closed():
                line = self._lines.pop(record.connection, None)
                if record.ours and record.code in REFUSED:
                    why = TOO_LARGE if record.code == TOO_BIG else "what is no WebSocket message"
                    self._show("malformed", Received(record.at, record.user, record.connection, b""), why)
                self._show("closed", record)
                if line is not None:
                    self._closed((line.user, line.viewer), record)
            case Answered():
                op = self._ops.get(record.op)
                if op is not None:
                    self._show("answered", op, record)
            case Overheard():
                self._show("overheard", record)
            case Injected():
                self._show("injected", record)
            case Sampled():
                self._show("sampled", record)
            case Noted():
                self._show("noted", record)

    def _sent(self, record: Sent) -> None:
        op = self._ops.get(record.op)
        if op is None:
            return
        op = self._ops[record.op] = msgspec.structs.replace(op, connection=record.connection)
        line = self._lines.get(record.connection)
        if line is not None:
            line.decoder.asked(op.thread, op.run)
        self._show("sent", op, record)

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

    def received(self, record: Received) -> None:
        """`take`, for what most records are."""
        at = self._last = record.at
        for checker, look in self._on_received:
            try:
                look(record)
            except Exception as error:  # as in `_show`
                self._broke(checker, "received", error)
        line = self._lines.get(record.connection)
        if line is None or line.unreadable:
            self._show("mixed", record, record.payload)
            return
        try:
            frames: Sequence[Frame] = line.decoder.feed(record.payload)
        except UNREADABLE as error:
            line.unreadable = True
            self._show("mixed", record, record.payload)
            self._show("malformed", record, str(error))
            return
        start, count = 0, len(frames)
        mixed = not count
        first = last = 0
        while start < count:
            frame = frames[start]
            if frame.event is None:
                self._other(line, frame, at)
                start += 1
                mixed = True
                continue
            thread = frame.thread_id or ""
            stream = line.streams.get(thread) or self.stream(line.user, line.viewer, thread)
            end = stream.pieces(frames, start, self._step)
            if end == start:
                end = _group(frames, start)
                mixed = True
                self._events(stream, frames[start:end], at)
            else:
                pieces = frames if end - start == count else frames[start:end]
                if end - start > last - first:
                    first, last = start, end
                for checker, show in self._on_pieces:
                    try:
                        show(stream, pieces, at)
                    except Exception as error:  # as in `_show`
                        self._broke(checker, "pieces", error)
                stream.go_on(pieces, at)
            self.events += end - start
            start = end
        if mixed and self._on_mixed:
            beside = _beside(record.payload, count, first, last)
            for checker, search in self._on_mixed:
                try:
                    search(record, beside)
                except Exception as error:  # as in `_show`
                    self._broke(checker, "mixed", error)

    def _events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        if not stream.subscribed and self._forgetful and (stream.user, stream.viewer) in self._forgetful:
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
        if self._step and not stream.subscribed:
            stream.message = None  # where it begins is not known

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
                self._broke(checker, name, error)

    def _broke(self, checker: Checker, name: str, error: Exception) -> None:
        self._broken[checker.name] = f"{type(error).__name__} in {name}: {error}"
        self._listen([each for each in self._checkers if each.name not in self._broken])


_SHOWN = (
    "invoked",
    "sent",
    "completed",
    "opened",
    "received",
    "mixed",
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
    "overheard",
    "closed",
    "injected",
    "sampled",
    "noted",
    "finish",
)


def _beside(payload: bytes, count: int, first: int, last: int) -> bytes:
    """A message of so many frames without those from `first` to before `last`, where each has a line of its own."""
    if last - first < _FEW or payload.count(b"\n") != count - 1:
        return payload
    return b"\n".join([*payload.split(b"\n", first)[:first], *payload.rsplit(b"\n", count - last)[1:], b""])


def _last_at(stream: Stream) -> float:
    return stream.present.last_at if stream.present is not None else 0.0


def _group(frames: Sequence[Frame], start: int) -> int:
    """Where in `frames` the events end that belong together: of one thread, and no more than one piece of a text, the
    last of them. What goes on with it is another group."""
    thread = frames[start].thread_id
    for place in range(start, len(frames)):
        frame = frames[place]
        event = frame.event
        if event is None or frame.thread_id != thread:
            return place
        if event.type == CONTENT:
            return place + 1
    return len(frames)


def judge(format_: Format, checkers: Sequence[Checker], records: Iterable[Record]) -> list[Finding]:
    """What the checkers find in a whole history."""
    bench = Judge(format_, checkers)
    for record in records:
        bench.take(record)
    return bench.findings()
