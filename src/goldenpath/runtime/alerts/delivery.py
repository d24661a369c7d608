"""Telling receivers what happened: queued, tried again, given up in the end; the server never waits for it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from goldenpath.clock import Clock, timeout
from goldenpath.runtime.alerts.alerts import AlertChange
from goldenpath.runtime.alerts.messages import Sender, text, title, webhook_message
from goldenpath.runtime.alerts.rules import AlertsError, Receiver
from goldenpath.wire.errors import GoldenpathError

if TYPE_CHECKING:
    import httpx

_logger = structlog.get_logger("goldenpath.alerts")

MAX_QUEUED: Final = 100
"""Messages that wait for one receiver; of more the oldest is given up."""
GIVE_UP_AFTER: Final = 3600.0
"""A message that could not be delivered for so long, in seconds, is given up."""
FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 60.0
"""The waits between two attempts double from the first to the last, in seconds, less up to a half at random."""
ATTEMPT: Final = 10.0
"""Seconds that one attempt may take."""

Send = Callable[[AlertChange], Awaitable[None]]
"""Tells one receiver. Raises `UndeliveredError`."""


class UndeliveredError(GoldenpathError):
    """A receiver did not take a message. `final`: nor will it ever. The message says why without its address, which may
    hold a secret."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


class DeliveryStatistics(msgspec.Struct, frozen=True):
    """Messages to receivers since the start; `waiting` is now."""

    waiting: int
    """Messages that a receiver has not taken yet."""
    delivered: int
    """Messages that a receiver took."""
    failed: int
    """Attempts that failed."""
    given_up: int
    """Messages that were given up."""


class ReceiverView(msgspec.Struct, frozen=True):
    """One receiver. `problem`: why the last attempt to tell it failed; None: it did not, or there was none yet."""

    name: str
    takes: tuple[str, ...]
    statistics: DeliveryStatistics
    problem: str | None


class Outbox:
    """What one receiver is still to be told, in order. Belongs to one event loop; `put` never waits."""

    def __init__(self, name: str, send: Send, clock: Clock) -> None:
        self._name = name
        self._send = send
        self._clock = clock
        self._queue: deque[tuple[float, AlertChange]] = deque()
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._task: asyncio.Task[None] | None = None
        self.delivered = self.failed = self.given_up = 0
        self.problem: str | None = None
        """Why the last attempt failed; None: it did not."""

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def start(self) -> None:
        """Deliver from now on."""
        self._task = asyncio.create_task(self._deliver(), name=f"goldenpath-alerts-{self._name}")

    def put(self, change: AlertChange) -> None:
        """Tell it, soon."""
        if len(self._queue) >= MAX_QUEUED:
            self._give_up("too many messages wait for it")
        self._queue.append((self._clock.monotonic(), change))
        self._empty.clear()
        self._filled.set()

    async def stop(self, grace: float) -> None:
        """Deliver for `grace` seconds more at most, then no more."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with timeout(self._clock, grace):
                await self._empty.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        while self._queue:
            self._give_up("the server stops")

    async def _deliver(self) -> None:
        while True:
            await self._filled.wait()
            attempt = 0
            while self._queue:
                came, change = self._queue[0]
                if await self._delivered(change):
                    self._leave(came, change)
                    attempt = 0
                elif self._clock.monotonic() - came > GIVE_UP_AFTER:
                    self._leave(came, change)
                    self._tell_given_up(change, f"it did not take it for {GIVE_UP_AFTER:g} s")
                else:
                    wait = min(FIRST_RETRY * 2**attempt, LAST_RETRY)
                    attempt = min(attempt + 1, 16)
                    await self._clock.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - spreads, hides nothing
            self._filled.clear()
            self._empty.set()

    async def _delivered(self, change: AlertChange) -> bool:
        """Whether nothing more has to be done for it."""
        try:
            async with timeout(self._clock, ATTEMPT):
                await self._send(change)
        except (UndeliveredError, TimeoutError) as error:
            self.failed += 1
            why = f"no answer within {ATTEMPT:g} s" if isinstance(error, TimeoutError) else str(error)
            self.problem = why
            if isinstance(error, UndeliveredError) and error.final:
                self._tell_given_up(change, why)
                return True
            _logger.warning("alert_not_delivered", receiver=self._name, alert=change.alert, why=why)
            return False
        except Exception:  # a fault of a library's must not end the telling
            self.failed += 1
            self.problem = "a fault of the sender's"
            _logger.exception("alert_not_delivered", receiver=self._name, alert=change.alert)
            self._tell_given_up(change, self.problem)
            return True
        self.delivered += 1
        self.problem = None
        return True

    def _leave(self, came: float, change: AlertChange) -> None:
        """It is dealt with; while that was done, more may have come and the oldest may have been given up."""
        if self._queue and self._queue[0] == (came, change):
            self._queue.popleft()

    def _give_up(self, why: str) -> None:
        _, change = self._queue.popleft()
        self._tell_given_up(change, why)

    def _tell_given_up(self, change: AlertChange, why: str) -> None:
        self.given_up += 1
        _logger.error("alert_given_up", receiver=self._name, alert=change.alert, state=change.state, why=why)


class Delivery:
    """Everybody who is told. Belongs to one event loop; `tell` never waits."""

    def __init__(self, receivers: Mapping[str, Receiver], sender: Sender, clock: Clock) -> None:
        self._receivers = dict(receivers)
        self._sender = sender
        self._clock = clock
        self._outboxes: dict[str, Outbox] = {}
        self._client: httpx.AsyncClient | None = None

    async def start(self) -> None:
        """Make what it takes to reach them. Raises `AlertsError` where a library is missing or an address means
        nothing to it."""
        if any(receiver.webhook for receiver in self._receivers.values()):
            self._client = await asyncio.to_thread(_client)  # reads the machine's certificates
        for name, receiver in self._receivers.items():
            outbox = Outbox(name, await self._way(name, receiver), self._clock)
            outbox.start()
            self._outboxes[name] = outbox

    @property
    def receivers(self) -> list[str]:
        """The names of those who can be told."""
        return list(self._receivers)

    def tell(self, change: AlertChange) -> list[str]:
        """Tell everybody who takes one of the change's actions. Returns their names."""
        told = [name for name in self._outboxes if set(self._receivers[name].takes) & set(change.actions)]
        for name in told:
            self._outboxes[name].put(change)
        return told

    async def stop(self, grace: float = 2.0) -> None:
        """Deliver for `grace` seconds more at most. Harmless when never started."""
        await asyncio.gather(*(outbox.stop(grace) for outbox in self._outboxes.values()))
        if self._client is not None:
            await self._client.aclose()

    def statistics(self) -> DeliveryStatistics:
        boxes = self._outboxes.values()
        return DeliveryStatistics(
            waiting=sum(box.waiting for box in boxes),
            delivered=sum(box.delivered for box in boxes),
            failed=sum(box.failed for box in boxes),
            given_up=sum(box.given_up for box in boxes),
        )

    def view(self) -> list[ReceiverView]:
        """Each receiver that can be told."""
        return [
            ReceiverView(
                name,
                self._receivers[name].takes,
                DeliveryStatistics(box.waiting, box.delivered, box.failed, box.given_up),
                box.problem,
            )
            for name, box in self._outboxes.items()
        ]

    async def _way(self, name: str, receiver: Receiver) -> Send:
        if receiver.webhook is not None:
            assert self._client is not None
            return _webhook(self._client, name, receiver, self._sender)
        assert receiver.apprise is not None
        return await asyncio.to_thread(_apprise, name, receiver.apprise, self._sender)


