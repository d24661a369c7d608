"""The composition root: agents and settings in, an ASGI app out. Everything is built here, and nothing is global.

`App` is what a user of the package makes. It is itself an ASGI app: mount it in FastAPI or Starlette, run it under any
ASGI server, or let `goldenpath serve` run it with the socket handed to picows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, Final, TypeVar

import structlog
from starlette.types import Message, Receive, Scope, Send

from goldenpath import __version__
from goldenpath.clock import Clock, SystemClock
from goldenpath.runtime.admission import Admission
from goldenpath.runtime.auth.accounts import Accounts
from goldenpath.runtime.auth.secret import load_secret
from goldenpath.runtime.builtin import add_builtin_agents
from goldenpath.runtime.dispatcher import Dispatcher
from goldenpath.runtime.engine import EngineFactory
from goldenpath.runtime.environ import load, override
from goldenpath.runtime.event_log import EventLog
from goldenpath.runtime.footprint import footprint
from goldenpath.runtime.gateway.asgi_socket import refuse_upgrade
from goldenpath.runtime.gateway.gateway import Gateway
from goldenpath.runtime.gateway.request import problem
from goldenpath.runtime.gateway.site import Site
from goldenpath.runtime.host_signals import at_stop_signals
from goldenpath.runtime.interfaces import AccountStore, LogStore, Unfinished
from goldenpath.runtime.metrics import Statistics, registry_of
from goldenpath.runtime.recovery import Recovery
from goldenpath.runtime.registry import Registry
from goldenpath.runtime.scheduler import Scheduler
from goldenpath.runtime.settings import NO_WAY_IN, Settings, data_path
from goldenpath.runtime.stores import sqlite_accounts, sqlite_log
from goldenpath.runtime.stores.database import Database
from goldenpath.runtime.stores.memory_accounts import MemoryAccounts
from goldenpath.runtime.stores.memory_log import MemoryLog
from goldenpath.runtime.turns import Turns
from goldenpath.wire.errors import RequestError

F = TypeVar("F", bound=Callable[[Any], Any])

NOT_STARTED: Final = (
    "the server was never started: enter goldenpath's lifespan in that of the app it is mounted in, see"
    " docs/howto/mount.md"
)
_logger = structlog.get_logger("goldenpath")


class Server:
    """The parts of one running server, built from settings. `async with` starts and stops them in order."""

    def __init__(self, agents: Registry, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        store, accounts, self._storage = _stores(settings)
        turns = Turns(clock)
        self.event_log = EventLog(store, clock, settings, turns)
        commits = self.event_log.commits
        self.recovery = Recovery(self.event_log, commits, store, clock, settings)
        self.scheduler = Scheduler(
            admission=Admission(max_running=settings.max_engines, max_waiting=settings.max_waiting),
            engines=EngineFactory(clock),
            event_log=self.event_log,
            commits=commits,
            clock=clock,
            settings=settings,
        )
        self.dispatcher = Dispatcher(
            agents=agents,
            event_log=self.event_log,
            commits=commits,
            scheduler=self.scheduler,
            store=store,
            turns=turns,
            clock=clock,
            settings=settings,
        )
        self.accounts = Accounts(settings, accounts, clock, load_secret(settings))
        self.gateway = Gateway(
            dispatcher=self.dispatcher,
            scheduler=self.scheduler,
            recovery=self.recovery,
            event_log=self.event_log,
            commits=commits,
            accounts=self.accounts,
            turns=turns,
            clock=clock,
            settings=settings,
        )
        self.statistics: dict[str, Statistics] = {
            "connections": self.gateway.peers.statistics,
            "engines": self.scheduler.engines.statistics,
            "admission": self.scheduler.admission.statistics,
            "log": self.event_log.statistics,
            "turns": turns.statistics,
            "accounts": self.accounts.statistics,
            "process": footprint,
        }
        """By the part that they are of: the metrics."""
        self.site = Site(self.gateway, registry_of(self.statistics), __version__)
        self.started = False
        """Whether `running` was ever entered: nothing can be answered before."""
        self._drain: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the store, end what an earlier process left, serve; on leaving, drain and close. Raises `StoreError`,
        also where what came last could not be written."""
        self.started = True
        if not self.settings.has_way_in:
            _logger.warning("no_way_in", why=NO_WAY_IN)
        async with self._storage:
            await self.accounts.open()
            unfinished = await self.event_log.start()
            await self.gateway.start()
            recovery = asyncio.create_task(self._recover(unfinished))
            try:
                yield
            finally:
                await self.begin_drain()
                recovery.cancel()
                await asyncio.gather(recovery, return_exceptions=True)
                try:
                    await self.event_log.stop()
                finally:
                    await self.gateway.stop()
                    await self.accounts.close()

    def begin_drain(self) -> asyncio.Task[None]:
        """Accept no runs, send clients away, and give the runs at work the drain time to end; done when they have.
        Repeating it gives the same drain."""
        self.scheduler.refuse_new_runs()
        self.gateway.close_peers()
        if self._drain is None:
            self._drain = asyncio.create_task(self.scheduler.drain(self.settings.drain_timeout))
        return self._drain

    async def _recover(self, unfinished: list[Unfinished]) -> None:
        try:
            await self.recovery.run(unfinished)
        except Exception:
            _logger.exception("recovery_failed")  # stays not ready, and says so


