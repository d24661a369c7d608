from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.gateway.transports import SETTINGS, TRANSPORTS, Transport, faults, make_site
from tests.gateway.users import User
from tests.serverprocess import ServerProcess


@pytest.fixture(scope="session", params=TRANSPORTS, ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each way to serve in turn."""
    found: Transport = request.param
    return found


@pytest.fixture(scope="session")
def site(transport: Transport, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of this kind that all conformance tests share, each with users of its own."""
    running = make_site(transport, tmp_path_factory.mktemp(transport.name) / "data", **SETTINGS).start()
    yield running
    running.stop()
    assert not faults(running), running.log()


@pytest.fixture
async def new_user(site: ServerProcess) -> AsyncIterator[Callable[..., User]]:
    """Makes users of the site."""
    users: list[User] = []

    def make(email: str | None = None) -> User:
        users.append(User(site, email))
        return users[-1]

    yield make
    for user in users:
        await user.http.aclose()


@pytest.fixture
def user(new_user: Callable[..., User]) -> User:
    """A new user of the site."""
    return new_user()


@pytest.fixture(scope="module")
def token(server: ServerProcess) -> str:
    """An access token of a user of `server`."""
    found: str = server.tokens("somebody@example.org")["access_token"]
    return found
