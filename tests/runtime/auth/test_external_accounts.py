from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from goldenpath.clock import ManualClock
from goldenpath.runtime.auth.accounts import REVERIFY, Accounts
from goldenpath.runtime.auth.key_source import MAX_AGE
from goldenpath.runtime.auth.refusals import INTERVAL
from goldenpath.runtime.settings import Issuer, Settings, SettingsError
from goldenpath.runtime.stores.memory_accounts import MemoryAccounts
from goldenpath.wire.ids import SessionId
from tests.runtime.auth.conftest import EMAIL, PASSWORD, SECRET, MakeAccounts, refused
from tests.runtime.auth.key_server import AUDIENCE, KeyServer, SigningKey


@pytest.fixture
def external(key_server: KeyServer, rsa_key: SigningKey) -> Settings:
    key_server.keys = [rsa_key.jwk()]
    return Settings(issuers=(Issuer(key_server.issuer, AUDIENCE, key_server.jwks_url),))


def external_token(key: SigningKey, server: KeyServer, clock: ManualClock, **changes: Any) -> str:
    return key.sign(
        {
            "iss": server.issuer,
            "aud": AUDIENCE,
            "sub": "ann",
            "iat": clock.time(),
            "exp": clock.time() + 3600,
            "jti": "t1",
            "email": EMAIL,
            **changes,
        }
    )


async def test_an_external_token_is_checked_once_and_then_known_at_once(
    make_accounts: MakeAccounts, external: Settings, key_server: KeyServer, rsa_key: SigningKey, clock: ManualClock
) -> None:
    accounts = await make_accounts(external)
    registered = await accounts.register(EMAIL, PASSWORD)
    token = external_token(rsa_key, key_server, clock)
    assert accounts.check_now(token) is None
    principal = await accounts.authenticate(token)
    assert accounts.check_now(token) == principal
    assert await accounts.authenticate(token) == principal
    assert principal.user_id != registered.user_id
    assert accounts.me(principal).email == EMAIL
    assert (await accounts.authenticate(registered.access_token)).user_id == registered.user_id


async def test_an_external_token_of_an_unknown_issuer_is_refused_without_asking_anybody(
    make_accounts: MakeAccounts, external: Settings, key_server: KeyServer, rsa_key: SigningKey, clock: ManualClock
) -> None:
    accounts = await make_accounts(external)
    for issuer in ("http://127.0.0.1:1", "goldenpath", ""):
        with refused("unauthorized"):
            await accounts.authenticate(external_token(rsa_key, key_server, clock, iss=issuer))
    assert key_server.requests == 0


async def test_logging_out_ends_one_external_token_for_ever(
    make_accounts: MakeAccounts,
    external: Settings,
    key_server: KeyServer,
    rsa_key: SigningKey,
    clock: ManualClock,
    store: MemoryAccounts,
) -> None:
    accounts = await make_accounts(external)
    one, two = (external_token(rsa_key, key_server, clock, jti=name) for name in ("t1", "t2"))
    principal = await accounts.authenticate(one)
    await accounts.authenticate(two)
    ended: list[SessionId] = []
    accounts.on_revoked(ended.append)
    await asyncio.gather(accounts.logout(principal), accounts.logout(principal))
    assert ended == [principal.session_id]
    clock.advance(1800)
    for server in (accounts, await make_accounts(external)):
        assert server.check_now(one) is None
        with refused("unauthorized"):
            await server.authenticate(one)
        assert await server.authenticate(two)
    row = await store.session(principal.session_id)
    assert row is not None
    assert row.expires_at == principal.expires_at


async def test_a_key_that_its_provider_withdrew_stops_working_soon(
    make_accounts: MakeAccounts,
    external: Settings,
    key_server: KeyServer,
    rsa_key: SigningKey,
    other_rsa_key: SigningKey,
    clock: ManualClock,
) -> None:
    accounts = await make_accounts(external)
    token = external_token(rsa_key, key_server, clock)
    await accounts.authenticate(token)
    key_server.keys = [other_rsa_key.jwk()]
    clock.advance(MAX_AGE + 1)
    assert accounts.check_now(token) is None
    assert await accounts.authenticate(token)  # the old keys, while the new ones are fetched
    assert await accounts.authenticate(external_token(other_rsa_key, key_server, clock, jti="t2"))
    clock.advance(REVERIFY)
    with refused("unauthorized"):
        await accounts.authenticate(token)