def _stores(settings: Settings) -> tuple[LogStore, AccountStore, AbstractAsyncContextManager[object]]:
    """The stores that the settings ask for, and what has to be open while they are used."""
    if settings.in_memory:
        return MemoryLog(), MemoryAccounts(), nullcontext()
    database = Database(
        data_path(settings, "goldenpath.db"),
        [sqlite_log.SCHEMA, sqlite_accounts.SCHEMA],
        durability=settings.durability,
    )
    return sqlite_log.SqliteLog(database), sqlite_accounts.SqliteAccounts(database), database


class App:
    """Agents, and the server around them.

        app = App()

        @app.agent("hello")
        async def hello(run: Run) -> None:
            await run.text(f"You said: {run.user_text}")

    `settings`: None reads the environment when the app starts. Options of `goldenpath serve` win over both. An app may
    be started once.
    """

    def __init__(self, settings: Settings | None = None, *, clock: Clock | None = None) -> None:
        self.agents = Registry()
        self._settings = settings
        self._clock = clock or SystemClock()
        self._server: Server | None = None
        self._told_not_started = False

    def agent(
        self,
        name: str,
        *,
        description: str | None = None,
        permission: str | None = None,
        timeout: float | None = None,
    ) -> Callable[[F], F]:
        """Register the decorated function as the agent `name`: `async def` runs on the event loop, `def` in a thread.

        `description` defaults to the docstring's first paragraph. `permission` is what a user needs to see and run it;
        None: nothing. `timeout` bounds each run in seconds; None: the server's own limit. Raises ValueError for a name
        that is taken or malformed, TypeError for a function that yields, or that cannot be called with one argument.
        """
        if not isinstance(name, str):
            raise TypeError('an agent needs a name: @app.agent("name")')

        def register(function: F) -> F:
            self.agents.add(name, function, description=description, permission=permission, timeout=timeout)
            return function

        return register

    def build(self, **options: object) -> Server:
        """The server, built once. `options` are settings that win over the app's own and the environment; None wins
        over nothing. Raises `SettingsError`."""
        if self._server is None:
            chosen = load(None, **options) if self._settings is None else override(self._settings, **options)
            add_builtin_agents(self.agents, chosen)
            self._server = Server(self.agents, chosen, self._clock)
        return self._server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Where the app is mounted in another, enter `lifespan` in that one's."""
        if scope["type"] == "lifespan":
            await self._serve_lifespan(receive, send)
            return
        server = self.build()
        if server.started:
            await server.site(scope, receive, send)
        else:
            await self._refuse(scope, send)

    async def _refuse(self, scope: Scope, send: Send) -> None:
        """Whoever mounts the app and forgets its lifespan learns it from every answer, and once from the log."""
        if not self._told_not_started:
            self._told_not_started = True
            _logger.error("not_started", error=NOT_STARTED)
        error = RequestError("not_configured", NOT_STARTED)
        if scope["type"] == "websocket":
            await refuse_upgrade(scope, send, error)
        else:
            await problem(error).send(send)

    @asynccontextmanager
    async def lifespan(self, _: Any = None) -> AsyncIterator[None]:
        """Run the server while the context is open: for the lifespan of an app that this one is mounted in.

        At SIGTERM and SIGINT the drain begins, beside what the host does: it leaves the context only when every stream
        has ended.
        """
        server = self.build()
        async with server.running():
            with at_stop_signals(server.begin_drain):
                yield

    async def _serve_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        stopping: Message | None = None
        try:
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                stopping = await receive()
        except Exception as error:
            _logger.exception("start_failed" if stopping is None else "stop_failed")
            kind = "startup" if stopping is None else "shutdown"
            await send({"type": f"lifespan.{kind}.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})
