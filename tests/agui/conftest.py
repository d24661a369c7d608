from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.agui.official_client import HERE, OfficialClient, Version
from tests.serverprocess import ServerProcess


@pytest.fixture(scope="session")
def npm_packages() -> None:
    """The clients, installed as the lock file says."""
    if not (HERE / "node_modules").is_dir():
        subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=HERE, check=True, capture_output=True)


@pytest.fixture(params=["agui1", "agui0"])
def version(request: pytest.FixtureRequest) -> Version:
    """Each version of the official client in turn."""
    found: Version = request.param
    return found


@pytest.fixture(scope="module")
def user(server: ServerProcess) -> Iterator[httpx.Client]:
    """An HTTP client of the user whom the official clients act for."""
    token = server.tokens("agui@example.org")["access_token"]
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def thread_ids() -> Iterator[str]:
    """Names of threads that no other test of the module uses."""
    return (f"thread-{number}" for number in itertools.count(1))


@pytest.fixture
def connect(
    npm_packages: None, server: ServerProcess, user: httpx.Client, version: Version, thread_ids: Iterator[str]
) -> Iterator[Callable[..., OfficialClient]]:
    """Makes official clients of the version under test; in a new thread, unless one is named."""
    clients: list[OfficialClient] = []
    token = user.headers["Authorization"].removeprefix("Bearer ")

    def make(agent: str = "scripted", thread_id: str | None = None) -> OfficialClient:
        client = OfficialClient(version, server.url, agent, thread_id or next(thread_ids), token)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()
