"""One WebSocket connection: does what its state machine decides, and feeds its subscriptions' events to the socket.

Commands take effect one after another, in a task that lives only while there are any. Events are never queued for a
client: a flush reads from the logs, where its followers stand, as much as the socket takes, and goes on when the socket
has room. A client that does not read therefore costs its followers and one socket buffer.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from goldenpath.clock import rfc3339
from goldenpath.runtime.context import Principal
from goldenpath.runtime.dispatcher import RunRequest
from goldenpath.runtime.gateway.connection_state import Close, ConnectionState, Effect, Ping, SendFrame
from goldenpath.runtime.gateway.faults import told
from goldenpath.runtime.gateway.peers import Reservation
from goldenpath.runtime.interfaces import StoreError
from goldenpath.runtime.thread_log import Batch, Follower, ThreadLog
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
    Welcome,
    event_frame_head,
)
from goldenpath.wire.errors import INTERNAL, TOO_MANY_CONNECTIONS, TOO_SLOW, ErrorBody, RequestError
from goldenpath.wire.ids import ConnectionId, RequestId, RunId, new_id

if TYPE_CHECKING:
    from goldenpath.runtime.gateway.gateway import Gateway

HIGH_WATER: Final = 64 * 1024
"""A socket that has this many bytes to send gets no more for now."""
MESSAGE_BYTES: Final = 64 * 1024
"""About how much one WebSocket message carries at most, a single larger event apart."""
TURN_BYTES: Final = 256 * 1024
"""How much one flush sends before it lets others have their turn."""
TURN_COMMANDS: Final = 8
"""How many commands of one client are carried out before others have their turn."""
INBOX: Final = 64
"""With this many lines waiting, reading from the socket pauses."""

_logger = structlog.get_logger("goldenpath.connection")


class WsTransport(Protocol):
    """A WebSocket as the connection needs it. All calls are synchronous and raise nothing after the end.

    Once `buffered` was `HIGH_WATER` or more, the transport calls the connection's `on_drained` when it is well below.
    """

    def send(self, message: bytes) -> None:
        """Send one text message."""
        ...

    def ping(self) -> None: ...

    def close(self, code: int, reason: str) -> None:
        """Send a close frame after what was sent, then end; at the latest after a few seconds."""
        ...

    def abort(self) -> None:
        """End at once."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes that the socket has not taken yet."""
        ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class _Subscription:
    """One thread that this connection follows."""

    __slots__ = ("batch", "follower", "head", "loading", "queued", "run_id", "thread_id")

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        self.follower: Follower
        self.batch: Batch | None = None
        """Events that were read from the store and wait to be sent."""
        self.loading = False
        self.queued = False
        self.run_id: RunId | None = None
        self.head = b""
        """The start of every frame of the run `run_id`."""


