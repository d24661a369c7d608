"""What all transports share: who is connected, how a token becomes a principal, the tick, the drain."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.auth.accounts import Accounts
from goldenpath.runtime.context import Principal
from goldenpath.runtime.dispatcher import Dispatcher
from goldenpath.runtime.event_log import EventLog
from goldenpath.runtime.forwarded import TrustedProxies
from goldenpath.runtime.gateway.faults import told
from goldenpath.runtime.gateway.handshake import OriginError, read_handshake
from goldenpath.runtime.gateway.peers import Peer, Peers, Reservation
from goldenpath.runtime.gateway.stalls import Stalls
from goldenpath.runtime.group_commit import GroupCommit
from goldenpath.runtime.recovery import Recovery
from goldenpath.runtime.scheduler import Scheduler
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.thread_log import ThreadLog
from goldenpath.runtime.turns import LONG, Turns
from goldenpath.wire.commands import Limits
from goldenpath.wire.errors import GOING_AWAY, UNAUTHORIZED, RequestError
from goldenpath.wire.ids import SessionId

TICK: Final = 1.0
"""How often connections are told the time, in seconds; their time-outs are late by no more than this."""

WARNING_INTERVAL: Final = 60.0
"""Pages that may not connect are told of in the log no more often than this, in seconds."""

BLOCKING: Final = "something blocked it, often an async agent: make that a plain function, or call run.in_thread"

_logger = structlog.get_logger("goldenpath.gateway")


class Upgrade(msgspec.Struct, frozen=True):
    """A WebSocket upgrade that was admitted. `reservation`: None where the user has all connections already, which the
    client is told by a close code."""

    principal: Principal
    subprotocol: str | None
    reservation: Reservation | None


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
        self.peers = Peers(
            max_peers=settings.max_connections,
            max_per_user=settings.max_connections_per_user,
            max_per_address=settings.address_limit,
        )
        self.proxies = TrustedProxies(settings.trusted_proxies)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._stalls = Stalls()
        self._next_warning = -math.inf
        accounts.on_revoked(self._on_revoked)

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
            due = self.clock.monotonic() + TICK
            await self.clock.sleep(TICK)
            now = self.clock.monotonic()
            stall = self._stalls.note(now - due, now)
            if stall is not None:
                _logger.warning("event_loop_stood_still", longest_seconds=round(stall, 1), advice=BLOCKING)
            try:
                self.peers.tick(now)
            except Exception:
                _logger.exception("tick_failed")

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
        """The principal of an access token. Raises `RequestError` (`unauthorized`)."""
        return self.accounts.check_now(token) or await self.accounts.authenticate(token)

    def limits(self, principal: Principal) -> Limits:
        """What `welcome` tells this user."""
        tier = self.settings.tier(principal.tier)
        return Limits(
            max_message_bytes=self.settings.max_message_bytes,
            max_attached_threads=self.settings.max_attached_threads,
            max_running=tier.max_running,
            max_queued=tier.max_queued,
        )

    async def snapshot(self, log: ThreadLog) -> tuple[int, bytes]:
        """A MESSAGES_SNAPSHOT event and the seq up to which it is complete. Raises `LogDeletedError`, `RequestError`
        (`rate_limited`)."""
        seq, messages = await self.event_log.history(log)
        return seq, b'{"type":"MESSAGES_SNAPSHOT","messages":[%b]}' % b",".join(messages)

    # --- who may connect ----------------------------------------------------------------------------------------------

    async def admit_upgrade(self, client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]]) -> Upgrade:
        """Check a WebSocket upgrade: origin, token, limits. `client` is the other end of the socket (None: unknown).

        Raises nothing but `RequestError`: what fails here is refused like everything else.
        """
        try:
            headers = list(headers)
            address = self._address(client, headers)
            self._check_open()
            self.peers.check_room(address)  # a full server spends nothing on tokens
            handshake = read_handshake(headers, self.settings.allowed_origins)
            principal = await self.authenticate(handshake.token)
            self._check_open()
            return Upgrade(principal, handshake.subprotocol, self.peers.reserve(principal.user_id, address))
        except Exception as error:  # noqa: BLE001 - whatever it is: told and, where it is ours, logged
            if isinstance(error, OriginError):
                self._warn(error)
            raise told(error, "upgrade_failed") from None

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
        reservation = self.peers.reserve(principal.user_id, self._address(client, headers))
        if reservation is None:
            raise RequestError("rate_limited", "all your connections are taken", retry_after=5.0)
        return reservation

    def _address(self, client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        return self.proxies.client_address(client[0] if client else None, headers)

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
