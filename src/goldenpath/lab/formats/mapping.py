"""JSON messages of any kind, read by a mapping: which field says what a message is, and which kinds mean what.

What such a wire leaves out is filled in, so that the checkers see what they know: RUN_STARTED where nothing announces a
run, the start and end of the text, and to which run a message belongs. What the mapping does not name is not guessed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from goldenpath.lab.frames import UNREADABLE, Event, FormatError, Frame, HistoryMessage, Outcome

_NOBODYS: Final = "unasked"
"""The run of what comes though nothing was asked for."""
_REMEMBERED: Final = 64
"""How many runs of a connection are remembered after their end."""


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to read what the server sends. A path is the names on the way to a value, with dots between them; a number
    counts in a list, from 0."""

    kind: str
    """The path of what says what a message is."""
    delta: list[str]
    """Kinds that carry a piece of the answer. One that carries all of it stands under `end`, too."""
    end: list[str]
    """Kinds that end the answer."""
    text: str
    """The path of the piece of the answer."""
    start: list[str] = []
    """Kinds that begin the answer; none: the first piece does."""
    error: list[str] = []
    """Kinds that end the answer because it failed."""
    ignore: list[str] = []
    """Kinds that mean nothing here. Any other is taken for garbage."""
    code: str = ""
    """The path of an error's code; empty: there is none."""
    thread: str = ""
    """The path of the `{thread}` that was sent; empty: the server does not repeat it."""
    run: str = ""
    """The path of the `{run}` that was sent; empty: the server does not repeat it, and answers one question on a
    connection after another."""
    seq: str = ""
    """The path of a number that goes up by one from message to message; empty: there is none."""
    seq_of: Literal["connection", "run"] = "connection"
    """What the numbers count in."""
    seq_first: int = 1


class _Run:
    __slots__ = ("ended", "open", "run", "seen", "started", "thread")

    def __init__(self, thread: str, run: str) -> None:
        self.thread = thread
        self.run = run
        self.started = self.open = self.ended = False
        self.seen = 0
        """Its last number on the wire."""


