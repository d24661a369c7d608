"""The client: one user of one server."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import TracebackType
from typing import Self

import httpx

from goldenpath.client.api import Api, History
from goldenpath.client.link import LinkSettings
from goldenpath.client.multiplexer import Multiplexer
from goldenpath.client.statistics import ClientStatistics
from goldenpath.client.stream import Attachment, Run
from goldenpath.clock import Clock, SystemClock
from goldenpath.wire.answers import ThreadInfo
from goldenpath.wire.commands import Cursor, OnBusy, OnDisconnect, RunCommand, check_cursor
from goldenpath.wire.ids import new_id
from goldenpath.wire.messages import RunAgentInput


class Client:
    """A user's connection to a server, as an async context manager.

        async with Client("http://127.0.0.1:8700", email="ann@example.org", password="...") as client:
            run = await client.run("echo", text="hello", thread_id="t1")
            async for event in run:
                ...

    Give `token` (with `refresh_token`, or it cannot be renewed) or `email` and `password`, or neither and log in by
    `client.api`. HTTP calls are on `client.api`. The WebSocket is opened when first needed, and again whenever it ends;
    streams go on where they were. `buffer` is how many bytes of events each stream holds before reading stops, and
    `patience` for how many seconds it stops before the stream is left behind, to catch up later: see
    `goldenpath.client.stream`. `http` is used for the HTTP calls, and not closed, where it is given.

    Everything may be used by several tasks at once, except that each stream has one reader. Belongs to one event loop.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        refresh_token: str | None = None,
        email: str | None = None,
        password: str | None = None,
        link: LinkSettings | None = None,
        buffer: int = 1 << 20,
        patience: float = 1.0,
        http: httpx.AsyncClient | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        ids: Callable[[str], str] = new_id,
    ) -> None:
        if (email is None) != (password is None):
            raise ValueError("email and password go together")
        clock = SystemClock() if clock is None else clock
        random = Random() if random is None else random  # noqa: S311 - for jitter
        self.api = Api(base_url, clock=clock, random=random, http=http, email=email, password=password)
        if token is not None:
            self.api.tokens.set(token, refresh_token)
        self._ids = ids
        self._multiplexer = Multiplexer(
            _websocket_url(base_url),
            self.api.tokens,
            clock=clock,
            random=random,
            settings=LinkSettings() if link is None else link,
            buffer=buffer,
            patience=patience,
        )

    async def __aenter__(self) -> Self:
        """Log in, where an e-mail was given. Raises as `Api.login` does."""
        if self.api.tokens.access is None and self.api.tokens.can_renew:
            try:
                await self.api.tokens.renew(None)
            except BaseException:
                await self.aclose()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close. Streams and commands that wait end with `ClientClosed`; runs go on. Harmless when repeated."""
        await self._multiplexer.aclose()
        await self.api.aclose()

    async def run(
        self,
        agent: str,
        *,
        text: str | None = None,
        input: RunAgentInput | None = None,  # noqa: A002 - AG-UI's word
        thread_id: str | None = None,
        run_id: str | None = None,
        on_disconnect: OnDisconnect = "continue",
        on_busy: OnBusy = "enqueue",
    ) -> Run:
        """Start a run of `agent` with exactly one of `text` and `input`, and read it. Ids are made where absent.

        A run id that the thread has already is that run, read from its start. Raises `RequestError` when the run is
        refused (`definite` in its row says that it had no effect), `ConnectionLost` when there is no connecting.
        Cancelling stops the wait, not the run.
        """
        thread_id = thread_id or (input and input.thread_id) or self._ids("thread")
        run_id = run_id or (input and input.run_id) or self._ids("run")
        command = RunCommand(
            id=0,
            agent=agent,
            text=text,
            input=input,
            thread_id=thread_id,
            run_id=run_id,
            on_disconnect=on_disconnect,
            on_busy=on_busy,
        )
        return await self._multiplexer.run(command, thread_id, run_id)

    async def attach(self, thread_id: str, *, after: Cursor | None = None) -> Attachment:
        """Read every event of a thread after the cursor; without one, from now on; with seq 0, from the start.

        Close it when it is not needed any more (`async with`): what is not read holds a buffer full of events.
        Raises `RequestError` (`not_found`; `bad_request` for a cursor out of form), `ConnectionLost`. Safe to cancel.
        """
        if after is not None:
            check_cursor(after)
        return await self._multiplexer.attach(thread_id, after)

    async def cancel(self, thread_id: str, run_id: str | None = None) -> list[str]:
        """Ask for the end of a run, or (None) of all runs of the thread. Returns the ids of those that end by it: none
        when all have ended. Raises `RequestError` (`not_found`) and `ConnectionLost`."""
        return await self._multiplexer.cancel(thread_id, run_id)

    async def ping(self) -> str:
        """Ask the server for its time, over the WebSocket, as RFC 3339 UTC. Raises `ConnectionLost`."""
        return await self._multiplexer.ping()

    def thread(self, thread_id: str) -> Thread:
        """A thread by its name; nothing is asked of the server."""
        return Thread(self, thread_id)

    def statistics(self) -> ClientStatistics:
        """What was counted so far."""
        return self._multiplexer.statistics()


class Thread:
    """One thread of a client's user."""

    __slots__ = ("_client", "thread_id")

    def __init__(self, client: Client, thread_id: str) -> None:
        self._client = client
        self.thread_id = thread_id

    async def run(
        self,
        agent: str,
        *,
        text: str | None = None,
        input: RunAgentInput | None = None,  # noqa: A002
        run_id: str | None = None,
        on_disconnect: OnDisconnect = "continue",
        on_busy: OnBusy = "enqueue",
    ) -> Run:
        """As `Client.run`."""
        return await self._client.run(
            agent,
            text=text,
            input=input,
            thread_id=self.thread_id,
            run_id=run_id,
            on_disconnect=on_disconnect,
            on_busy=on_busy,
        )

    async def attach(self, *, after: Cursor | None = None) -> Attachment:
        """As `Client.attach`."""
        return await self._client.attach(self.thread_id, after=after)

    async def cancel(self, run_id: str | None = None) -> list[str]:
        """As `Client.cancel`."""
        return await self._client.cancel(self.thread_id, run_id)

    async def messages(self) -> History:
        """The history."""
        return await self._client.api.messages(self.thread_id)

    async def info(self) -> ThreadInfo:
        """The log's epoch and head, and the latest runs."""
        return await self._client.api.thread(self.thread_id)

    async def delete(self) -> None:
        """Delete it."""
        await self._client.api.delete_thread(self.thread_id)


def _websocket_url(base_url: str) -> str:
    scheme, _, rest = base_url.partition("://")
    if scheme not in ("http", "https"):
        raise ValueError(f"not an http or https URL: {base_url}")
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest.rstrip('/')}/v1/ws"