class Connection:
    """A connected client. Belongs to the event loop's thread; the transport calls `on_...`."""

    __slots__ = (
        "_busy", "_ended", "_flush_due", "_gateway", "_inbox", "_paused", "_room", "_state", "_subscriptions",
        "_to_cancel", "_transport", "_turn", "connection_id", "principal", "reservation",
    )  # fmt: skip

    def __init__(
        self, gateway: Gateway, transport: WsTransport, principal: Principal, reservation: Reservation | None
    ) -> None:
        self.principal = principal
        self.reservation = reservation
        self.connection_id = ConnectionId(new_id("conn"))
        self._gateway = gateway
        self._transport = transport
        settings = gateway.settings
        self._state = ConnectionState(
            gateway.clock.monotonic(),
            token_life=principal.expires_at - gateway.clock.time(),
            heartbeat=settings.heartbeat,
            write_timeout=settings.write_timeout,
            max_bad_frames=settings.max_bad_frames,
        )
        self._subscriptions: dict[str, _Subscription] = {}
        self._turn: deque[_Subscription] = deque()
        """Subscriptions that have something to send."""
        self._flush_due = False
        self._ended = False
        """Nothing more can be sent. Its state may be over before: what came before its last frame is answered."""
        self._inbox: deque[tuple[bytes, bool]] = deque()
        """Lines that wait, and whether each is a binary message."""
        self._room: asyncio.Future[None] | None = None
        """What the next command waits for while the client does not read."""
        self._busy = False
        self._paused = False
        self._to_cancel: dict[tuple[str, str], None] = {}

    def open(self) -> None:
        """Greet the client, or send it away where there is no room for it. The upgrade is done."""
        gateway = self._gateway
        if self.reservation is None:
            self.end(TOO_MANY_CONNECTIONS, "too many connections")
            return
        self._send(
            Welcome(
                protocol=1,
                connection_id=self.connection_id,
                user_id=self.principal.user_id,
                heartbeat=gateway.settings.heartbeat,
                limits=gateway.limits(self.principal),
            )
        )
        gateway.add(self)
        self.tick(gateway.clock.monotonic())

    # --- from the transport -------------------------------------------------------------------------------------------

    def on_message(self, message: bytes, *, binary: bool) -> None:
        """A whole message came."""
        if self._state.is_over:
            return
        self._state.heard(self._gateway.clock.monotonic())
        # Lines wait undecoded: a message of many small commands would otherwise take many times its own size.
        if binary or b"\n" not in message:
            self._inbox.append((message, binary))
        else:
            self._inbox.extend((line, False) for line in message.split(b"\n"))
        if not self._busy:
            self._work_off()
        if len(self._inbox) > INBOX and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_heard(self) -> None:
        """A ping or pong came."""
        self._state.heard(self._gateway.clock.monotonic())

    def on_drained(self) -> None:
        """The socket has room again."""
        self._state.wrote(self._gateway.clock.monotonic())
        self._let_go_on()
        self._flush()

    def _let_go_on(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def on_closed(self) -> None:
        """The connection is gone, for whatever reason."""
        self._state.closed()
        self._ended = True
        self._inbox.clear()
        self._let_go_on()
        self._turn.clear()
        for subscription in self._subscriptions.values():
            self._gateway.event_log.unsubscribe(subscription.follower)
        self._subscriptions.clear()
        self._gateway.peers.remove(self)
        if self._to_cancel:
            self._gateway.spawn(self._cancel_runs(list(self._to_cancel)))
            self._to_cancel = {}

    async def _cancel_runs(self, runs: list[tuple[str, str]]) -> None:
        for thread_id, run_id in runs:
            try:
                await self._gateway.dispatcher.cancel(self.principal, thread_id, run_id)
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
        for _ in range(TURN_COMMANDS):
            if not self._inbox:
                return
            if self._is_full:
                self._busy = True
                self._gateway.spawn(self._serve(None))
                return
            command = self._next_command()
            if isinstance(command, PingCommand):
                self._pong(command)
            elif command is not None:
                self._busy = True
                self._gateway.spawn(self._serve(command))
                return
        if self._inbox:
            self._busy = True
            self._gateway.spawn(self._serve(None))

    @property
    def _is_full(self) -> bool:
        """Whether the client must read before it is answered more: what it asks for may be large."""
        return self._transport.buffered >= HIGH_WATER

    def _next_command(self) -> Command | None:
        """Take in the next line; None where it holds no command: it is answered already."""
        line, binary = self._inbox.popleft()
        for item in self._state.receive(line, binary=binary, now=self._gateway.clock.monotonic()):
            if not isinstance(item, SendFrame | Close | Ping):
                return item
            self._carry_out(item)
        return None

    async def _serve(self, command: Command | None) -> None:
        try:
            for turn in itertools.count(1):
                if command is not None:
                    await self._perform(command)
                if turn % TURN_COMMANDS == 0:
                    await asyncio.sleep(0)  # a thousand commands that never wait must not stop everybody else
                if self._paused and len(self._inbox) < INBOX // 2:
                    self._paused = False
                    self._transport.resume_reading()
                if not self._inbox:
                    return
                if self._is_full:
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
                command = self._next_command() if self._inbox else None
        finally:
            self._busy = False

    def _pong(self, command: PingCommand) -> None:
        self._send(PingReply(command.id, rfc3339(self._gateway.clock.time())))

    async def _perform(self, command: Command) -> None:
        request_id = RequestId(new_id("req"))
        try:
            match command:
                case RunCommand():
                    await self._run(command, request_id)
                case AttachCommand():
                    await self._attach(command)
                case DetachCommand():
                    self._detach(command.thread_id)
                    self._send(Ok(command.id))
                case CancelCommand():
                    dispatcher = self._gateway.dispatcher
                    cancelled = await dispatcher.cancel(self.principal, command.thread_id, command.run_id)
                    self._send(CancelReply(command.id, list(cancelled)))
                case RefreshCommand():
                    await self._refresh(command)
                case PingCommand():
                    self._pong(command)
        except Exception as error:  # noqa: BLE001 - whatever it is: told and, where it is ours, logged
            self._send(
                ErrorReply(
                    command.id, ErrorBody.of(told(error, "command_failed", request_id, command=type(command).__name__))
                )
            )

    async def _run(self, command: RunCommand, request_id: RequestId) -> None:
        gateway = self._gateway
        named = command.thread_id or (command.input.thread_id if command.input is not None else None)
        if named not in self._subscriptions:
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
                    gateway.spawn(self._cancel_runs([(thread_id, run.run_id)]))
                    return
                self._to_cancel[thread_id, run.run_id] = None
            if self._ended:
                return
            self._send(RunReply(command.id, thread_id, run.run_id, accepted.status, log.epoch, accepted.seq))
            if thread_id not in self._subscriptions:
                self._subscribe(log, accepted.seq)

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
            self._detach(command.thread_id)
            self._send(AttachReply(command.id, command.thread_id, log.epoch, seq, log.visible, snapshot is not None))
            if snapshot is not None:
                self._transport.send(b'%b%d,"event":%b}' % (event_frame_head(command.thread_id, None), seq, snapshot))
            self._subscribe(log, seq)

    def _check_attached(self) -> None:
        if len(self._subscriptions) >= self._gateway.settings.max_attached_threads:
            raise RequestError("quota_exceeded", "this connection follows as many threads as it may; detach one")

    async def _refresh(self, command: RefreshCommand) -> None:
        principal = await self._gateway.authenticate(command.token)
        if principal.user_id != self.principal.user_id:
            raise RequestError("forbidden", "the token is another user's")
        if self._ended:
            return
        life = principal.expires_at - self._gateway.clock.time()
        self._gateway.peers.renew(self, principal)
        self._state.renew(life, self._gateway.clock.monotonic())
        self._send(RefreshReply(command.id, round(life, 3)))

    # --- subscriptions ------------------------------------------------------------------------------------------------

    def _subscribe(self, log: ThreadLog, seq: int) -> None:
        subscription = _Subscription(log.key.thread_id)

        def notify() -> None:
            self._due(subscription)

        def on_deleted() -> None:
            self._drop(subscription)
            self._send(Detached(subscription.thread_id, "deleted"))

        subscription.follower = Follower(log, seq, notify, on_deleted)
        self._subscriptions[log.key.thread_id] = subscription
        self._gateway.event_log.subscribe(subscription.follower)
        if subscription.follower.behind:
            self._due(subscription)

    def _detach(self, thread_id: str) -> None:
        subscription = self._subscriptions.get(thread_id)
        if subscription is not None:
            self._gateway.event_log.unsubscribe(subscription.follower)
            self._drop(subscription)

    def _drop(self, subscription: _Subscription) -> None:
        if self._subscriptions.get(subscription.thread_id) is subscription:
            del self._subscriptions[subscription.thread_id]
        if subscription.queued:
            subscription.queued = False
            self._turn.remove(subscription)

    # --- sending ------------------------------------------------------------------------------------------------------

    def _due(self, subscription: _Subscription) -> None:
        if subscription.queued or subscription.loading:
            return
        subscription.queued = True
        self._turn.append(subscription)
        if len(self._subscriptions) == 1:
            self._flush()
        elif not self._flush_due:  # several threads may become due with one commit: send them together
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush_later)

    def _flush_later(self) -> None:
        self._flush_due = False
        self._flush()

    def _flush(self) -> None:
        """Send what is due, as much as the socket takes."""
        transport, turn = self._transport, self._turn
        sent = 0
        frames: list[bytes] = []
        size = 0
        while turn and not self._ended:
            if sent + size >= TURN_BYTES:
                if not self._flush_due:
                    self._flush_due = True
                    asyncio.get_running_loop().call_soon(self._flush_later)
                break
            if transport.buffered + size >= HIGH_WATER:
                break  # `on_drained` goes on
            subscription = turn[0]
            follower = subscription.follower
            batch = self._next_batch(subscription)
            if batch is None:
                turn.popleft()
                subscription.queued = False
                continue
            if batch.run_id != subscription.run_id:
                subscription.run_id = batch.run_id
                subscription.head = event_frame_head(subscription.thread_id, batch.run_id)
            head, seq = subscription.head, batch.first_seq
            for event in batch.events:
                frames.append(b'%b%d,"event":%b}' % (head, seq, event))
                size += len(event)
                seq += 1
            follower.position = seq - 1
            if size >= MESSAGE_BYTES:
                transport.send(b"\n".join(frames))
                sent += size
                frames, size = [], 0
        if frames:
            transport.send(b"\n".join(frames))

    def _next_batch(self, subscription: _Subscription) -> Batch | None:
        """The next events of a subscription; None when there are none now, or they are being loaded."""
        follower = subscription.follower
        if not follower.behind:
            return None
        batch = follower.log.read(follower.position, MESSAGE_BYTES)
        if batch is not None:
            return batch
        batch, subscription.batch = subscription.batch, None
        if batch is not None and batch.first_seq == follower.position + 1:
            return batch
        subscription.loading = True
        self._gateway.spawn(self._load(subscription))
        return None

    async def _load(self, subscription: _Subscription) -> None:
        follower = subscription.follower
        try:
            batch = await self._gateway.event_log.read(follower.log, follower.position, MESSAGE_BYTES)
        except StoreError:
            _logger.exception("replay_failed")
            self.end(INTERNAL, "the log cannot be read")
            return
        finally:
            subscription.loading = False
        if self._subscriptions.get(subscription.thread_id) is not subscription:
            return
        if batch is None and follower.log.lost(follower.position):
            self.end(TOO_SLOW, "the log moved past the cursor; attach again")
            return
        subscription.batch = batch
        if follower.behind:
            self._due(subscription)

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
                if effect.abort:
                    self._transport.abort()
                else:
                    self._transport.close(effect.code, effect.reason)
