"""The live view of operators, `/v1/admin/live`: a WebSocket that tells how the server does, each second.

It greets and lives as every WebSocket here: token, expiry, heartbeats, drain. It knows two commands, `ping` and
`refresh`. A viewer whose socket has not taken the last snapshot gets none, so that nothing queues: what it misses of
the figures is in the next history, and of the sections in its next snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from goldenpath.clock import rfc3339
from goldenpath.runtime.context import Principal
from goldenpath.runtime.dashboard.owners import IDENTITIES
from goldenpath.runtime.gateway.connection_state import Close, Effect, Ping, SendFrame
from goldenpath.runtime.gateway.faults import told
from goldenpath.runtime.gateway.peers import Reservation
from goldenpath.runtime.gateway.ws_transport import HIGH_WATER, WsTransport
from goldenpath.runtime.operators import OPERATOR
from goldenpath.wire import commands
from goldenpath.wire.commands import Command, ErrorReply, PingCommand, PingReply, RefreshCommand, RefreshReply
from goldenpath.wire.errors import TOO_MANY_CONNECTIONS, ErrorBody, RequestError
from goldenpath.wire.ids import ConnectionId, new_id
from goldenpath.wire.live import LiveFrame

if TYPE_CHECKING:
    from goldenpath.runtime.gateway.gateway import Gateway

MAX_VIEWERS: Final = 32
"""How many sockets may look at once."""
MAX_MESSAGE: Final = 16 * 1024
"""The longest message that is taken: one with a token, in bytes."""

_NEEDED: Final = frozenset({OPERATOR, IDENTITIES})
_encode = msgspec.json.Encoder().encode


class View(Protocol):
    """What viewers see."""

    def welcome(self, viewer: LiveConnection) -> None:
        """Show `viewer` everything so far."""
        ...


class ViewerStatistics(msgspec.Struct, frozen=True):
    """Who looks at the operator page."""

    viewers: int
    """Sockets that are open."""
    refused: int
    """Those that were sent away, because too many were open."""
    sent: int
    """Snapshots sent."""
    skipped: int
    """Snapshots left out for viewers that were too slow."""


class Viewers:
    """The open live sockets, `MAX_VIEWERS` at most."""

    def __init__(self) -> None:
        self._viewers: dict[LiveConnection, None] = {}
        self.refused = self.sent = self.skipped = 0

    def __len__(self) -> int:
        return len(self._viewers)

    def add(self, viewer: LiveConnection) -> bool:
        """Whether there is room for `viewer`; then it is one of them."""
        if len(self._viewers) >= MAX_VIEWERS:
            self.refused += 1
            return False
        self._viewers[viewer] = None
        return True

    def remove(self, viewer: LiveConnection) -> None:
        self._viewers.pop(viewer, None)

    def show(self, snapshot: Callable[[LiveConnection], LiveFrame]) -> None:
        """Send each viewer its snapshot, made only for those that have room for it."""
        for viewer in list(self._viewers):
            if viewer.behind:
                self.skipped += 1
            else:
                self.sent += 1
                viewer.tell(snapshot(viewer))

    def statistics(self) -> ViewerStatistics:
        return ViewerStatistics(len(self._viewers), self.refused, self.sent, self.skipped)


class LiveConnection:
    """One viewer. Belongs to the event loop's thread; the transport calls `on_...`."""

    def __init__(
        self,
        gateway: Gateway,
        view: View,
        viewers: Viewers,
        transport: WsTransport,
        principal: Principal,
        reservation: Reservation | None,
    ) -> None:
        self.principal = principal
        self.reservation = reservation
        self.identities = principal.may(IDENTITIES)
        """Whether it is told who users are."""
        self.seen = 0
        """The version of the sections that it was shown."""
        self._gateway = gateway
        self._view = view
        self._viewers = viewers
        self._transport = transport
        self._state = gateway.state_of(principal)
        self._ended = False
        self._paused = False
        self._refreshing = False

    def open(self) -> None:
        gateway = self._gateway
        if not self._viewers.add(self):
            self.end(TOO_MANY_CONNECTIONS, "too many look already")
            return
        self._send(gateway.welcome(self.principal, ConnectionId(new_id("conn"))))
        gateway.add(self)
        if not self._ended:
            self._view.welcome(self)
        self.tick(gateway.clock.monotonic())

    # --- from the transport -------------------------------------------------------------------------------------------

    def on_message(self, message: bytes, *, binary: bool) -> None:
        if self._state.is_over:
            return
        self._state.heard(self._gateway.clock.monotonic())
        for line in [message] if binary else message.split(b"\n"):
            taken = self._state.receive(line, binary=binary)
            if isinstance(taken, list):
                for effect in taken:
                    self._carry_out(effect)
            else:
                self._perform(taken)
        if self._transport.buffered >= HIGH_WATER and not self._paused:
            self._paused = True  # who does not read the answers asks no more
            self._transport.pause_reading()

    def on_heard(self) -> None:
        self._state.heard(self._gateway.clock.monotonic())

    def on_drained(self) -> None:
        self._state.wrote(self._gateway.clock.monotonic())
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def on_closed(self) -> None:
        self._state.closed()
        self._ended = True
        self._viewers.remove(self)
        self._gateway.peers.remove(self)

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

    def _perform(self, command: Command) -> None:
        if isinstance(command, PingCommand):
            self._send(PingReply(command.id, rfc3339(self._gateway.clock.time())))
        elif isinstance(command, RefreshCommand) and not self._refreshing:
            self._refreshing = True
            self._gateway.spawn(self._refresh(command))
        else:
            error = RequestError("bad_request", "here one may ping, and refresh one token at a time")
            self._send(ErrorReply(command.id, ErrorBody.of(error)))

    async def _refresh(self, command: RefreshCommand) -> None:
        gateway = self._gateway
        try:
            principal = await gateway.authenticate(command.token)
            if principal.user_id != self.principal.user_id or not self._may_stay(principal):
                raise RequestError("forbidden", "the token is another user's, or says less than this one")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 - whatever it is: told and, where it is ours, logged
            self._send(ErrorReply(command.id, ErrorBody.of(told(error, "refresh_failed"))))
            return
        finally:
            self._refreshing = False
        if not self._ended:
            self._send(RefreshReply(command.id, gateway.renew(self, self._state, principal)))

    def _may_stay(self, principal: Principal) -> bool:
        """Whether a newer token holds what this view was opened with."""
        return self.principal.permissions & _NEEDED <= principal.permissions

    # --- sending ------------------------------------------------------------------------------------------------------

    @property
    def behind(self) -> bool:
        """Whether the socket has not taken yet what was sent."""
        return self._transport.buffered > 0

    def tell(self, frame: LiveFrame) -> None:
        """Send a frame of the view. Nothing after the end."""
        if not self._ended:
            self._transport.send(_encode(frame))

    def _send(self, frame: commands.Frame) -> None:
        if not self._ended:
            self._transport.send(commands.encode(frame))

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case SendFrame():
                self._transport.send(commands.encode(effect.frame))
            case Ping():
                self._transport.ping()
            case Close():
                self._ended = True
                self._viewers.remove(self)
                if effect.abort:
                    self._transport.abort()
                else:
                    self._transport.close(effect.code, effect.reason)
