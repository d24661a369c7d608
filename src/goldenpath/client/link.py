"""The connection that comes back: connects, watches the peer, renews tokens, connects again while that makes sense."""

from __future__ import annotations

import asyncio
import itertools
from random import Random
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from goldenpath.client.errors import ConnectionLost, ProtocolViolation
from goldenpath.client.frames import ServerFrame, decode_frame
from goldenpath.client.reconnect import Advice, Backoff, after_close, after_refusal
from goldenpath.client.socket import Socket, open_socket
from goldenpath.client.statistics import ClientStatistics
from goldenpath.client.tokens import TokenKeeper
from goldenpath.clock import Clock
from goldenpath.wire.errors import NORMAL, UNAUTHORIZED, RequestError

PROTOCOL: Final = 1
"""The version of the protocol that is spoken here."""
PROTOCOL_ERROR: Final = 1002


class LinkSettings(msgspec.Struct, frozen=True):
    """How hard to try. Seconds.

    `reconnect_for` is how long to go on without a connection that is of any use, None for ever; `connect_timeout` how
    long one attempt may take.
    """

    backoff: Backoff = Backoff()
    reconnect_for: float | None = 300.0
    connect_timeout: float = 10.0


class LinkListener(Protocol):
    """Who is told of the connections and what they bring. None of these may raise."""

    @property
    def is_paused(self) -> bool:
        """Whether reading was stopped on purpose."""
        ...

    def up(self, socket: Socket, welcome: ServerFrame) -> None: ...

    def down(self) -> None: ...

    def frame(self, frame: ServerFrame) -> None: ...

    def hopeless(self, error: Exception) -> None:
        """There will be no other connection."""
        ...


class _Ending(NamedTuple):
    """How an attempt to be connected ended, and what to do then."""

    advice: Advice
    error: Exception
    retry_after: float | None = None


