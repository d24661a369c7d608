"""Terminal events: every accepted run ends, once, and with that it is over."""

from __future__ import annotations

from math import inf
from typing import ClassVar, Final

from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import TERMINAL, Frame
from goldenpath.lab.records import Closed, Complete, Injected, Invoke, Opened, Sent
from goldenpath.lab.stream import SeenRun, Stream

GRACE: Final = 5.0
"""Seconds after the end of a fault in which a connection may still break because of it."""


class _Ask:
    """A run that somebody waits for."""

    __slots__ = ("accepted", "connected", "op", "viewer")

    def __init__(self, op: Invoke, viewer: int | None) -> None:
        self.op = op
        self.viewer = viewer
        """Whose it is; None: not known before its first event."""
        self.accepted = False
        self.connected = True


class Terminal(Checker):
    """Violations: `endless` (an accepted run whose end did not come to a viewer who was there all the time, or whose
    answer was cut off before it), `twice` (a second terminal event), `late` (another event after the terminal one).

    What a fault cuts off, while it lasts or up to `GRACE` seconds later, is lost on the way: nobody can tell whether
    the target sent an end.

    A run is accepted when a reply says so or its first event comes. A viewer who lost the connection is there again
    from its next subscription to the thread on."""

    name: ClassVar[str] = "terminal"

    def __init__(self, *, disturbed: bool = False) -> None:
        """`disturbed`: faults of the network are injected of which nothing stands in what it sees."""
        super().__init__()
        self._disturbed = disturbed
        self._faults = 0
        self._faults_end = -inf
        self._asks: dict[int, dict[int, _Ask]] = {}
        self._viewers: dict[int, int] = {}

    def injected(self, record: Injected) -> None:
        self._faults += 1 if record.on else -1
        self._faults_end = record.at

    def sent(self, op: Invoke, record: Sent) -> None:  # noqa: ARG002
        ask = self._asks.get(op.user, {}).get(op.op)
        if ask is not None:
            ask.viewer, ask.connected = self._viewers.get(op.connection), True

    def opened(self, record: Opened) -> None:
        self._viewers[record.connection] = record.viewer

    def closed(self, record: Closed) -> None:
        viewer = self._viewers.pop(record.connection, 0)
        for ask in self._asks.get(record.user, {}).values():
            if ask.viewer == viewer:
                ask.connected = False

    def invoked(self, op: Invoke) -> None:
        if op.kind == "ask":
            self._asks.setdefault(op.user, {})[op.op] = _Ask(op, self._viewers.get(op.connection))

    def replied(self, user: int, frame: Frame, at: float) -> None:  # noqa: ARG002
        ask = self._asks.get(user, {}).get(frame.re) if isinstance(frame.re, int) else None
        if ask is not None and frame.ok:
            ask.accepted = True

    def subscribed(self, stream: Stream, frame: Frame, at: float) -> None:  # noqa: ARG002
        for ask in self._asks.get(stream.user, {}).values():
            if ask.viewer in (None, stream.viewer) and ask.op.thread == stream.thread:
                ask.connected = True

    def began(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        for ask in self._asks.get(stream.user, {}).values():
            if (ask.op.thread, ask.op.run) == (stream.thread, run.run):
                ask.accepted = True
                ask.viewer = stream.viewer if ask.viewer is None else ask.viewer

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        self.checked += 1

    def completed(self, op: Invoke, record: Complete) -> None:
        asks = self._asks.get(op.user, {})
        ask = asks.pop(op.op, None)
        if ask is None:
            return
        if not asks:
            del self._asks[op.user]
        if record.outcome == "info" and record.code == "timeout" and ask.accepted and ask.connected:
            self.checked += 1
            waited = record.at - op.at
            witness = f"user {op.user} waited {waited:.1f} s for the end of run {op.run!r}, which was accepted"
            self.violate("endless", record.at, op.user, witness, thread=op.thread, run=op.run)

    def gone(self, stream: Stream, record: Closed) -> None:
        run = stream.present
        if run is None or run.outcome or record.ours:
            return
        if self._disturbed or self._faults or record.at < self._faults_end + GRACE:
            return
        witness = f"user {stream.user}: run {run.run!r} was cut off after {run.events} events, without a terminal one"
        self.violate("endless", record.at, stream.user, witness, thread=stream.thread, run=run.run)

    def late(self, stream: Stream, frame: Frame, at: float) -> None:
        assert frame.event is not None
        kind = frame.event.type
        witness = f"user {stream.user}: {kind} of run {frame.run_id!r} came after its terminal event"
        which = "twice" if kind in TERMINAL else "late"
        self.violate(which, at, stream.user, witness, thread=stream.thread, run=frame.run_id or "")
