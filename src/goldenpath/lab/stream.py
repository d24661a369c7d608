"""One viewer's reading of one thread: where it stands, and what the present run has said so far.

A viewer is what a person calls a tab: it may lose its connection and go on over another one. Each run in a thread is
contiguous, so a stream follows one run at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

from goldenpath.lab.frames import TERMINAL, Frame

CONTENT: Final = "TEXT_MESSAGE_CONTENT"
CHUNK: Final = "TEXT_MESSAGE_CHUNK"
"""Start, piece and end of a text in one event; it has a piece or has none."""


class SeenRun:
    """What a viewer has seen of one run."""

    __slots__ = (
        "began_at",
        "error",
        "events",
        "first_at",
        "last_at",
        "outcome",
        "parts",
        "run",
        "text_at",
        "texts",
        "whole",
    )

    def __init__(self, run: str, at: float, *, whole: bool) -> None:
        self.run = run
        self.whole = whole
        """Whether its RUN_STARTED was seen, so that what was seen is all of it."""
        self.began_at = at
        self.first_at: float | None = None
        """When the first piece of an answer came; None: none has."""
        self.text_at: float | None = None
        """When its last piece so far came; None: none has."""
        self.last_at = at
        self.events = 0
        self.parts: list[str] = []
        """The pieces of its assistant texts, in order."""
        self.texts: list[str] = []
        """Pieces of everything else that carries text: tool arguments and results, reasoning, patches, values."""
        self.outcome = ""
        """`success`, `interrupt`, `cancelled` or `error` once it has ended."""
        self.error = ""
        """The code of its RUN_ERROR."""

    def say(self, piece: str, at: float) -> None:
        """One more piece of an answer came. An empty one says nothing: an answer of such is none."""
        if piece:
            self.first_at = at if self.first_at is None else self.first_at
            self.text_at = at
            self.parts.append(piece)

    @property
    def answer(self) -> str:
        """Its assistant texts, joined."""
        return _joined(self.parts)

    @property
    def rest(self) -> str:
        """Everything else that carries text, joined."""
        return _joined(self.texts)

    def forget_texts(self) -> None:
        """Nobody needs its texts any more."""
        self.parts, self.texts = [], []


class Turn(NamedTuple):
    """Something that happened in a stream, with the event that shows it."""

    what: Literal["began", "ended", "left", "late"]
    """The first event of a run that came. Its first terminal event. Another run's event before its end. One more event
    after its end."""
    run: SeenRun
    frame: Frame


class Stream:
    """A thread as one viewer reads it. `take` moves it on."""

    __slots__ = ("epoch", "message", "present", "runs_ended", "seq", "subscribed", "thread", "user", "viewer")

    def __init__(self, user: int, viewer: int, thread: str) -> None:
        self.user = user
        self.viewer = viewer
        self.thread = thread
        self.epoch = ""
        self.seq = 0
        """The highest seen in this epoch; 0: none, or the target does not number."""
        self.subscribed = False
        self.present: SeenRun | None = None
        """The run whose events came last."""
        self.runs_ended = 0
        self.message: str | None = None
        """The text of the present run of which the last event was a piece; None: it was something else, or came out of
        turn."""

    def stands_at(self, frame: Frame) -> bool:
        """Whether the subscription that begins with `frame` goes on where this stands."""
        return self.subscribed and frame.epoch == self.epoch and frame.seq == self.seq and not frame.gap

    def subscribe(self, frame: Frame) -> SeenRun | None:
        """A subscription begins where `frame` says. Another place than where it stood: the present run is forgotten,
        and returned where it had not ended."""
        present, self.message = self.present, None
        if self.stands_at(frame):
            return None
        self.present = None
        self.epoch, self.seq, self.subscribed = frame.epoch or "", frame.seq, True
        return present if present is not None and not present.outcome else None

    def pieces(self, frames: Sequence[Frame], start: int, step: int) -> int:
        """Where in `frames`, from `start` on, those end that do nothing but go on with the text of which the last event
        was a piece: same thread, run and message, each number `step` after the last. Most events are such."""
        message, run = self.message, self.present
        if message is None or run is None:
            return start
        name, thread, seq, place = run.run, self.thread, self.seq, start
        for frame in frames[start:] if start else frames:
            event = frame.event
            seq += step
            if (
                event is None
                or frame.seq != seq
                or event.type != CONTENT
                or event.message_id != message
                or event.delta.__class__ is not str
                or not event.delta
                or frame.run_id != name
                or frame.thread_id != thread
            ):
                break
            place += 1
        return place

    def go_on(self, pieces: Sequence[Frame], at: float) -> None:
        """Move on over what `pieces` found."""
        run = self.present
        assert run is not None
        self.seq = pieces[-1].seq
        run.events += len(pieces)
        run.last_at = run.text_at = at
        said = run.parts.append
        for piece in pieces:
            said(piece.event.delta)  # type: ignore[union-attr, arg-type]  # `pieces` has looked

    def take(self, frames: Iterable[Frame], at: float) -> list[Turn]:
        """Move on over events. Returns what was more than the present run going on."""
        turns: list[Turn] = []
        message: str | None = None
        run = self.present
        for frame in frames:
            event = frame.event
            assert event is not None
            message = None
            repeated = 0 < frame.seq <= self.seq
            if not repeated:
                self.seq = frame.seq or self.seq
            kind = event.type
            if run is None or frame.run_id != run.run:
                if frame.run_id is None:  # the snapshot at a gap belongs to no run
                    continue
                if run is not None and not run.outcome:
                    turns.append(Turn("left", run, frame))
                run = self.present = SeenRun(frame.run_id, at, whole=kind == "RUN_STARTED")
                turns.append(Turn("began", run, frame))
            elif run.outcome and not repeated:
                turns.append(Turn("late", run, frame))
            run.events += 1
            run.last_at = at
            delta = event.delta
            if kind == CONTENT:
                if isinstance(delta, str):
                    run.say(delta, at)
                if not repeated and not run.outcome and run.first_at is not None:
                    message = event.message_id
            elif kind in TERMINAL:
                if not run.outcome:
                    run.outcome = _outcome(frame)
                    run.error = event.code or ("error" if kind == "RUN_ERROR" else "")
                    self.runs_ended += 1
                    turns.append(Turn("ended", run, frame))
            elif kind == CHUNK:
                if isinstance(delta, str):
                    run.say(delta, at)
            else:
                for each in (delta, event.content, event.value):
                    if isinstance(each, str):
                        run.texts.append(each)
                    elif each is not None:
                        run.texts += _texts_in(each)
        self.message = message
        return turns


def _outcome(frame: Frame) -> str:
    event = frame.event
    if event is None or event.type == "RUN_ERROR":
        return "cancelled" if event is not None and event.code == "cancelled" else "error"
    return event.outcome.type if event.outcome is not None else "success"


def _texts_in(value: Any) -> Iterator[str]:
    """The texts in a JSON value, in their order."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            waiting.extend(reversed(each.values()))
        elif isinstance(each, list):
            waiting.extend(reversed(each))


def _joined(parts: list[str]) -> str:
    """All of it, which the list has as one piece from then on: it is asked for several times."""
    if len(parts) > 1:
        parts[:] = ["".join(parts)]
    return parts[0] if parts else ""
