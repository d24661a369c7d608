"""`goldenpath serve`: load the app, listen, say where, and stop cleanly."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import structlog
import uvicorn

from goldenpath.cli.listener import check_tls, listen
from goldenpath.runtime.app import App
from goldenpath.runtime.gateway.http_protocol import GatewayProtocol, protocol_class
from goldenpath.runtime.interfaces import StoreError
from goldenpath.runtime.server import Server
from goldenpath.runtime.settings import Settings, SettingsError
from goldenpath.runtime.startup import StartupError
from goldenpath.wire.errors import GoldenpathError

EXIT_LOST = 1
"""What was appended last could not be written."""
EXIT_USAGE = 2
SWITCH_INTERVAL = 0.000_05
"""How long a thread may keep the interpreter from another, in seconds. Who waits for it begins anew whenever it was let
go for a moment, as the event loop does in each of its turns: where this is longer than the turns of a loop that always
has something to do, the writer waits for ever so long, and a commit takes most of a second."""

NO_AGENTS = (
    "there are no agents; name your app (goldenpath serve myapp:app), or set GOLDENPATH_BUILTIN_AGENTS or"
    " GOLDENPATH_OPENAI_BASE_URL and GOLDENPATH_OPENAI_MODEL"
)

GC_THRESHOLDS = (10_000, 100, 50)
"""The collector runs more rarely than by default, where it took a tenth of the CPU (docs/design/0003), and looks at no
more new objects at once than it can in a few milliseconds: everybody waits for it."""

GOOD_BYE = 1.0
"""How long clients have after the drain to take what was sent to them, their close frame too, in seconds."""


class TargetError(GoldenpathError):
    """MODULE:APP that names no app."""


_NOT_THEIRS = {__file__, importlib.__file__, "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>"}


def serve(target: str | None, *, config: str | None = None, assignments: Sequence[str] = (), **options: object) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code; what is wrong before the start is one line on stderr."""
    try:
        app = _load_app(target) if target else App()
        server = app.build(config=config, assignments=assignments, **options)
        check_tls(server.settings)
        listener = listen(server.settings)
    except GoldenpathError as error:
        print(f"goldenpath: {error}", file=sys.stderr)
        return EXIT_USAGE
    if next(iter(app.agents), None) is None:
        print(f"goldenpath: {NO_AGENTS}", file=sys.stderr)
    _configure_logs(server.settings)
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        return _run(_serve(server, listener))
    except KeyboardInterrupt:
        return 0
    finally:
        listener.close()
        if server.settings.uds is not None:
            Path(server.settings.uds).unlink(missing_ok=True)


def _run(main: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:  # no uvloop for this platform
        return asyncio.run(main)
    return uvloop.run(main)


def _load_app(target: str) -> App:
    module_name, separator, attribute = target.partition(":")
    if not separator or not module_name or module_name.startswith(".") or not attribute:
        raise TargetError(f"{target!r} is not of the form MODULE:APP{_meant(target) or ', e.g. myapp:app'}")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise TargetError(f"there is no module {module_name!r} here{_meant(target)}") from None
        raise _broken(module_name, error) from None
    except Exception as error:  # noqa: BLE001 - whatever is wrong in the user's module
        raise _broken(module_name, error) from None
    if not hasattr(module, attribute):
        raise TargetError(f"there is no {attribute!r} in {module_name}")
    app = getattr(module, attribute)
    if not isinstance(app, App):
        raise TargetError(f"{attribute!r} in {module_name} is not a goldenpath.App")
    return app


def _meant(target: str) -> str:
    """Asks back where a file was named instead of a module; else nothing."""
    path, _, attribute = target.partition(":")
    if not path.endswith(".py"):
        return ""
    module_name = ".".join(Path(path).with_suffix("").parts)
    return f"; did you mean {module_name}:{attribute or 'app'}?"


def _broken(module_name: str, error: Exception) -> TargetError:
    """Show where the user's own code failed, without our frames and those of the import."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in _NOT_THEIRS:
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace, chain=False)
    return TargetError(f"{module_name!r} cannot be loaded: {type(error).__name__}, see above")


async def _serve(server: Server, listener: socket.socket) -> int:
    settings = server.settings
    config = uvicorn.Config(
        server.site,
        http=protocol_class(server.gateway, over_unix=settings.uds is not None),
        ws="websockets-sansio",
        ws_max_size=settings.max_message_bytes,
        ws_ping_interval=settings.heartbeat,
        ws_ping_timeout=settings.heartbeat,
        ws_per_message_deflate=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        backlog=4096,
        timeout_keep_alive=75,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        # The drain has ended every stream and run by then; what is left is a client that does not read.
        timeout_graceful_shutdown=2,
    )
    http = _Http(config, server, listener)
    code = 0
    try:
        with http.signals():
            async with server.running():
                _tune_collector()
                await http.serve(sockets=[listener])
    except (StartupError, StoreError, SettingsError) as error:
        print(f"goldenpath: {error}", file=sys.stderr)
        code = EXIT_LOST if http.started else EXIT_USAGE
    if server.scheduler.abandoned:
        # Their runs have ended, and what could be written is on disk, but they obey no cancel: the ordinary way out
        # would wait for them for ever.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


class _Http(uvicorn.Server):
    """uvicorn, which tells the server to drain before it waits for its connections to end."""

    def __init__(self, config: uvicorn.Config, server: Server, listener: socket.socket) -> None:
        super().__init__(config)
        self._server = server
        self._listener = listener

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take signals from the start to the very end: a second one must not break a stop off half-way."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn raises the signal again when it is done, which would end a clean stop with its code; ours is 0."""
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop. Whoever presses Ctrl-C again does not want to wait; a supervisor may well send SIGTERM twice."""
        if self.should_exit and sig == signal.SIGINT:
            self._server.scheduler.hurry()
        self._server.scheduler.refuse_new_runs()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        settings = self._server.settings
        if settings.uds is not None:
            where = f"unix:{settings.uds}"
        else:
            scheme = "https" if settings.tls_cert else "http"
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            where = f"{scheme}://{host}:{self._listener.getsockname()[1]}"
        data = "memory, lost with the process" if settings.in_memory else settings.data_dir
        print(f"goldenpath serves at {where} ({settings.environment}); data in {data}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Keep listening meanwhile, so that probes and new runs are answered with `draining`.
        server = self._server
        drain = server.begin_drain()
        if server.scheduler.active:
            seconds = server.settings.drain_timeout
            runs = f"{server.scheduler.active} run(s)"
            print(f"goldenpath: {runs} may go on for {seconds:g} s; Ctrl-C once more ends them", file=sys.stderr)
        await drain
        for _ in range(round(GOOD_BYE / 0.02)):
            if not len(server.gateway.peers):
                break
            await asyncio.sleep(0.02)
        for connection in list(self.server_state.connections):
            if isinstance(connection, GatewayProtocol):
                connection.cut_if_stuck()
        await super().shutdown(sockets=sockets)


def _tune_collector() -> None:
    """What was made by the start lives as long as the process: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _configure_logs(settings: Settings) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    last: list[structlog.typing.Processor]
    if settings.logs_for_people:
        # Tracebacks are plain: those in colours show local variables, which are the users' words and may be secrets.
        plain = structlog.dev.plain_traceback
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True), *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
