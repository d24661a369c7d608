from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from goldenpath.clock import ManualClock
from goldenpath.runtime.auth.accounts import Accounts
from goldenpath.runtime.auth.passwords import PasswordCost
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.stores.memory_accounts import MemoryAccounts
from goldenpath.wire.answers import Tokens
from goldenpath.wire.errors import ErrorName, RequestError
from goldenpath.wire.ids import SessionId
from tests.runtime.auth.key_server import KeyServer, SigningKey, serve_keys

CHEAP = PasswordCost(passes=1, memory=8, lanes=1)
SECRET = b"a secret of at least thirty-two bytes"

EMAIL, PASSWORD, KEY = "ann@example.com", "correct horse battery", "the-key-for-simulation"

MakeAccounts = Callable[..., Awaitable[Accounts]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store() -> MemoryAccounts:
    return MemoryAccounts()


@pytest.fixture
async def make_accounts(clock: ManualClock, store: MemoryAccounts) -> AsyncIterator[MakeAccounts]:
    """Makes opened `Accounts` on the test's store and clock, of the settings given; several are several servers."""
    made: list[Accounts] = []

    async def make(settings: Settings | None = None, **arguments: Any) -> Accounts:
        arguments = {"password_cost": CHEAP, **arguments}
        accounts = Accounts(settings or Settings(), arguments.pop("store", store), clock, SECRET, **arguments)
        made.append(accounts)
        await accounts.open()
        return accounts

    yield make
    for accounts in made:
        await accounts.close()


@pytest.fixture
async def accounts(make_accounts: MakeAccounts) -> Accounts:
    return await make_accounts()


@pytest.fixture(scope="session")
def _key_server() -> Iterator[KeyServer]:
    with serve_keys() as server:
        yield server


@pytest.fixture
def key_server(_key_server: KeyServer) -> Iterator[KeyServer]:
    """A running provider without keys that nobody has asked yet."""
    yield _key_server
    _key_server.reset()


@pytest.fixture(scope="session")
def rsa_key() -> SigningKey:
    return SigningKey.rsa("rsa-1")


@pytest.fixture(scope="session")
def other_rsa_key() -> SigningKey:
    return SigningKey.rsa("rsa-2")


@pytest.fixture(scope="session")
def ec_key() -> SigningKey:
    return SigningKey.ec("ec-1")


@contextmanager
def refused(code: ErrorName) -> Iterator[pytest.ExceptionInfo[RequestError]]:
    with pytest.raises(RequestError) as caught:
        yield caught
    assert caught.value.code == code
    for secret in (PASSWORD, KEY, SECRET.decode()):
        assert secret not in str(caught.value)


def session_of(accounts: Accounts, tokens: Tokens) -> SessionId:
    principal = accounts.check_now(tokens.access_token)
    assert principal is not None
    return principal.session_id
