"""One simulated user: a connection, the messages it sends, and the check of everything it receives.

The check is complete, not sampled: each event must be the next number of its thread, of the right thread and run, of
the type that the reference workload has at this place, and each text must carry this user's own marker. It costs about
as much as decoding the frame, so that one client core keeps ahead of one server core.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Final

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench import workload
from bench.load.frames import Frame, decode_lines
from bench.load.tally import Tally
from bench.load.target import Target

if TYPE_CHECKING:
    from bench.load.frames import Event

TYPES: Final = (*workload.EVENT_TYPES, "nothing after the end")
CONTENT: Final = "TEXT_MESSAGE_CONTENT"
FIRST: Final = workload.FIRST_DELTA
LAST: Final = workload.EVENTS - 1
TEXT: Final = WSMsgType.TEXT
CLOSED: Final = (WSMsgType.PING, WSMsgType.PONG, WSMsgType.CLOSE)
CLOSING: Final = ("TEXT_MESSAGE_END", "TOOL_CALL_END")
RESET: Final = struct.pack("ii", 1, 0)


class User(WSListener):
    """Sends `total` messages one after another, `per_thread` of them in each thread; all users use the same thread and
    run ids, so that a server that forgot the owner in a key is found out.

    `seq`, `epoch` and `position` (in the current run) survive a lost connection, so that a resume is checked as the
    continuation it has to be. Not safe outside its event loop.
    """

    __slots__ = (
        "_command",
        "_deltas",
        "_parts",
        "delay_ms",
        "epoch",
        "expects_disconnect",
        "intended",
        "mark",
        "may_be_cut",
        "message",
        "number",
        "on_attached",
        "on_done",
        "on_event",
        "per_thread",
        "position",
        "prefix",
        "run_id",
        "sent",
        "seq",
        "tally",
        "target",
        "thread_id",
        "total",
        "transport",
    )

    def __init__(self, number: int, target: Target, tally: Tally) -> None:
        self.number = number
        self.target = target
        self.tally = tally
        self.transport: WSTransport | None = None
        self.on_done: Callable[[User], None] | None = None
        """Called when the last message's run ended, or the user cannot go on."""
        self.on_event: Callable[[User, float], None] | None = None
        """Called after every message of the server that held events, with its time (`perf_counter`)."""
        self.on_attached: Callable[[User, Frame], None] | None = None
        self.expects_disconnect = False
        self.may_be_cut = False
        """Whether a run may end before its end, with RUN_ERROR; what is open is closed before."""
        self.delay_ms = 0
        self.total = self.sent = self.message = 0
        self.per_thread = 3
        self.prefix = ""
        self.intended = 0.0
        self.epoch = ""
        self.thread_id = self.run_id = self.mark = ""
        self.seq = self.position = 0
        self._command = 0
        self._deltas: list[str | None] = []
        self._parts: list[bytes] = []

    # --- the connection ---------------------------------------------------------------------------------------------

    async def connect(self, read_buffer: int = 16 * 1024, timeout: float = 30.0) -> None:
        """Open the socket. Raises `picows.WSError` or OSError."""
        await ws_connect(
            lambda: self,
            self.target.websocket_url,
            extra_headers=self.target.headers(self.number),
            read_buffer_init_size=read_buffer,
            websocket_handshake_timeout=timeout,
            max_redirects=0,
        )

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.expects_disconnect = False

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if transport is not self.transport:
            return  # an earlier connection
        self.transport = None
        if not self.expects_disconnect:
            self.tally.failed["disconnected"] += 1
            if self.on_done is not None:
                self.on_done(self)

    def close(self) -> None:
        """Say goodbye."""
        self.expects_disconnect = True
        if self.transport is not None:
            self.transport.send_close()
            self.transport.disconnect()

    def drop(self) -> None:
        """Vanish without a goodbye: the server gets a reset."""
        self.expects_disconnect = True
        if self.transport is not None:
            underlying = self.transport.underlying_transport
            with contextlib.suppress(OSError, AttributeError):
                underlying.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            underlying.abort()
            self.transport = None

    # --- what it sends ----------------------------------------------------------------------------------------------

    def plan(self, total: int, *, delay_ms: int = 0, per_thread: int = 3, prefix: str = "t") -> None:
        """What to send from the next `send` on: `total` messages, in threads named `prefix` and a number."""
        self.total, self.sent = total, 0
        self.delay_ms, self.per_thread, self.prefix = delay_ms, per_thread, prefix

    def send(self, intended: float) -> None:
        """Send the next message; its latencies count from `intended` (`perf_counter`)."""
        self._expect(self.sent)
        self.sent += 1
        self.intended = intended
        self._command += 1
        if self.transport is None:
            self._give_up("not connected")
            return
        command = self.target.run_command(self._command, self.thread_id, self.run_id, self.mark, self.delay_ms)
        self.transport.send(TEXT, command)
        self.tally.start_lag.append(perf_counter() - intended)

    def attach(self) -> None:
        """Continue after the last event seen."""
        self._command += 1
        if self.transport is not None:
            self.transport.send(TEXT, self.target.attach_command(self._command, self.thread_id, self.epoch, self.seq))

    def rewind(self, seq: int) -> None:
        """Be as if of the current thread only `seq` events had been seen: what `attach` replays is then checked. The
        thread must hold whole runs only."""
        epoch, first = self.epoch, self.message - self.message % self.per_thread
        run, position = divmod(seq, workload.EVENTS)
        self._expect(first + run)
        self.epoch, self.seq, self.position = epoch, seq, position
        self._deltas.extend(workload.deltas(self.mark)[: max(0, position - FIRST)])

    def _expect(self, message: int) -> None:
        """The next event is the first of the run of `message`."""
        self.message = message
        thread, run = divmod(message, self.per_thread)
        thread_id = f"{self.prefix}{thread}"
        if thread_id != self.thread_id:
            self.thread_id, self.epoch, self.seq = thread_id, "", 0
        self.run_id = f"r{run}"
        self.mark = workload.marker(self.number, message)
        self.position = 0
        self._deltas.clear()

    def _next(self, now: float) -> None:
        if self.message + 1 < self.sent:
            self._expect(self.message + 1)
        elif self.sent < self.total:
            self.send(now)
        elif self.on_done is not None:
            self.on_done(self)

    def _give_up(self, why: str) -> None:
        self.tally.failed[why] += 1
        if self.on_done is not None:
            self.on_done(self)

    # --- what it receives -------------------------------------------------------------------------------------------

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002
        now = perf_counter()
        if frame.msg_type is not TEXT or not frame.fin or self._parts:
            self._unusual(frame, now)
            return
        self.receive(frame.get_payload_as_memoryview(), now)

    def _unusual(self, frame: WSFrame, now: float) -> None:
        """Control frames, and messages in several frames."""
        if frame.msg_type in CLOSED:
            if frame.msg_type is WSMsgType.CLOSE and not self.expects_disconnect:
                self.tally.failed[f"closed {frame.get_close_code():d}"] += 1
            return
        if frame.msg_type is WSMsgType.BINARY:
            self.tally.violate("binary", "a binary message")
            return
        self._parts.append(frame.get_payload_as_bytes())
        if frame.fin:
            payload = b"".join(self._parts)
            self._parts.clear()
            self.receive(payload, now)

    def receive(self, payload: bytes | memoryview, now: float) -> None:
        """Check one message of the server, which came at `now` (`perf_counter`)."""
        tally = self.tally
        try:
            frames = decode_lines(payload)
        except msgspec.MsgspecError as error:
            tally.violate("malformed", f"{error}: {bytes(payload)[:200]!r}")
            return
        tally.messages += 1
        tally.received_bytes += len(payload)
        events = 0
        for frame in frames:
            event = frame.event
            if event is None:
                self._other(frame, now)
                continue
            events += 1
            position = self.position
            kind = event.type
            if (
                frame.seq != self.seq + 1
                or kind != TYPES[position]
                or frame.run_id != self.run_id
                or frame.thread_id != self.thread_id
            ):
                self._wrong(frame, event, now)
                continue
            self.seq += 1
            self.position = position + 1
            if kind == CONTENT:
                self._deltas.append(event.delta)
                if position == FIRST:
                    tally.first_token.append(now - self.intended)
            elif position == LAST:
                tally.events += events
                events = 0
                self._finished(event, now)
            else:
                self._check_content(event, position)
        tally.events += events
        if self.on_event is not None:
            self.on_event(self, now)

    def _check_content(self, event: Event, position: int) -> None:
        """What the seldom events carry."""
        if event.delta is not None and event.delta != workload.tool_arguments(self.mark):
            self._foreign(event.delta, "tool arguments")
        elif event.content is not None and event.content != workload.tool_answer(self.mark):
            self._foreign(event.content, "a tool result")
        elif position == 0 and bytes(event.input) and self.mark.encode() not in bytes(event.input):
            self._foreign(repr(bytes(event.input)), "the input")

    def _finished(self, event: Event, now: float) -> None:
        if event.outcome is not None and event.outcome.type != "success":
            self.tally.violate("outcome", f"user {self.number}: {event.outcome.type} at the end of {self.run_id}")
        text = "".join(delta or "" for delta in self._deltas)
        if text != workload.answer(self.mark) or len(self._deltas) != workload.DELTAS:
            self._foreign(text, "the answer")
        self.tally.completed += 1
        self.tally.run.append(now - self.intended)
        self._deltas.clear()
        self._next(now)

    def _foreign(self, text: str, where: str) -> None:
        """A text that is not the expected one: someone else's, or damaged."""
        kind = "damaged" if self.mark in text else "foreign"
        self.tally.violate(kind, f"user {self.number} ({self.mark}) got {text[:120]!r} in {where}")

    def _wrong(self, frame: Frame, event: Event, now: float) -> None:
        """An event that is not the expected next one."""
        place = f"user {self.number}, {frame.thread_id}/{frame.run_id} seq {frame.seq} {event.type}"
        if event.type == "RUN_ERROR" and frame.seq == self.seq + 1 and frame.run_id == self.run_id:
            self.tally.failed[event.code or "RUN_ERROR"] += 1
            self.seq, self.position = frame.seq, 0
            self._next(now)
            return
        if event.type in CLOSING and self.may_be_cut and frame.seq == self.seq + 1 and frame.run_id == self.run_id:
            self.seq, self.position = frame.seq, workload.EVENTS  # only RUN_ERROR may follow
            return
        if frame.thread_id != self.thread_id:
            self.tally.violate("thread", f"{place}, expected {self.thread_id}")
            return
        if frame.seq <= self.seq:
            self.tally.violate("duplicate", f"{place} after {self.seq}")
            return
        if frame.seq > self.seq + 1:
            self.tally.violate("gap", f"{place} after {self.seq}")
        else:
            self.tally.violate("order", f"{place}, expected {self.run_id}: {TYPES[self.position]}")
        # Go on from here, so that one lost event is one violation.
        self.seq = frame.seq
        self.position = min((frame.seq - 1) % workload.EVENTS + 1, LAST)
        if event.type in ("RUN_FINISHED", "RUN_ERROR"):
            self.tally.failed["ended wrong"] += 1
            self._next(now)

    def _other(self, frame: Frame, now: float) -> None:
        """Replies and notices."""
        if frame.re is None:
            if frame.type not in ("welcome", "token_expiring"):
                self.tally.violate("notice", f"user {self.number}: {frame.type}")
        elif not frame.ok:
            self.tally.failed[frame.error.code if frame.error else "error"] += 1
            self._next(now)
        elif frame.epoch is not None and frame.thread_id == self.thread_id:
            # On a thread that is attached already the reply may come after the run's events, and after the next `send`.
            if frame.gap:
                self.tally.violate("gap", f"user {self.number}: a gap announced on {frame.thread_id}")
            if self.epoch and frame.epoch != self.epoch:
                self.tally.violate("epoch", f"user {self.number}: {frame.epoch} instead of {self.epoch}")
            self.epoch = frame.epoch
            if self.on_attached is not None:
                self.on_attached(self, frame)
