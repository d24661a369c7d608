"""What all transports share: who is connected, how a token becomes a principal, the tick, the drain."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final

import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.auth.accounts import Accounts
from goldenpath.runtime.context import Principal, check_permission
from goldenpath.runtime.deadlines import Deadlines
from goldenpath.runtime.dispatcher import Dispatcher
from goldenpath.runtime.event_log import EventLog
from goldenpath.runtime.flags.flags import Flags
from goldenpath.runtime.forwarded import TrustedProxies, neighbourhood
from goldenpath.runtime.gateway.connection import Connection
from goldenpath.runtime.gateway.connection_state import ConnectionState
from goldenpath.runtime.gateway.faults import counted, told
from goldenpath.runtime.gateway.handshake import OriginError, read_handshake
from goldenpath.runtime.gateway.isolation import Isolation
from goldenpath.runtime.gateway.peers import Peer, Peers, Reservation
from goldenpath.runtime.gateway.upgrade import SocketPath, Upgrade
from goldenpath.runtime.group_commit import GroupCommit
from goldenpath.runtime.rates import RateLimits
from goldenpath.runtime.recovery import Recovery
from goldenpath.runtime.scheduler import Scheduler
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.signals import Signals
from goldenpath.runtime.thread_log import ThreadLog
from goldenpath.runtime.turns import LONG, Turns
from goldenpath.wire.commands import Limits, Welcome
from goldenpath.wire.errors import GOING_AWAY, UNAUTHORIZED, RequestError
from goldenpath.wire.ids import ConnectionId, SessionId

TICK: Final = 1.0
"""How often connections are told the time, in seconds; their time-outs are late by no more than this."""

PATIENCE: Final = 5.0
"""Who hangs up after waiting so long for `welcome` timed out, in seconds: it is what is promised for 95 %."""

WARNING_INTERVAL: Final = 60.0
"""Pages that may not connect are told of in the log no more often than this, in seconds."""

_logger = structlog.get_logger("goldenpath.gateway")


class Gateway:
    """Shared by every connection of one server. Belongs to the event loop's thread."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        scheduler: Scheduler,
        recovery: Recovery,
        event_log: EventLog,
        commits: GroupCommit,
        accounts: Accounts,
        turns: Turns,
        clock: Clock,
        settings: Settings,
        flags: Flags,
        signals: Signals,
        deadlines: Deadlines,
    ) -> None:
        self._turns = turns
        self.dispatcher = dispatcher
        self.scheduler = scheduler
        self._recovery = recovery
        self.event_log = event_log
        self.commits = commits
        self.accounts = accounts
        self.clock = clock
        self.settings = settings
        self.flags = flags
        self.signals = signals
        self._deadlines = deadlines
        self.isolation = Isolation()
        self.delivered = self.undelivered = 0
        """Events since the last tick that were sent, and that connections ended without: these follow no thread of the
        time, so that a batch costs an addition."""
        self.peers = Peers(
            max_peers=settings.max_connections,
            max_per_user=settings.max_connections_per_user,
            max_per_address=settings.max_connections_per_address,
        )
        self.rates = RateLimits(settings, clock)
        self.proxies = TrustedProxies(settings.trusted_proxies)
        self.sockets = {"/v1/ws": SocketPath(partial(Connection, self), settings.max_message_bytes)}
        """By path, what answers upgrades."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._next_warning = -math.inf
        accounts.on_revoked(self._on_revoked)

    def in_time(self) -> AbstractAsyncContextManager[None]:
        """`async with` it around the work on something that was received: it raises `TimedOut` where that takes longer
        than `websocket_recv_timeout`."""
        return self._deadlines.within(self._deadlines.start("websocket_recv"))

    @property
    def ready(self) -> bool:
        """Whether recovery is over."""
        return self._recovery.done.is_set()

    async def start(self) -> None:
        """Begin to tell the time."""
        self._ticker = asyncio.create_task(self._tick_loop(), name="goldenpath-ticks")

    async def stop(self) -> None:
        """End the tick and what connections started. They were closed before."""
        tasks = [task for task in (self._ticker, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tick_loop(self) -> None:
        while True:
            await self.clock.sleep(TICK)
            now = self.clock.monotonic()
            self._record(now)
            try:
                self.peers.tick(now)
            except Exception:
                _logger.exception("tick_failed")

    def _record(self, now: float) -> None:
        signals = self.signals
        signals.delivered.add(now, self.delivered)
        signals.undelivered.add(now, self.undelivered)
        self.delivered = self.undelivered = 0

    @asynccontextmanager
    async def reading(self, principal: Principal, size: int) -> AsyncIterator[None]:
        """The user's turn to have `size` bytes of JSON read, in the block. Cancelling is safe."""
        if size < LONG:
            yield
        else:
            async with self._turns.ahead(principal.user_id):
                yield

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run `coroutine` in the background; a failure is logged."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("task_failed", exc_info=error)

    async def authenticate(self, token: str) -> Principal:
        """The principal of an access token. Raises `RequestError`: `unauthorized`, or `timeout` and
        `upstream_unavailable` where an identity provider is asked for its keys."""
        principal = self.accounts.check_now(token)
        if principal is None:
            async with self.in_time():
                principal = await self.accounts.authenticate(token)
        return principal

    def state_of(self, principal: Principal) -> ConnectionState:
        """The state of a WebSocket that `principal` opens now."""
        settings = self.settings
        return ConnectionState(
            self.clock.monotonic(),
            token_life=principal.expires_at - self.clock.time(),
            heartbeat=settings.heartbeat,
            write_timeout=settings.write_timeout,
            max_bad_frames=settings.max_bad_frames,
        )

    def welcome(self, principal: Principal, connection_id: ConnectionId) -> Welcome:
        """How a WebSocket of this user's is greeted."""
        settings, tier = self.settings, self.settings.tier(principal.tier)
        limits = Limits(
            max_message_bytes=settings.max_message_bytes,
            max_attached_threads=settings.max_attached_threads,
            max_running=tier.max_running,
            max_queued=tier.max_queued,
        )
        return Welcome(
            protocol=1,
            connection_id=connection_id,
            user_id=principal.user_id,
            heartbeat=settings.heartbeat,
            limits=limits,
        )

    def renew(self, peer: Peer, state: ConnectionState, principal: Principal) -> float:
        """`peer` goes on with the token that `principal` was made from. Returns for how many seconds."""
        life = principal.expires_at - self.clock.time()
        self.peers.renew(peer, principal)
        state.renew(life, self.clock.monotonic())
        return round(life, 3)

    async def snapshot(self, log: ThreadLog) -> tuple[int, bytes]:
        """A MESSAGES_SNAPSHOT event and the seq up to which it is complete. Raises `LogDeletedError`, `RequestError`
        (`rate_limited`)."""
        seq, messages = await self.event_log.history(log)
        return seq, b'{"type":"MESSAGES_SNAPSHOT","messages":[%b]}' % b",".join(messages)

    # --- who may connect ----------------------------------------------------------------------------------------------

    async def admit_upgrade(
        self, path: SocketPath, client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]]
    ) -> Upgrade:
        """Check a WebSocket upgrade: origin, token, permission, limits. `client` is the other end of the socket (None:
        unknown).

        Raises nothing but `RequestError`: what fails here is refused like everything else.
        """
        try:
            headers = list(headers)
            address = self.address(client, headers)
            self._check_open()
            if path.permission is None:
                self.peers.check_room(address)  # a full server spends nothing on tokens
            handshake = read_handshake(headers, self.settings.allowed_origins)
            principal = await self.authenticate(handshake.token)
            self._check_open()
            if path.permission is not None:
                check_permission(principal, path.permission)
                return Upgrade(path, principal, handshake.subprotocol, None)
            reservation = self.peers.reserve(principal.user_id, address)
            return Upgrade(path, principal, handshake.subprotocol, reservation)
        except Exception as error:  # noqa: BLE001 - whatever it is: told and, where it is ours, logged
            if isinstance(error, OriginError):
                self._warn(error)
            if path.permission is None:
                self.signals.connect.fail(counted(error), self.clock.monotonic())
            raise told(error, "upgrade_failed") from None

    def upgraded(self, asked_at: float, upgrade: Upgrade) -> None:
        """The upgrade that was asked for at `asked_at` is done: the client was greeted, or was told that all its user's
        connections are taken."""
        connect, now = self.signals.connect, self.clock.monotonic()
        if upgrade.path.permission is not None:
            return
        if upgrade.reservation is None:
            connect.refused.add(now)
        else:
            connect.took.record(now - asked_at, now)

    def upgrade_abandoned(self, asked_at: float) -> None:
        """The client of an upgrade that was admitted had hung up by then: it waited too long, or changed its mind."""
        now = self.clock.monotonic()
        if now - asked_at >= PATIENCE:
            self.signals.connect.timed_out.add(now)

    def upgrade_broke(self) -> None:
        """An upgrade that was admitted failed after all."""
        self.signals.connect.failed.add(self.clock.monotonic())

    def _warn(self, error: OriginError) -> None:
        """Tell the operator what no page can be told. Anybody can cause it, so it is told rarely, and shortly."""
        now = self.clock.monotonic()
        if now < self._next_warning:
            return
        self._next_warning = now + WARNING_INTERVAL
        _logger.warning(
            "origin_refused",
            origin=ascii(error.origin[:200]),
            host=ascii(error.host[:200]),
            GOLDENPATH_ALLOWED_ORIGINS=list(self.settings.allowed_origins),
            advice="allow the origin, or have the proxy pass the Host header on",
        )

    def admit_stream(
        self, principal: Principal, client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]]
    ) -> Reservation:
        """Room for an SSE stream. Raises `RequestError`: `draining`, `overloaded`, `rate_limited`."""
        self._check_open()
        reservation = self.peers.reserve(principal.user_id, self.address(client, headers))
        if reservation is None:
            raise RequestError("rate_limited", "all your connections are taken", retry_after=5.0)
        return reservation

    def address(self, client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """What counts as the client's address; None: it has none, as over a Unix socket without a proxy."""
        return neighbourhood(self.proxies.client_address(client[0] if client else None, headers))

    def _check_open(self) -> None:
        if self.scheduler.draining:
            raise RequestError("draining", "the server is shutting down", retry_after=1.0)

    def add(self, peer: Peer) -> None:
        """Know `peer` from now on. Where its session or the server ended while it was let in, it ends at once."""
        self.peers.add(peer)
        if self.accounts.is_revoked(peer.principal.session_id):
            peer.end(UNAUTHORIZED, "the session was ended")
        elif self.scheduler.draining:
            peer.end(GOING_AWAY, "the server is shutting down")

    def _on_revoked(self, session_id: SessionId) -> None:
        self.peers.end_session(session_id, UNAUTHORIZED, "the session was ended")

    def close_peers(self) -> None:
        """Send everybody away: the server drains."""
        for peer in self.peers:
            peer.end(GOING_AWAY, "the server is shutting down")
