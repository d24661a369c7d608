from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.cli.command import Command
from tests.serverprocess import ServerProcess


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers in the test's folder, where their apps lie; each has a fresh data directory. None of them may
    write a traceback."""
    servers: list[ServerProcess] = []

    def start(*, ready: bool = True, **options: Any) -> ServerProcess:
        server = ServerProcess(tmp_path / f"data-{len(servers)}", cwd=tmp_path, **options)
        servers.append(server)
        return server.start(ready=ready)

    yield start
    for server in servers:
        server.kill()
        assert "Traceback" not in server.log(), server.log()


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A path that is short enough for a Unix socket."""
    with TemporaryDirectory(prefix="goldenpath-") as folder:
        yield Path(folder) / "socket"


@pytest.fixture
def goldenpath(tmp_path: Path) -> Command:
    """Runs the `goldenpath` command in the test's folder."""
    return Command(tmp_path)