async def test_while_the_provider_does_not_answer_a_new_token_is_asked_to_come_back(
    make_accounts: MakeAccounts, external: Settings, key_server: KeyServer, rsa_key: SigningKey, clock: ManualClock
) -> None:
    key_server.up = False
    accounts = await make_accounts(external)
    with refused("upstream_unavailable") as caught:
        await accounts.authenticate(external_token(rsa_key, key_server, clock))
    assert caught.value.retry_after is not None
    assert await accounts.register(EMAIL, PASSWORD)


async def test_closing_does_not_wait_for_a_provider_that_hangs(
    make_accounts: MakeAccounts, external: Settings, key_server: KeyServer, rsa_key: SigningKey, clock: ManualClock
) -> None:
    asked = asyncio.Event()

    async def hang(_: str) -> bytes:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    accounts = await make_accounts(external, fetch=hang)
    caller = asyncio.ensure_future(accounts.authenticate(external_token(rsa_key, key_server, clock)))
    await asked.wait()
    await accounts.close()
    with refused("upstream_unavailable"):
        await caller


async def test_an_issuer_may_be_named_once(make_accounts: MakeAccounts) -> None:
    issuer = Issuer("https://id.example", AUDIENCE, "https://id.example/keys")
    with pytest.raises(SettingsError, match="twice"):
        await make_accounts(Settings(issuers=(issuer, issuer)))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "issuer": ({"iss": "https://other.example"}, "issuer: none of GOLDENPATH_ISSUERS"),
    "audience": ({"aud": "others"}, "audience"),
    "expiry": ({"exp": 1}, "expiry"),
    "not yet": ({"nbf": 9e9}, "not good yet"),
    "no expiry": ({"exp": None}, "missing claim exp"),
    "nobody": ({"sub": ""}, "missing claim sub"),
}


@pytest.mark.parametrize("refusal", REFUSED)
async def test_the_log_tells_once_in_a_while_why_tokens_are_refused(
    make_accounts: MakeAccounts,
    external: Settings,
    key_server: KeyServer,
    rsa_key: SigningKey,
    clock: ManualClock,
    refusal: str,
) -> None:
    changes, check = REFUSED[refusal]
    accounts = await make_accounts(external)
    token = external_token(rsa_key, key_server, clock, **changes)
    with capture_logs() as logs:
        for seconds in (0, INTERVAL - 1, 1):
            clock.advance(seconds)
            with refused("unauthorized"):
                await accounts.authenticate(token)
    issuer = changes.get("iss", key_server.issuer)
    assert logs == [{"event": "token_refused", "log_level": "info", "check": check, "issuer": issuer}] * 2
    assert token not in repr(logs)


async def test_a_forged_signature_is_told_and_hides_no_other_refusal(
    make_accounts: MakeAccounts,
    external: Settings,
    key_server: KeyServer,
    rsa_key: SigningKey,
    other_rsa_key: SigningKey,
    clock: ManualClock,
) -> None:
    accounts = await make_accounts(external)
    token = external_token(rsa_key, key_server, clock)
    forged = f"{token.rpartition('.')[0]}.{external_token(other_rsa_key, key_server, clock).rpartition('.')[2]}"
    with capture_logs() as logs:
        for each in (forged, external_token(other_rsa_key, key_server, clock), forged, f"{token}x."):
            with refused("unauthorized"):
                await accounts.authenticate(each)
    assert [line["check"] for line in logs] == ["signature", "signature: the provider has no such key"]


async def test_nothing_secret_is_logged(
    make_accounts: MakeAccounts,
    external: Settings,
    key_server: KeyServer,
    rsa_key: SigningKey,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(0)
    with capture_logs() as logs:
        secrets = await leak_if_it_can(await make_accounts(external), key_server, rsa_key, clock)
    assert logs[0]["event"] == "keys_not_fetched"
    for secret in secrets:
        assert secret not in caplog.text
        assert secret not in repr(logs)


async def leak_if_it_can(
    accounts: Accounts, key_server: KeyServer, rsa_key: SigningKey, clock: ManualClock
) -> Sequence[str]:
    key_server.up = False
    tokens = await accounts.register(EMAIL, PASSWORD)
    token = external_token(rsa_key, key_server, clock)
    with refused("unauthorized"):
        await accounts.login(EMAIL, "a wrong password")
    with refused("upstream_unavailable"):
        await accounts.authenticate(token)
    await accounts.logout(await accounts.authenticate(tokens.access_token))
    return PASSWORD, "a wrong password", token, tokens.access_token, tokens.refresh_token, SECRET.decode()