class MappingDecoder:
    """One connection."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._decode = msgspec.json.Decoder().decode
        self._kind, self._text, self._code, self._thread, self._run, self._seq = (
            parts_of(path)
            for path in (reading.kind, reading.text, reading.code, reading.thread, reading.run, reading.seq)
        )
        self._means: dict[str, str] = {}
        for meaning in ("ignore", "start", "delta", "end", "error"):
            for kind in getattr(reading, meaning):
                self._means[kind] = f"{self._means.get(kind, '')} {meaning}".strip()
        self._asked: deque[_Run] = deque()
        """In the order of asking, where answers come in that order."""
        self._runs: dict[str, _Run] = {}
        """By id, where answers say theirs."""
        self._present = _Run("", _NOBODYS)
        self._present.ended = True
        self._seen = reading.seq_first - 1
        self._numbers: dict[str, int] = {}
        """The number of each thread's last event, as the checkers count: in each thread from 1."""

    def asked(self, thread: str, run: str) -> None:
        """A question was sent."""
        asked = _Run(thread, run)
        asked.seen = self._reading.seq_first - 1
        if not self._run:
            self._asked.append(asked)
            return
        self._runs[run] = asked
        if len(self._runs) > _REMEMBERED:
            ended = next((known for known in self._runs.values() if known.ended), None)
            if ended is not None:
                del self._runs[ended.run]

    def feed(self, payload: bytes) -> list[Frame]:
        """The frames of one message. Raises `FormatError`."""
        try:
            message = self._decode(payload)
        except UNREADABLE as error:
            raise FormatError(f"{error} in {payload[:200]!r}") from None
        kind = str(_value(message, self._kind, payload))
        means = self._means.get(kind)
        if means is None:
            raise FormatError(f"{kind!r} is a kind that the mapping does not name (nor ignores): {payload[:200]!r}")
        if means == "ignore":
            seq = find(message, self._seq) if self._seq else None
            self._seen = seq if isinstance(seq, int) else self._seen  # it has a place among the numbers
            return []
        run = self._whose(message, payload)
        events: list[Event] = []
        if "start" in means or not (run.started or self._reading.start):
            run.started = True
            events.append(Event("RUN_STARTED", run_id=run.run, thread_id=run.thread))
        message_id = f"{run.run}-answer"
        if "delta" in means:
            if not run.open:
                run.open = True
                events.append(Event("TEXT_MESSAGE_START", message_id=message_id))
            delta = _value(message, self._text, payload)
            if not isinstance(delta, str):
                raise FormatError(f"{self._reading.text} is no text in {payload[:200]!r}")
            events.append(Event("TEXT_MESSAGE_CONTENT", message_id=message_id, delta=delta))
        if "error" in means:
            run.ended = True
            code = _value(message, self._code, payload) if self._code else "error"
            events.append(Event("RUN_ERROR", code=str(code), message=payload[:200].decode(errors="replace")))
        elif "end" in means:
            if run.open:
                run.open = False
                events.append(Event("TEXT_MESSAGE_END", message_id=message_id))
            run.ended = True
            events.append(Event("RUN_FINISHED", run_id=run.run, thread_id=run.thread, outcome=Outcome("success")))
        frames = [Frame(event=event, thread_id=run.thread, run_id=run.run) for event in events]
        return self._number(frames, message, run, payload) if self._seq else frames

    def _whose(self, message: Any, payload: bytes) -> _Run:
        """The run that a message belongs to."""
        if self._run:
            name = str(_value(message, self._run, payload))
            run = self._runs.get(name)
            if run is None:
                run = self._runs[name] = _Run("", name)
        else:
            if self._present.ended and self._asked:
                self._present = self._asked.popleft()
            run = self._present
        if self._thread:
            run.thread = str(_value(message, self._thread, payload))
        return run

    def _number(self, frames: list[Frame], message: Any, run: _Run, payload: bytes) -> list[Frame]:
        """The first event of a message gets its number, carried over into the numbers of its thread. A thread's first
        events come after a subscription, as the checkers are used to."""
        seq = _value(message, self._seq, payload)
        if not isinstance(seq, int) or isinstance(seq, bool):
            raise FormatError(f"{self._reading.seq} is no number in {payload[:200]!r}")
        by_run = self._reading.seq_of == "run"
        step = seq - (run.seen if by_run else self._seen)
        run.seen = self._seen = seq
        begins = run.thread not in self._numbers
        number = self._numbers.get(run.thread, 0) + step
        self._numbers[run.thread] = number
        if frames:
            frames[0].seq = number
        if begins:
            frames.insert(0, Frame(thread_id=run.thread, epoch="the connection"))
        return frames


class MappingFormat:
    """Read by a `Reading`, which is the format's options."""

    fills_in = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Raises `msgspec.ValidationError` (a ValueError) saying which key is wrong."""
        self._reading = msgspec.convert(dict(options), Reading)
        self.numbered = bool(self._reading.seq)

    def decoder(self) -> MappingDecoder:
        """For a new connection."""
        return MappingDecoder(self._reading)

    def messages(self, body: bytes) -> list[HistoryMessage]:
        """A mapping does not say how to ask for a history. Raises `FormatError`."""
        raise FormatError(f"the mapping has no histories to read: {body[:200]!r}")


Parts = tuple[str | int, ...]


def parts_of(path: str) -> Parts:
    """A path in its parts; none for an empty one."""
    return tuple(int(part) if part.isdecimal() else part for part in path.split(".")) if path else ()


def find(value: Any, parts: Parts) -> Any:
    """What lies at the end of a path; None where there is nothing."""
    for part in parts:
        if isinstance(value, dict):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


def _value(message: Any, parts: Parts, payload: bytes) -> Any:
    value = find(message, parts)
    if value is None:
        raise FormatError(f"{'.'.join(map(str, parts))} is missing in {payload[:200]!r}")
    return value
