"""One WebSocket of the reference server: replies that wait to be sent, and cursors in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from goldenpath.lab.selftest.thread_log import Entry, Thread

AT_ONCE = 64
"""How many events go into one message at most."""
_encode = msgspec.json.encode


class Socket(Protocol):
    """A WebSocket, as far as somebody writes to it."""

    async def send(self, text: str) -> None:
        """One message. Returns when the socket can take another one."""
        ...

    async def close(self, code: int) -> None:
        """Say goodbye."""
        ...

    def abort(self) -> None:
        """End it without a word."""
        ...


class Subscription:
    """A thread that the connection follows: everything up to `seq` was sent."""

    def __init__(self, thread: Thread, seq: int) -> None:
        self.thread = thread
        self.seq = seq
        self.snapshot: Entry | None = None
        """What has to be sent first, where there is a gap."""


class Connection:
    """Nothing waits here but replies: events stay in their threads until the socket takes them, so that a slow reader
    costs nobody anything."""

    def __init__(self, connection_id: str, user: str, expires: float) -> None:
        self.connection_id = connection_id
        self.user = user
        self.expires = expires
        """When its token does, on the loop's clock."""
        self.subscriptions: dict[str, Subscription] = {}
        self._replies: list[dict[str, Any]] = []
        self._ready: dict[str, None] = {}
        """The threads in which there may be something to send."""
        self._awake = asyncio.Event()

    def reply(self, reply: dict[str, Any]) -> None:
        """To be sent before all further events."""
        self._replies.append(reply)
        self._awake.set()

    def subscribe(self, thread: Thread, seq: int) -> Subscription:
        """Events of `thread` after `seq` are to be sent; instead of what was to be sent of it before."""
        subscription = self.subscriptions[thread.thread_id] = Subscription(thread, seq)
        self.wake(thread)
        return subscription

    def wake(self, thread: Thread) -> None:
        """There may be something to send of `thread`."""
        self._ready[thread.thread_id] = None
        self._awake.set()

    async def something(self) -> None:
        """Wait until there may be something to send."""
        await self._awake.wait()
        self._awake.clear()

    @property
    def is_left_behind(self) -> bool:
        """Whether a log does not hold any more what comes next: who comes back is told of the gap."""
        return any(not each.thread.holds(each.seq) for each in self.ready())

    def ready(self) -> list[Subscription]:
        """Where there may be something to send."""
        return [self.subscriptions[name] for name in self._ready if name in self.subscriptions]

    def take_replies(self) -> list[bytes]:
        """Replies, as lines."""
        replies, self._replies = self._replies, []
        return [_encode(reply) for reply in replies]

    def next_entries(self, subscription: Subscription) -> list[Entry]:
        """What comes next in a subscription, which moves on."""
        snapshot, subscription.snapshot = subscription.snapshot, None
        entries = subscription.thread.after(subscription.seq, AT_ONCE)
        if entries:
            subscription.seq = entries[-1].seq
        if subscription.seq == subscription.thread.head:
            self._ready.pop(subscription.thread.thread_id, None)
        return entries if snapshot is None else [snapshot, *entries]


def lines_of(entries: Sequence[Entry]) -> list[bytes]:
    """Events, as lines."""
    return [_encode(entry) for entry in entries]
