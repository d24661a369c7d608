from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.contract.history import History
from tests.contract.witness import Witness
from tests.serverprocess import ServerProcess

HERE = Path(__file__).parent

Join = Callable[..., Any]
"""`await join(name)`: a new user of the server that the test uses."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the agents of `agents.py`, shared by one module. Agents may fail in it; the server may not."""
    server = ServerProcess(
        tmp_path_factory.mktemp("site") / "data",
        target="agents:app",
        cwd=HERE,
        GOLDENPATH_CANCEL_GRACE="0.5",
        GOLDENPATH_DRAIN_TIMEOUT="1",
    ).start()
    yield server
    assert server.stop() == 0, server.log()
    assert_sound(server)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers with the agents of `agents.py`, each with a fresh data directory and settings of its own."""
    servers: list[ServerProcess] = []

    def start(**settings: str) -> ServerProcess:
        env = {f"GOLDENPATH_{name.upper()}": value for name, value in settings.items()}
        server = ServerProcess(tmp_path / f"data-{len(servers)}", target="agents:app", cwd=HERE, **env)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.kill()
        assert_sound(server)


@pytest.fixture
def history() -> History:
    """What everybody in this test saw."""
    return History()


@pytest_asyncio.fixture
async def join(history: History) -> AsyncIterator[Join]:
    """Makes users who write down what they see: `await join(server, "ann")`."""
    async with AsyncExitStack() as stack:

        async def make(server: ServerProcess, name: str, **claims: Any) -> Witness:
            return await stack.enter_async_context(Witness(server, history, f"{name}@example.org", **claims))

        yield make


FAULTS = ("run_failed", "request_failed", "command_failed", "upgrade_failed", "task_failed", "tick_failed",
          "commit_failed", "commits_ended", "recovery_failed", "replay_failed", "retention_failed",
          "not_told", "run_not_ended",
          "exception was never retrieved", "Task was destroyed")  # fmt: skip
"""What a server writes when something failed that is its own."""


def assert_sound(server: ServerProcess) -> None:
    """Agents may raise; what the server writes of itself must have no fault."""
    for line in server.log().splitlines():
        assert not any(fault in line for fault in FAULTS), line[:3000]