class Link:
    """Keeps `listener` connected to `url` from `start` to `aclose`, or until that is hopeless."""

    def __init__(
        self,
        url: str,
        tokens: TokenKeeper,
        listener: LinkListener,
        counts: ClientStatistics,
        *,
        clock: Clock,
        random: Random,
        settings: LinkSettings,
    ) -> None:
        self._url = url
        self._tokens = tokens
        self._listener = listener
        self._counts = counts
        self._clock = clock
        self._random = random
        self._settings = settings
        self._socket: Socket | None = None
        self._token: str | None = None
        self._welcome: asyncio.Future[ServerFrame] | None = None
        self._was_used = False
        self._fault: Exception | None = None
        self._main: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect. Harmless when repeated."""
        if self._main is None:
            self._main = asyncio.create_task(self._stay_connected(), name="goldenpath client connection")

    async def aclose(self) -> None:
        """Say good-bye and stop. Harmless when repeated."""
        socket = self._socket
        tasks = [task for task in (self._main, self._renewal) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if socket is not None:
            await asyncio.wait([socket.ended], timeout=1.0)
            socket.abort("the peer does not close")

    def plan_renewal(self) -> None:
        """The token, or what is known about its life, has changed."""
        if self._renewal is not None:
            self._renewal.cancel()
        self._renewal = asyncio.create_task(self._renew_in_time(), name="goldenpath client token renewal")

    async def _renew_in_time(self) -> None:
        for attempt in itertools.count():
            due = self._tokens.due_at
            if due is None:
                return
            await self._clock.sleep(due - self._clock.monotonic())
            try:
                await self._tokens.renew(self._tokens.access)
            except ConnectionLost:
                await self._clock.sleep(self._settings.backoff.delay(attempt, self._random))
            except RequestError:
                return  # the server will close with 4401, and what is to be told is told then

    async def _stay_connected(self) -> None:
        try:
            error = await self._until_hopeless()
        except Exception as unexpected:  # noqa: BLE001 - raised where the program waits
            error = unexpected
        self._listener.hopeless(error)

    async def _until_hopeless(self) -> Exception:
        settings = self._settings
        attempt, renewed, useful_until = 0, False, self._clock.monotonic()
        while True:
            began = self._clock.monotonic()
            outcome = await self._one_connection()
            now = self._clock.monotonic()
            if self._was_used or now - began > settings.backoff.cap:
                attempt, renewed, useful_until = 0, False, now
            if outcome.advice == "refresh" and not renewed and self._tokens.can_renew:
                renewed = True
                failed = await self._renew()
                if failed is None:
                    continue
                outcome = failed
            if outcome.advice != "again":
                return outcome.error
            if settings.reconnect_for is not None and now - useful_until >= settings.reconnect_for:
                return outcome.error
            await self._clock.sleep(settings.backoff.delay(attempt, self._random, outcome.retry_after))
            attempt += 1

    async def _renew(self) -> _Ending | None:
        try:
            await self._tokens.renew(self._token)
        except RequestError as error:
            return _Ending("again" if error.row.retryable else "stop", error, error.retry_after)
        except ConnectionLost as error:
            return _Ending("again", error)
        return None

    async def _one_connection(self) -> _Ending:
        """Connect, be connected, and say how it ended."""
        self._was_used = False
        try:
            socket, welcome = await self._connect()
        except ProtocolViolation as error:
            return _Ending("stop", error)
        except RequestError as error:
            self._counts.failed_attempts += 1
            return _Ending(after_refusal(error), error, error.retry_after)
        except ConnectionLost as error:
            self._counts.failed_attempts += 1
            return _Ending("again" if error.code is None else after_close(error.code), error)
        except OSError as error:  # TimeoutError is one
            self._counts.failed_attempts += 1
            return _Ending("again", ConnectionLost(f"{self._url}: {error or type(error).__name__}"))
        self._counts.connections += 1
        watch = asyncio.create_task(self._watch(socket, welcome.heartbeat), name="goldenpath client watch")
        try:
            self._socket = socket
            self._listener.up(socket, welcome)
            self.plan_renewal()
            end = await asyncio.shield(socket.ended)
        finally:
            self._socket = None
            watch.cancel()
            socket.close(NORMAL)
            self._listener.down()
        if self._fault is not None:
            return _Ending("stop", self._fault)
        reason = end.reason or "the connection ended"
        if end.code == UNAUTHORIZED:
            return _Ending("refresh", RequestError("unauthorized", reason))
        return _Ending(after_close(end.code), ConnectionLost(reason, code=end.code))

    async def _connect(self) -> tuple[Socket, ServerFrame]:
        self._token = await self._tokens.valid()
        self._welcome = asyncio.get_running_loop().create_future()
        timeout = self._settings.connect_timeout
        async with asyncio.timeout(timeout):
            socket = await open_socket(self._url, self._token, self._on_message, timeout)
            try:
                await _first_done(self._welcome, socket.ended)
            except BaseException:
                socket.abort("not welcomed")
                raise
        if not self._welcome.done():
            end = socket.ended.result()
            raise ConnectionLost(end.reason or "the connection ended before it began", code=end.code)
        welcome = self._welcome.result()
        if welcome.protocol != PROTOCOL:
            socket.close(NORMAL)
            raise ProtocolViolation(f"the server speaks version {welcome.protocol}, this client {PROTOCOL}")
        return socket, welcome

    async def _watch(self, socket: Socket, heartbeat: float) -> None:
        """Drop a connection on which nothing comes for two heartbeats, although the peer was asked for a sign."""
        asked = False
        while True:
            await self._clock.sleep(heartbeat)
            if socket.heard or self._listener.is_paused:
                asked = socket.heard = False
            elif asked:
                socket.abort("the server is silent")
                return
            else:
                socket.ping()
                asked = True

    def _on_message(self, socket: Socket, message: bytes) -> None:
        self._counts.bytes_received += len(message)
        try:
            for line in message.split(b"\n") if b"\n" in message else (message,):
                if line:
                    self._take(decode_frame(line))
        except (msgspec.DecodeError, UnicodeError) as error:
            self._fault = ProtocolViolation(f"a frame that cannot be read: {error}")
            socket.close(PROTOCOL_ERROR)
        except Exception as error:  # noqa: BLE001 - it is raised where the program waits, instead of in the event loop
            self._fault = error
            socket.close(PROTOCOL_ERROR)

    def _take(self, frame: ServerFrame) -> None:
        if frame.type is None:
            self._was_used = True
            self._listener.frame(frame)
        elif frame.type == "welcome":
            if self._welcome is not None and not self._welcome.done():
                self._welcome.set_result(frame)
        elif frame.type == "token_expiring":
            self._tokens.expires_in(frame.expires_in)
            self.plan_renewal()
        else:
            self._listener.frame(frame)


async def _first_done(*futures: asyncio.Future[Any]) -> None:
    """Wait until one of them is done. Cancelling leaves them alone."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
