"""Who is told: a real web server that answers what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from goldenpath.clock import ManualClock
from goldenpath.runtime.alerts.alerts import AlertChange


class WebhookReceiver:
    """Answers with `statuses`, one after another, then 200; None: not at all. `got` are the requests that came."""

    def __init__(self, *statuses: int | None) -> None:
        self._statuses = list(statuses)
        self.got: asyncio.Queue[tuple[dict[str, str], Any]] = asyncio.Queue()
        self.url = ""
        self.over = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.got.put_nowait((dict(request.headers), await request.json()))
        status = self._statuses.pop(0) if self._statuses else 200
        if status is None:
            await self.over.wait()
        return web.Response(status=status or 200, text="x" * 1000, headers={"Location": self.url})

    async def alerts(self, count: int) -> list[str]:
        """The names and states of the next `count` messages."""
        found = []
        async with asyncio.timeout(10):
            for _ in range(count):
                _, body = await self.got.get()
                found.append(f"{body['alerts'][0]['labels']['alertname']} {body['status']}")
        return found


@asynccontextmanager
async def receiving(*statuses: int | None) -> AsyncIterator[WebhookReceiver]:
    """A receiver that runs."""
    receiver = WebhookReceiver(*statuses)
    app = web.Application()
    app.router.add_post("/hook", receiver.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}/hook"
    try:
        yield receiver
    finally:
        receiver.over.set()
        await runner.cleanup()


class WatchedClock(ManualClock):
    """Tells who goes to sleep, and for how long."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps: asyncio.Queue[float] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        self.sleeps.put_nowait(seconds)
        await super().sleep(seconds)


def change(alert: str = "slow", state: str = "firing", **fields: Any) -> AlertChange:
    """An alert that was."""
    known: dict[str, Any] = {
        "severity": "critical",
        "actions": ("page",),
        "summary": "It is slow.",
        "signal": "lag_ms",
        "bound": "> 10",
        "value": 12.5,
        "since": 1_700_000_000.0,
        "at": 1_700_000_060.0,
    }
    return AlertChange(**{**known, "alert": alert, "state": state, **fields})
