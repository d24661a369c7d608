"""Many commands and streams over one connection at a time, which comes and goes."""

from __future__ import annotations

from random import Random

import msgspec

from goldenpath.client.errors import ClientClosed
from goldenpath.client.feed import Feed
from goldenpath.client.frames import NO_EVENT, ServerFrame
from goldenpath.client.link import Link, LinkSettings
from goldenpath.client.outbox import Outbox
from goldenpath.client.pressure import Pressure
from goldenpath.client.socket import Socket
from goldenpath.client.statistics import ClientStatistics
from goldenpath.client.stream import Attachment, Run, Stream
from goldenpath.client.tokens import TokenKeeper
from goldenpath.clock import Clock
from goldenpath.wire.commands import (
    AttachCommand,
    CancelCommand,
    Cursor,
    DetachCommand,
    PingCommand,
    RefreshCommand,
    RunCommand,
)


class Multiplexer:
    """Connects when first used, and again whenever the connection ends, until `aclose` or until it is hopeless.

    `buffer` is how many bytes of events a stream holds before reading stops, `patience` for how many seconds it does.
    Its calls may run concurrently; it belongs to one event loop.
    """

    def __init__(
        self,
        url: str,
        tokens: TokenKeeper,
        *,
        clock: Clock,
        random: Random,
        settings: LinkSettings,
        buffer: int,
        patience: float,
    ) -> None:
        self._tokens = tokens
        self._buffer = buffer
        self._counts = ClientStatistics()
        self._feeds: dict[str, Feed] = {}
        self._outbox = Outbox(self._counts)
        self._pressure = Pressure(clock, patience, self._counts, self.overfull)
        self._link = Link(url, tokens, self, self._counts, clock=clock, random=random, settings=settings)
        self._failure: Exception | None = None
        tokens.on_change = self._token_changed

    def statistics(self) -> ClientStatistics:
        """The counts so far."""
        for feed in self._feeds.values():
            self._count(feed)
        return msgspec.structs.replace(self._counts, renewals=self._tokens.renewals)

    def _count(self, feed: Feed) -> None:
        reception, counts = feed.reception, self._counts
        counts.duplicates += reception.repeated
        counts.skipped += reception.skipped
        counts.unfounded += reception.unfounded
        counts.gaps += feed.gaps
        reception.repeated = reception.skipped = reception.unfounded = feed.gaps = 0

    async def aclose(self) -> None:
        """Close the connection; end all streams and commands with `ClientClosed`. Harmless when repeated."""
        if self._failure is None:
            self.hopeless(ClientClosed())
        self._pressure.close()
        await self._link.aclose()

    # --- what a program does ------------------------------------------------------------------------------------

    async def run(self, command: RunCommand, thread_id: str, run_id: str) -> Run:
        """Start a run and read it. Raises `RequestError` when it is refused, and why there is no connection any more.

        Sent again, harmlessly, when the connection ends before the reply. Cancelling does not cancel the run.
        """
        self._begin()
        started: list[Run] = []

        async def cancel() -> None:
            await self.cancel(thread_id, run_id)

        def follow(command_id: int, reply: ServerFrame) -> None:
            feed = self._feed(thread_id)
            run = Run(self, thread_id, run_id, reply.status, cancel, self._buffer)
            feed.follow_run(run, command_id, reply.epoch, reply.seq, gap=reply.gap)
            started.append(run)
            if left:
                feed.leave(run)
                feed.unsubscribe_idle()

        left = False
        self._make_room(thread_id)
        try:
            await self._outbox.ask(command, follow)
        except BaseException:
            left = True
            for run in started:
                await run.aclose()
            raise
        return started[0]

    async def attach(self, thread_id: str, after: Cursor | None) -> Attachment:
        """Begin to read. Raises `RequestError` (`not_found`), and why there is no connection any more."""
        self._begin()
        stream = Attachment(self, thread_id, after, self._buffer)
        self._make_room(thread_id)
        self._feed(thread_id).follow(stream)
        try:
            await stream.opened
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def cancel(self, thread_id: str, run_id: str | None) -> list[str]:
        """Cancel a run, or all of the thread. Returns the ids of the runs that end by it."""
        self._begin()
        reply = await self._outbox.ask(CancelCommand(id=0, thread_id=thread_id, run_id=run_id))
        return reply.cancelled or []

    async def ping(self) -> str:
        """The server's time, as RFC 3339 UTC."""
        self._begin()
        return (await self._outbox.ask(PingCommand(id=0))).time

    def _begin(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._link.start()
        self._pressure.relent()  # a reply is needed

    # --- the link says ------------------------------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        return self._pressure.is_paused

    def up(self, socket: Socket, welcome: ServerFrame) -> None:
        self._pressure.connected(socket)
        self._outbox.connected(socket, welcome.limits)
        for feed in tuple(self._feeds.values()):
            if feed.is_idle:
                self._drop(feed)
            else:
                feed.restore()
        self._outbox.resend()

    def down(self) -> None:
        self._outbox.disconnected()
        for feed in self._feeds.values():
            feed.lose()
        self._pressure.disconnected()

    def hopeless(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
        self._outbox.fail(error)
        for feed in tuple(self._feeds.values()):
            feed.fail(error)
            self._drop(feed)

    def frame(self, frame: ServerFrame) -> None:
        feed: Feed | None
        if frame.event is not NO_EVENT:
            self._counts.events += 1
            feed = self._feeds.get(frame.thread_id)
            if feed is not None:
                feed.receive(frame)
        elif isinstance(frame.re, int):
            self._outbox.reply(frame.re, frame)
        elif frame.type == "detached":
            feed = self._feeds.get(frame.thread_id)
            if feed is not None:
                feed.detached(frame.reason)
                self._drop(feed)
        else:
            self._counts.stray += 1

    def _token_changed(self, token: str) -> None:
        if self._outbox.is_connected:
            self._outbox.send(RefreshCommand(id=0, token=token))
            self._link.plan_renewal()

    # --- the feeds say ------------------------------------------------------------------------------------------

    def send_attach(self, thread_id: str, after: Cursor | None) -> int | None:
        def replied(command_id: int, reply: ServerFrame) -> None:
            feed = self._feeds.get(thread_id)
            if feed is not None and reply.error is None:
                feed.attached(command_id, reply)
            elif feed is not None and reply.error is not None:
                feed.refused(command_id, reply.error.error())

        return self._outbox.send(AttachCommand(id=0, thread_id=thread_id, after=after), replied)

    def send_detach(self, thread_id: str) -> int | None:
        return self._outbox.send(DetachCommand(id=0, thread_id=thread_id))

    def _feed(self, thread_id: str) -> Feed:
        return self._feeds.setdefault(thread_id, Feed(self, thread_id))

    def _drop(self, feed: Feed) -> None:
        self._count(feed)
        self._feeds.pop(feed.thread_id, None)

    def _make_room(self, thread_id: str) -> None:
        """Leave a thread that nobody reads, when another one is needed and the server allows no more."""
        limit = self._outbox.max_attached
        others = [feed for feed in self._feeds.values() if feed.is_subscribed and feed.thread_id != thread_id]
        if limit is not None and len(others) >= limit:
            for feed in others:
                if feed.is_idle:
                    feed.unsubscribe()
                    self._drop(feed)
                    return

    # --- the streams say ----------------------------------------------------------------------------------------

    def full(self, stream: Stream) -> None:
        self._pressure.full(stream)

    def overfull(self, stream: Stream) -> None:
        feed = self._feeds.get(stream.thread_id)
        if feed is not None and not stream.is_lagging:
            self._counts.lags += 1
            feed.lag(stream)
        self._pressure.forget(stream)

    def relieved(self, stream: Stream) -> None:
        self._pressure.forget(stream)
        feed = self._feeds.get(stream.thread_id)
        if feed is not None:
            feed.catch_up(stream)

    def closed(self, stream: Stream) -> None:
        self._pressure.forget(stream)
        feed = self._feeds.get(stream.thread_id)
        if feed is not None:
            feed.leave(stream)
