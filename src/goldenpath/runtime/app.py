"""What a user of the package makes: agents and settings in, an ASGI app out.

`App` is itself an ASGI app: mount it in FastAPI or Starlette, run it under any ASGI server, or let `goldenpath serve`
run it with the socket handed to picows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from starlette.types import Message, Receive, Scope, Send

from goldenpath.clock import Clock, SystemClock
from goldenpath.runtime.builtin import add_builtin_agents
from goldenpath.runtime.environ import load, override
from goldenpath.runtime.flags.definition import (
    AGENT,
    BUILTIN,
    Flag,
)
from goldenpath.runtime.gateway.asgi_socket import refuse_upgrade
from goldenpath.runtime.gateway.request import problem
from goldenpath.runtime.host_signals import at_stop_signals
from goldenpath.runtime.registry import Registry
from goldenpath.runtime.server import Server
from goldenpath.runtime.settings import Settings
from goldenpath.wire.errors import RequestError

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

F = TypeVar("F", bound=Callable[[Any], Any])

NOT_STARTED: Final = (
    "the server was never started: enter goldenpath's lifespan in that of the app it is mounted in, see"
    " docs/howto/mount.md"
)
_logger = structlog.get_logger("goldenpath")


class App:
    """Agents, and the server around them.

        app = App()

        @app.agent("hello")
        async def hello(run: Run) -> None:
            await run.text(f"You said: {run.user_text}")

    `settings`: None reads the environment when the app starts. Options of `goldenpath serve` win over both. An app may
    be started once. `tracer_provider`: OpenTelemetry's, where the settings ask for traces; None: the process's own.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Clock | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self.agents = Registry()
        self._tracer_provider = tracer_provider
        self._settings = settings
        self._clock = clock or SystemClock()
        self._server: Server | None = None
        self._flags: list[Flag] = []
        self._told_not_started = False

    def agent(
        self,
        name: str,
        *,
        description: str | None = None,
        permission: str | None = None,
        timeout: float | None = None,
        silence: float | None = None,
    ) -> Callable[[F], F]:
        """Register the decorated function as the agent `name`: `async def` runs on the event loop, `def` in a thread.

        `description` defaults to the docstring's first paragraph. `permission` is what a user needs to see and run it;
        None: nothing. `timeout` bounds each run in seconds; None: the server's own limit. `silence` is how long it may
        go without progress, in seconds, e.g. while a slow model thinks; None: `agent_execution_timeout`. Raises
        ValueError for a name that is taken or malformed, TypeError for a function that yields, or that cannot be called
        with one argument.
        """
        if not isinstance(name, str):
            raise TypeError('an agent needs a name: @app.agent("name")')

        def register(function: F) -> F:
            self.agents.add(
                name, function, description=description, permission=permission, timeout=timeout, silence=silence
            )
            return function

        return register

    def flag(
        self,
        name: str,
        *,
        description: str = "",
        default: bool | str = False,
        variants: Mapping[str, Any] | None = None,
    ) -> None:
        """Declare a feature flag, to be asked by `run.flags`: boolean, or with `variants`, which are values by their
        names. `default` is what everybody gets until operators roll something else out. Raises ValueError for a name
        that is malformed, that an agent or the server itself uses, and for a default that cannot be."""
        flag = Flag(name, description, default, None if variants is None else dict(variants))
        flag.check()
        if name.startswith(AGENT) or any(name == each.name for each in (*BUILTIN, *self._flags)):
            raise ValueError(f"the flag {name!r} is taken")
        self._flags.append(flag)

    def build(self, *, config: str | None = None, assignments: Sequence[str] = (), **options: object) -> Server:
        """The server, built once. `options`, and `assignments` of the form NAME=VALUE, are settings that win over the
        app's own, the environment and the file `config`; None wins over nothing. Raises `SettingsError`."""
        if self._server is None:
            if self._settings is None:
                chosen = load(None, config=config, assignments=assignments, **options)
            else:
                chosen = override(self._settings, config=config, assignments=assignments, **options)
            add_builtin_agents(self.agents, chosen)
            self._server = Server(self.agents, chosen, self._clock, self._flags, self._tracer_provider)
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
