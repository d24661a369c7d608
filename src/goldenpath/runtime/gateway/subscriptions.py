"""The threads that one connection follows, and the way of their events to its socket.

Events are never queued for a client: a flush reads from the logs, where the followers stand, as much as the socket
takes, and goes on when the socket has room. A client that does not read therefore costs its followers and one socket
buffer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from goldenpath.runtime.gateway.isolation import BROKEN
from goldenpath.runtime.gateway.ws_transport import HIGH_WATER, WsTransport
from goldenpath.runtime.interfaces import StoreError
from goldenpath.runtime.thread_log import Batch, Follower, ThreadLog
from goldenpath.wire.commands import EVENT_FRAME, event_frame_start
from goldenpath.wire.errors import INTERNAL, TOO_SLOW
from goldenpath.wire.ids import RunId, UserId

if TYPE_CHECKING:
    from goldenpath.runtime.gateway.gateway import Gateway

MESSAGE_BYTES: Final = 64 * 1024
"""About how much one WebSocket message carries at most, a single larger event apart."""
TURN_BYTES: Final = 256 * 1024
"""How much one flush sends before it lets others have their turn."""

_logger = structlog.get_logger("goldenpath.subscriptions")


class Subscription:
    """One thread that this connection follows."""

    __slots__ = ("batch", "follower", "frame_start", "loading", "queued", "run_id", "thread_id")

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        self.follower: Follower
        self.batch: Batch | None = None
        """Events that were read from the store and wait to be sent."""
        self.loading = False
        self.queued = False
        self.run_id: RunId | None = None
        self.frame_start = b""
        """The start of every frame of the run `run_id`."""


class Subscriptions:
    """What one connection of the user `user_id` follows. `fail` is called with a close code and a reason where events
    cannot be served, `deleted` with the id of a thread that is gone."""

    __slots__ = (
        "_by_thread",
        "_closed",
        "_deleted",
        "_fail",
        "_flush_due",
        "_gateway",
        "_transport",
        "_turn",
        "_user_id",
    )

    def __init__(
        self,
        gateway: Gateway,
        transport: WsTransport,
        user_id: UserId,
        *,
        fail: Callable[[int, str], None],
        deleted: Callable[[str], None],
    ) -> None:
        self._gateway = gateway
        self._transport = transport
        self._user_id = user_id
        self._fail = fail
        self._deleted = deleted
        self._by_thread: dict[str, Subscription] = {}
        self._turn: deque[Subscription] = deque()
        """Those that have something to send."""
        self._flush_due = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._by_thread)

    def __contains__(self, thread_id: str) -> bool:
        return thread_id in self._by_thread

    @property
    def behind(self) -> int:
        """How many events wait to be sent."""
        return sum(each.follower.log.visible - each.follower.position for each in self._by_thread.values())

    def subscribe(self, log: ThreadLog, seq: int, snapshot: bytes | None = None) -> None:
        """Follow `log` after `seq`. `snapshot` is sent first, as the event `seq`: for a gap."""
        thread_id = log.key.thread_id
        if snapshot is not None:
            self._transport.send(EVENT_FRAME % (event_frame_start(thread_id, None), seq, snapshot))
        subscription = Subscription(thread_id)

        def on_deleted() -> None:
            self._drop(subscription)
            self._deleted(subscription.thread_id)

        subscription.follower = Follower(log, seq, partial(self._due, subscription), on_deleted)
        self._by_thread[thread_id] = subscription
        self._gateway.event_log.subscribe(subscription.follower)
        if subscription.follower.behind:
            self._due(subscription)

    def detach(self, thread_id: str) -> None:
        """Follow the thread no longer. Harmless where it is not followed."""
        subscription = self._by_thread.get(thread_id)
        if subscription is not None:
            self._gateway.event_log.unsubscribe(subscription.follower)
            self._drop(subscription)

    def _drop(self, subscription: Subscription) -> None:
        if self._by_thread.get(subscription.thread_id) is subscription:
            del self._by_thread[subscription.thread_id]
        if subscription.queued:
            subscription.queued = False
            self._turn.remove(subscription)

    def close(self) -> None:
        """Follow nothing and send nothing any more."""
        self._closed = True
        self._turn.clear()
        for subscription in self._by_thread.values():
            self._gateway.event_log.unsubscribe(subscription.follower)
        self._by_thread.clear()
        self._fail = self._deleted = _ignore  # they hold the connection, which holds this

    # --- sending ------------------------------------------------------------------------------------------------------

    def _due(self, subscription: Subscription) -> None:
        if subscription.queued or subscription.loading:
            return
        subscription.queued = True
        self._turn.append(subscription)
        if len(self._by_thread) == 1:
            self.flush()
        elif not self._flush_due:  # several threads may become due with one commit: send them together
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush_later)

    def _flush_later(self) -> None:
        self._flush_due = False
        self.flush()

    def flush(self) -> None:
        """Send what is due, as much as the socket takes."""
        transport, turn = self._transport, self._turn
        sent = 0
        frames: list[bytes] = []
        size = 0
        while turn and not self._closed:
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
            if follower.log.key.user_id != self._user_id:
                self._gateway.isolation.violated(follower.log.key, self._user_id)
                self._fail(INTERNAL, BROKEN)
                return
            if batch.run_id != subscription.run_id:
                subscription.run_id = batch.run_id
                subscription.frame_start = event_frame_start(subscription.thread_id, batch.run_id)
            frame_start, seq = subscription.frame_start, batch.first_seq
            for event in batch.events:
                frames.append(EVENT_FRAME % (frame_start, seq, event))
                size += len(event)
                seq += 1
            follower.position = seq - 1
            self._gateway.delivered += len(batch.events)
            if not follower.behind:
                turn.popleft()
                subscription.queued = False
            if size >= MESSAGE_BYTES:
                transport.send(b"\n".join(frames))
                sent += size
                frames, size = [], 0
        if frames:
            transport.send(b"\n".join(frames))

    def _next_batch(self, subscription: Subscription) -> Batch | None:
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

    async def _load(self, subscription: Subscription) -> None:
        follower = subscription.follower
        try:
            batch = await self._gateway.event_log.read(follower.log, follower.position, MESSAGE_BYTES)
        except StoreError:
            _logger.exception("replay_failed")
            if self._by_thread.get(subscription.thread_id) is subscription:  # else nobody misses these events
                self._fail(INTERNAL, "the log cannot be read")
            return
        finally:
            subscription.loading = False
        if self._by_thread.get(subscription.thread_id) is not subscription:
            return
        if batch is None and follower.log.removed(follower.position):
            self._fail(TOO_SLOW, "the log moved past the cursor; attach again")
            return
        subscription.batch = batch
        if follower.behind:
            self._due(subscription)


def _ignore(*_: object) -> None:
    pass