def _client() -> httpx.AsyncClient:
    import httpx  # noqa: PLC0415 - takes long, and most servers tell nobody

    return httpx.AsyncClient(timeout=ATTEMPT, follow_redirects=False)


def _webhook(client: httpx.AsyncClient, name: str, receiver: Receiver, sender: Sender) -> Send:
    url = receiver.webhook
    assert url is not None

    async def send(change: AlertChange) -> None:
        import httpx  # noqa: PLC0415 - there since `_client`

        body = msgspec.json.encode(webhook_message(change, name, sender))
        headers = {"Content-Type": "application/json", "User-Agent": "goldenpath", **receiver.headers}
        try:
            async with client.stream("POST", url, content=body, headers=headers) as response:
                status = response.status_code
        except httpx.InvalidURL:
            raise UndeliveredError("its URL means nothing", final=True) from None
        except httpx.HTTPError as error:
            raise UndeliveredError(f"it cannot be reached ({type(error).__name__})") from None
        if status >= 300:
            again = status >= 500 or status in (408, 425, 429)
            raise UndeliveredError(f"it answers {status}", final=not again)

    return send


def _apprise(name: str, url: str, sender: Sender) -> Send:
    try:
        import apprise  # noqa: PLC0415 - an extra
    except ImportError:
        raise AlertsError(f"receivers.{name}: `apprise` needs pip install 'goldenpath[alerts]'") from None
    # What it logs holds the URL, and with it secrets; what is wrong we say ourselves.
    quiet = logging.getLogger("apprise")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    service = apprise.Apprise()
    if not service.add(url):
        raise AlertsError(f"receivers.{name}: apprise does not know this kind of URL")

    async def send(change: AlertChange) -> None:
        kind = apprise.NotifyType.FAILURE if change.severity == "critical" else apprise.NotifyType.WARNING
        kind = apprise.NotifyType.SUCCESS if change.state == "resolved" else kind
        if not await service.async_notify(body=text(change), title=title(change, sender), notify_type=kind):
            raise UndeliveredError("apprise could not deliver it")

    return send
