"""One WebSocket connection: splits messages into lines, does what its state machine makes of each, and carries out its
client's commands.

Commands take effect one after another, in a task that lives only while there are any. What the client follows is the
business of subscriptions.py.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from goldenpath.clock import rfc3339
from goldenpath.runtime.context import Principal
from goldenpath.runtime.dispatcher import RunRequest
from goldenpath.runtime.gateway.connection_state import Close, Effect, Ping, SendFrame
from goldenpath.runtime.gateway.faults import told
from goldenpath.runtime.gateway.peers import Reservation
from goldenpath.runtime.gateway.subscriptions import Subscriptions
from goldenpath.runtime.gateway.ws_transport import HIGH_WATER, WsTransport
from goldenpath.runtime.interfaces import RunRow
from goldenpath.runtime.turns import LONG
from goldenpath.wire import commands
from goldenpath.wire.commands import (
    AttachCommand,
    AttachReply,
    CancelCommand,
    CancelReply,
    Command,
    DetachCommand,
    Detached,
    ErrorReply,
    Ok,
    PingCommand,
    PingReply,
    RefreshCommand,
    RefreshReply,
    RunCommand,
    RunReply,
)
from goldenpath.wire.errors import INTERNAL, TOO_MANY_CONNECTIONS, TOO_SLOW, ErrorBody, RequestError
from goldenpath.wire.ids import ConnectionId, RequestId, new_id

if TYPE_CHECKING:
    from goldenpath.runtime.gateway.gateway import Gateway

TURN_COMMANDS: Final = 8
"""How many commands of one client are carried out before others have their turn."""
COMMAND_BYTES: Final = 4096
"""This many bytes of a command count as one command more: a turn of large ones would be long."""
INBOX: Final = 64
"""With this many messages waiting, reading from the socket pauses."""
INBOX_BYTES: Final = 64 * 1024
"""The same by their size."""
SHORTEST_HOLD: Final = 0.1
"""A client that was refused a command over a rate is not listened to for so many seconds: on however many sockets it
sends, being refused must not cost more than being served."""
LONGEST_HOLD: Final = 1.0
"""The same where it has longer to wait: it is told, and it may want to say something else."""


class Connection:
    """A connected client. Belongs to the event loop's thread; the transport calls `on_...`."""

    __slots__ = (
        "_busy", "_ended", "_gateway", "_hold", "_inbox", "_inbox_bytes", "_line_start", "_own_runs", "_paused",
        "_room", "_spent", "_state", "_subscriptions", "_transport", "connection_id", "principal", "reservation",
    )  # fmt: skip

    def __init__(
        self, gateway: Gateway, transport: WsTransport, principal: Principal, reservation: Reservation | None
    ) -> None:
        self.principal = principal
        self.reservation = reservation
        self.connection_id = ConnectionId(new_id("conn"))
        self._gateway = gateway
        self._transport = transport
        self._state = gateway.state_of(principal)
        self._subscriptions = Subscriptions(
            gateway, transport, principal.user_id, fail=self.end, deleted=self._on_deleted
        )
        self._ended = False
        """Nothing more can be sent. Its state may be over before: what came before its last frame is answered."""
        self._inbox: deque[tuple[bytes, bool]] = deque()
        """Messages that wait, and whether each is binary."""
        self._inbox_bytes = 0
        self._line_start = 0
        """Where the next line begins in the first of them."""
        self._spent = 0
        """How much of its turn this client has had, in commands."""
        self._hold = 0.0
        """For how many seconds the client is not listened to."""
        self._room: asyncio.Future[None] | None = None
        """What the next command waits for while the client does not read."""
        self._busy = False
        self._paused = False
        self._own_runs: list[tuple[str, RunRow]] = []
        """Runs that end with this connection, each with its thread; some may have ended."""

    def open(self) -> None:
        """Greet the client, or send it away where there is no room for it. The upgrade is done."""
        gateway = self._gateway
        if self.reservation is None:
            self.end(TOO_MANY_CONNECTIONS, "too many connections")
            return
        self._send(gateway.welcome(self.principal, self.connection_id))
        gateway.add(self)
        self.tick(gateway.clock.monotonic())

    # --- from the transport -------------------------------------------------------------------------------------------

    def on_message(self, message: bytes, *, binary: bool) -> None:
        """A whole message came."""
        if self._state.is_over:
            return
        self._state.heard(self._gateway.clock.monotonic())
        # It waits as it is: split into lines or decoded, many small commands would take many times the message's size.
        self._inbox.append((message, binary))
        self._inbox_bytes += len(message)
        if not self._busy:
            self._work_off()
        if not self._paused and (len(self._inbox) > INBOX or self._inbox_bytes > INBOX_BYTES):
            self._paused = True
            self._transport.pause_reading()

    def on_heard(self) -> None:
        """A ping or pong came."""
        self._state.heard(self._gateway.clock.monotonic())

    def on_drained(self) -> None:
        """The socket has room again."""
        self._state.wrote(self._gateway.clock.monotonic())
        self._let_go_on()
        self._subscriptions.flush()

    def _let_go_on(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def on_closed(self) -> None:
        """The connection is gone, for whatever reason."""
        self._state.closed()
        self._ended = True
        self._inbox.clear()
        self._inbox_bytes = self._line_start = 0
        self._let_go_on()
        self._subscriptions.close()
        self._gateway.peers.remove(self)
        if self._own_runs:
            self._gateway.spawn(self._cancel_runs(self._own_runs))
            self._own_runs = []

    async def _cancel_runs(self, runs: list[tuple[str, RunRow]]) -> None:
        for thread_id, run in runs:
            try:
                await self._gateway.dispatcher.cancel(self.principal, thread_id, run.run_id)
            except RequestError:
                continue  # deleted meanwhile

    # --- from the gateway ---------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        if self._paused:  # its pongs wait unread, and that is our doing
            self._state.heard(now)
        for effect in self._state.tick(now, self._transport.buffered):
            self._carry_out(effect)

    def end(self, code: int, reason: str) -> None:
        if not self._state.is_over:
            self._carry_out(self._state.close(code, reason))

    # --- commands -----------------------------------------------------------------------------------------------------

    def _work_off(self) -> None:
        """Carry out what can be at once; the first command that has to wait takes the rest into a task."""
        command: Command | None = None
        # A turn goes on from one message to the next: many small ones may come at once.
        while command is None and self._spent < TURN_COMMANDS and not self._hold and not self._is_full:
            if not self._inbox:
                return
            if len(self._inbox[0][0]) >= LONG:
                break
            command = self._take(*self._next_line())
            if isinstance(command, PingCommand):
                self._pong(command)
                command = None
        if command is not None or self._inbox or self._hold:
            self._busy = True
            self._gateway.spawn(self._serve(command))

    @property
    def _is_full(self) -> bool:
        """Whether the client must read before it is answered more: what it asks for may be large."""
        return self._transport.buffered >= HIGH_WATER

    def _take(self, line: bytes, binary: bool) -> Command | None:
        """Take in a line; None where it holds no command: it is answered already."""
        self._spent += 1 + len(line) // COMMAND_BYTES
        taken = self._state.receive(line, binary=binary)
        if not isinstance(taken, list):
            return self._admit(taken, len(line))
        for effect in taken:
            self._carry_out(effect)
        return None

    def _admit(self, command: Command, size: int) -> Command | None:
        """The command, unless a rate has no room for it: then that is answered."""
        try:
            self._gateway.rates.command(self.principal, size, runs=isinstance(command, RunCommand))
        except RequestError as error:
            self._send(ErrorReply(command.id, ErrorBody.of(error)))
            self._hold = min(max(error.retry_after or 0.0, SHORTEST_HOLD), LONGEST_HOLD)
            return None
        return command

    async def _next_command(self) -> Command | None:
        line, binary = self._next_line()
        if len(line) < LONG:
            return self._take(line, binary)
        async with self._gateway.reading(self.principal, len(line)):
            return self._take(line, binary)

    def _next_line(self) -> tuple[bytes, bool]:
        message, binary = self._inbox[0]
        start = self._line_start
        end = -1 if binary else message.find(b"\n", start)
        if end >= 0:
            self._line_start = end + 1
            return message[start:end], False
        self._inbox.popleft()
        self._inbox_bytes -= len(message)
        self._line_start = 0
        return message[start:], binary

    async def _serve(self, command: Command | None) -> None:
        self._spent = 0
        try:
            while True:
                if command is not None:
                    await self._perform(command)
                if self._hold:
                    await self._gateway.clock.sleep(self._hold)
                    self._hold = 0.0
                if self._spent >= TURN_COMMANDS:
                    await asyncio.sleep(0)  # a thousand commands that never wait must not stop everybody else
                    self._spent = 0
                if self._paused and len(self._inbox) < INBOX // 2 and self._inbox_bytes < INBOX_BYTES // 2:
                    self._paused = False
                    self._transport.resume_reading()
                if not self._inbox:
                    return
                if self._is_full:
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
                command = await self._next_command() if self._inbox else None
        finally:
            self._busy = False

    def _pong(self, command: PingCommand) -> None:
        self._send(PingReply(command.id, rfc3339(self._gateway.clock.time())))

    async def _perform(self, command: Command) -> None:
        request_id = RequestId(new_id("req"))
        try:
            match command:
                case DetachCommand():
                    self._subscriptions.detach(command.thread_id)
                    self._send(Ok(command.id))
                case PingCommand():
                    self._pong(command)
                case _:
                    async with self._gateway.in_time():
                        await self._work_on(command, request_id)
        except Exception as error:  # noqa: BLE001 - whatever it is: told and, where it is ours, logged
            self._send(
                ErrorReply(
                    command.id, ErrorBody.of(told(error, "command_failed", request_id, command=type(command).__name__))
                )
            )

    async def _work_on(self, command: Command, request_id: RequestId) -> None:
        match command:
            case RunCommand():
                await self._run(command, request_id)
            case AttachCommand():
                await self._attach(command)
            case CancelCommand():
                cancelled = await self._gateway.dispatcher.cancel(self.principal, command.thread_id, command.run_id)
                self._send(CancelReply(command.id, list(cancelled)))
            case RefreshCommand():
                await self._refresh(command)

    async def _run(self, command: RunCommand, request_id: RequestId) -> None:
        gateway = self._gateway
        named = command.thread_id or (command.input.thread_id if command.input is not None else None)
        if named is None or named not in self._subscriptions:
            self._check_attached()
        request = RunRequest(
            agent=command.agent,
            text=command.text,
            input=command.input,
            thread_id=command.thread_id,
            run_id=command.run_id,
            on_busy=command.on_busy,
        )
        async with gateway.dispatcher.start(self.principal, request, request_id) as accepted:
            log, run = accepted.log, accepted.run
            thread_id = log.key.thread_id
            if command.on_disconnect == "cancel" and not accepted.known:
                if self._ended:
                    gateway.spawn(self._cancel_runs([(thread_id, run)]))
                    return
                # Those that have ended go: what is left is no more than a user may have at once.
                self._own_runs = [own for own in self._own_runs if own[1].finished_at is None]
                self._own_runs.append((thread_id, run))
            seq = accepted.seq
            snapshot: bytes | None = None
            if thread_id not in self._subscriptions and log.removed(seq):  # what a known run said is no longer held
                seq, snapshot = await gateway.snapshot(log)
            if self._ended:
                return
            reply = RunReply(command.id, thread_id, run.run_id, accepted.status, log.epoch, seq)
            if snapshot is not None:
                reply.gap = True
            self._send(reply)
            if thread_id not in self._subscriptions:
                self._subscriptions.subscribe(log, seq, snapshot)

    async def _attach(self, command: AttachCommand) -> None:
        gateway = self._gateway
        if command.thread_id not in self._subscriptions:
            self._check_attached()
        async with gateway.dispatcher.opened(self.principal, command.thread_id) as log:
            after = command.after
            snapshot: bytes | None = None
            if after is None:
                seq = log.visible
            elif not log.missing(after.epoch, after.seq):
                seq = after.seq
            else:
                seq, snapshot = await gateway.snapshot(log)
            if self._ended:
                return
            self._subscriptions.detach(command.thread_id)
            self._send(AttachReply(command.id, command.thread_id, log.epoch, seq, log.visible, snapshot is not None))
            self._subscriptions.subscribe(log, seq, snapshot)

    def _check_attached(self) -> None:
        if len(self._subscriptions) >= self._gateway.settings.max_attached_threads:
            raise RequestError("quota_exceeded", "this connection follows as many threads as it may; detach one")

    async def _refresh(self, command: RefreshCommand) -> None:
        principal = await self._gateway.authenticate(command.token)
        if principal.user_id != self.principal.user_id:
            raise RequestError("forbidden", "the token is another user's")
        if not self._ended:
            self._send(RefreshReply(command.id, self._gateway.renew(self, self._state, principal)))

    def _on_deleted(self, thread_id: str) -> None:
        self._send(Detached(thread_id, "deleted"))

    # --- sending ------------------------------------------------------------------------------------------------------

    def _send(self, frame: commands.Frame) -> None:
        if not self._ended:
            self._transport.send(commands.encode(frame))

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case SendFrame():
                # Also when a Close follows: the tenth bad frame is answered.
                self._transport.send(commands.encode(effect.frame))
            case Ping():
                self._transport.ping()
            case Close():
                self._ended = True
                if effect.abort or effect.code in (INTERNAL, TOO_SLOW):
                    self._gateway.undelivered += self._subscriptions.behind
                self._subscriptions.close()
                if effect.abort:
                    self._transport.abort()
                else:
                    self._transport.close(effect.code, effect.reason)
