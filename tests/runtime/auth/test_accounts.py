from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import jwt
import pytest

from goldenpath.clock import ManualClock
from goldenpath.runtime.auth.accounts import Accounts
from goldenpath.runtime.auth.passwords import PasswordCost
from goldenpath.runtime.settings import Environment, Settings
from goldenpath.runtime.stores.database import Database
from goldenpath.runtime.stores.memory_accounts import MemoryAccounts
from goldenpath.runtime.stores.sqlite_accounts import SCHEMA, SqliteAccounts
from goldenpath.wire.answers import Tokens
from goldenpath.wire.errors import ErrorName, RequestError
from tests.runtime.auth.conftest import EMAIL, KEY, PASSWORD, SECRET, MakeAccounts, refused, session_of


async def test_who_registers_is_logged_in_with_all_five_fields(accounts: Accounts) -> None:
    tokens = await accounts.register(EMAIL, PASSWORD)
    assert tokens.token_type == "Bearer"
    assert tokens.expires_in == Settings().access_token_ttl
    principal = await accounts.authenticate(tokens.access_token)
    assert principal.user_id == tokens.user_id
    profile = accounts.me(principal)
    assert (profile.user_id, profile.email, profile.permissions, profile.tier) == (tokens.user_id, EMAIL, [], "free")
    assert (await accounts.refresh(tokens.refresh_token)).user_id == tokens.user_id


async def test_an_email_is_taken_in_any_spelling(accounts: Accounts) -> None:
    tokens = await accounts.register(" Ann@Example.com ", PASSWORD)
    with refused("conflict"):
        await accounts.register("ANN@example.COM", "another password")
    assert (await accounts.login("ann@EXAMPLE.com\t", PASSWORD)).user_id == tokens.user_id


async def test_of_many_who_register_an_email_together_one_gets_it(accounts: Accounts) -> None:
    results = await asyncio.gather(
        *(accounts.register(EMAIL, f"{PASSWORD} {number}") for number in range(8)), return_exceptions=True
    )
    won = [result for result in results if isinstance(result, Tokens)]
    assert len(won) == 1
    assert sum(isinstance(result, RequestError) and result.code == "conflict" for result in results) == 7
    number = next(number for number, result in enumerate(results) if isinstance(result, Tokens))
    assert (await accounts.login(EMAIL, f"{PASSWORD} {number}")).user_id == won[0].user_id


@pytest.mark.parametrize("email", ["", "nobody", "a@", "\ud800@x.com"])
async def test_a_bad_email_is_refused(accounts: Accounts, email: str) -> None:
    with refused("bad_request"):
        await accounts.register(email, PASSWORD)


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025, "12345678\ud800"])
async def test_a_password_out_of_bounds_is_refused(accounts: Accounts, password: str) -> None:
    with refused("bad_request"):
        await accounts.register(EMAIL, password)


@pytest.mark.parametrize("password", ["12345678", "x" * 1024])
async def test_a_password_at_the_bounds_is_accepted(accounts: Accounts, password: str) -> None:
    tokens = await accounts.register(EMAIL, password)
    assert (await accounts.login(EMAIL, password)).user_id == tokens.user_id


@pytest.mark.parametrize(
    ("settings", "is_open"),
    [
        (Settings(), True),
        (Settings(environment="testing"), True),
        (Settings(environment="staging"), False),
        (Settings(environment="production"), False),
        (Settings(environment="production", registration=True), True),
        (Settings(registration=False), False),
    ],
)
async def test_registration_is_open_where_the_settings_say_so(
    make_accounts: MakeAccounts, settings: Settings, is_open: bool
) -> None:
    accounts = await make_accounts(settings)
    if is_open:
        assert await accounts.register(EMAIL, PASSWORD)
    else:
        with refused("forbidden"):
            await accounts.register("", "")


async def test_a_login_renews_a_hash_of_other_parameters_once(
    make_accounts: MakeAccounts, store: MemoryAccounts
) -> None:
    async def stored() -> str:
        user = await store.user_by_subject("password", EMAIL)
        assert user is not None
        assert user.password_hash is not None
        return user.password_hash

    before = await make_accounts()
    tokens = await before.register(EMAIL, PASSWORD)
    cheap = await stored()
    await before.login(EMAIL, PASSWORD)
    assert await stored() == cheap
    after = await make_accounts(password_cost=PasswordCost(passes=2, memory=64))
    with refused("unauthorized"):
        await after.login(EMAIL, "wrong password")
    assert await stored() == cheap
    assert (await after.login(EMAIL, PASSWORD)).user_id == tokens.user_id
    renewed = await stored()
    assert "m=64,t=2,p=1" in renewed
    assert (await after.login(EMAIL, PASSWORD)).user_id == tokens.user_id
    assert await stored() == renewed


async def test_each_login_is_a_session_of_the_same_user(accounts: Accounts) -> None:
    await accounts.register(EMAIL, PASSWORD)
    one, two = await accounts.login(EMAIL, PASSWORD), await accounts.login(EMAIL, PASSWORD)
    assert one.user_id == two.user_id
    sessions = {session_of(accounts, tokens) for tokens in (one, two)}
    assert len(sessions) == 2


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, "wrong password"),
        (EMAIL, ""),
        (EMAIL, "x" * 5000),
        (EMAIL, "\ud800" * 8),
        ("unknown@example.com", PASSWORD),
        ("", PASSWORD),
        ("\ud800", PASSWORD),
        ("x" * 10_000, PASSWORD),
    ],
)
async def test_any_wrong_pair_gets_the_same_answer(accounts: Accounts, email: str, password: str) -> None:
    await accounts.register(EMAIL, PASSWORD)
    with refused("unauthorized") as caught:
        await accounts.login(email, password)
    assert caught.value.message == "The e-mail or the password is wrong."


@pytest.mark.parametrize("email", [EMAIL, "unknown@example.com", "no address"])
async def test_ten_failures_in_five_minutes_lock_known_and_unknown_emails_alike(
    accounts: Accounts, clock: ManualClock, email: str
) -> None:
    await accounts.register(EMAIL, PASSWORD)
    for _ in range(10):
        with refused("unauthorized"):
            await accounts.login(email, "wrong password")
        clock.advance(10)
    with refused("rate_limited") as caught:
        await accounts.login(email.upper(), PASSWORD)
    assert caught.value.retry_after == 200
    assert await accounts.register("bob@example.com", PASSWORD)
    assert await accounts.login("bob@example.com", PASSWORD)
    clock.advance(200)
    if email == EMAIL:
        assert await accounts.login(email, PASSWORD)
    else:
        with refused("unauthorized"):
            await accounts.login(email, PASSWORD)


async def test_concurrent_attempts_learn_no_more_than_ten_answers(accounts: Accounts) -> None:
    await accounts.register(EMAIL, PASSWORD)
    passwords = [f"wrong password {number}" for number in range(30)]
    results = await asyncio.gather(*(accounts.login(EMAIL, text) for text in passwords), return_exceptions=True)
    codes = [result.code for result in results if isinstance(result, RequestError)]
    assert sorted(codes) == ["rate_limited"] * 20 + ["unauthorized"] * 10
    assert accounts.statistics().failing_emails == 1


async def test_the_right_password_among_too_many_guesses_is_not_recognised(make_accounts: MakeAccounts) -> None:
    accounts = await make_accounts(Settings(password_workers=1))
    await accounts.register(EMAIL, PASSWORD)
    guesses = [f"wrong password {number}" for number in range(10)] + [PASSWORD]
    results = await asyncio.gather(*(accounts.login(EMAIL, text) for text in guesses), return_exceptions=True)
    last = results[-1]
    assert isinstance(last, RequestError)
    assert last.code == "rate_limited"


async def test_many_right_logins_at_once_all_succeed(accounts: Accounts) -> None:
    tokens = await accounts.register(EMAIL, PASSWORD)
    together = await asyncio.gather(*(accounts.login(EMAIL, PASSWORD) for _ in range(30)))
    assert {login.user_id for login in together} == {tokens.user_id}


async def simulator(make_accounts: MakeAccounts, **settings: Any) -> Accounts:
    return await make_accounts(Settings(**{"simulation_key": KEY, **settings}))


async def test_a_simulated_user_is_the_same_each_time_and_never_the_registered_one(
    make_accounts: MakeAccounts,
) -> None:
    accounts = await simulator(make_accounts)
    registered = await accounts.register(EMAIL, PASSWORD)
    one = await accounts.simulate(KEY, EMAIL)
    two = await accounts.simulate(KEY, f" {EMAIL.upper()}")
    assert one.user_id == two.user_id != registered.user_id
    assert one.access_token != two.access_token
    assert (await accounts.login(EMAIL, PASSWORD)).user_id == registered.user_id
    other = await accounts.simulate(KEY, "bob@example.com")
    assert other.user_id != one.user_id
    assert (await accounts.register("bob@example.com", PASSWORD)).user_id != other.user_id
    assert (await accounts.refresh(one.refresh_token)).user_id == one.user_id


async def test_nobody_logs_in_as_a_simulated_user_with_a_password(make_accounts: MakeAccounts) -> None:
    accounts = await simulator(make_accounts)
    await accounts.simulate(KEY, EMAIL)
    with refused("unauthorized"):
        await accounts.login(EMAIL, PASSWORD)


async def test_many_first_simulations_at_once_make_one_user(make_accounts: MakeAccounts) -> None:
    accounts = await simulator(make_accounts)
    together = await asyncio.gather(*(accounts.simulate(KEY, EMAIL) for _ in range(10)))
    assert len({tokens.user_id for tokens in together}) == 1


async def test_permissions_and_tier_hold_for_one_login_and_its_refreshes(make_accounts: MakeAccounts) -> None:
    accounts = await simulator(make_accounts)
    first = await accounts.simulate(KEY, EMAIL, ["chat", "admin"], "enterprise")
    second = await accounts.simulate(KEY, EMAIL)
    refreshed = await accounts.refresh(first.refresh_token)
    for tokens, permissions, tier in ((first, ["admin", "chat"], "enterprise"), (second, [], "free")):
        profile = accounts.me(await accounts.authenticate(tokens.access_token))
        assert (profile.permissions, profile.tier) == (permissions, tier)
    assert (await accounts.authenticate(refreshed.access_token)).tier == "enterprise"


@pytest.mark.parametrize(
    ("environment", "configured", "given", "code"),
    [
        ("production", None, None, "forbidden"),
        ("production", KEY, KEY, "forbidden"),
        ("staging", None, None, "not_configured"),
        ("local", None, KEY, "not_configured"),
        ("local", "", "", "not_configured"),
        ("local", KEY, None, "unauthorized"),
        ("local", KEY, "", "unauthorized"),
        ("local", KEY, KEY + "x", "unauthorized"),
        ("local", KEY, KEY[:-1], "unauthorized"),
        ("local", KEY, "\ud800\u00e9", "unauthorized"),
        ("staging", KEY, KEY, "bad_request"),
    ],
)
async def test_simulation_is_refused_in_the_order_of_the_protocol(
    make_accounts: MakeAccounts, environment: Environment, configured: str | None, given: str | None, code: ErrorName
) -> None:
    accounts = await simulator(make_accounts, environment=environment, simulation_key=configured)
    with refused(code):
        await accounts.simulate(given, "no address")


@pytest.mark.parametrize(
    ("permissions", "tier"),
    [
        ([""], "free"),
        (["a b"], "free"),
        (["\u00e9"], "free"),
        (["x" * 129], "free"),
        ([f"{number:0100}" for number in range(21)], "free"),
        ([], ""),
        ([], "x" * 129),
    ],
)
async def test_rights_out_of_form_are_refused(
    make_accounts: MakeAccounts, permissions: Sequence[str], tier: str
) -> None:
    accounts = await simulator(make_accounts)
    with refused("bad_request"):
        await accounts.simulate(KEY, EMAIL, permissions, tier)


@pytest.mark.parametrize("token", [None, "", "junk", "a.b.c", "\ud800", "x" * 100_000])
async def test_no_token_and_junk_are_nobody(accounts: Accounts, token: str | None) -> None:
    assert accounts.check_now(token) is None
    with refused("unauthorized"):
        await accounts.authenticate(token)


async def test_a_refresh_token_is_no_access_token_and_the_reverse(accounts: Accounts) -> None:
    tokens = await accounts.register(EMAIL, PASSWORD)
    assert accounts.check_now(tokens.refresh_token) is None
    with refused("unauthorized"):
        await accounts.authenticate(tokens.refresh_token)
    with refused("unauthorized"):
        await accounts.refresh(tokens.access_token)


async def test_an_access_token_ends_after_its_life(make_accounts: MakeAccounts, clock: ManualClock) -> None:
    accounts = await make_accounts(Settings(access_token_ttl=2.5))
    tokens = await accounts.register(EMAIL, PASSWORD)
    assert tokens.expires_in == 2.5
    clock.advance(2.4)
    assert accounts.check_now(tokens.access_token) is not None
    clock.advance(0.2)
    assert accounts.check_now(tokens.access_token) is None
    with refused("unauthorized"):
        await accounts.authenticate(tokens.access_token)
    assert await accounts.refresh(tokens.refresh_token)


async def test_no_access_token_outlives_its_session(make_accounts: MakeAccounts, clock: ManualClock) -> None:
    accounts = await make_accounts(Settings(access_token_ttl=900, refresh_token_ttl=60))
    tokens = await accounts.register(EMAIL, PASSWORD)
    assert tokens.expires_in == 60
    clock.advance(60)
    assert accounts.check_now(tokens.access_token) is None
    with refused("unauthorized"):
        await accounts.refresh(tokens.refresh_token)


async def test_another_server_of_the_same_secret_knows_the_token(
    accounts: Accounts, make_accounts: MakeAccounts
) -> None:
    tokens = await accounts.register(EMAIL, PASSWORD)
    other = await make_accounts(store=MemoryAccounts())
    assert other.check_now(tokens.access_token) == accounts.check_now(tokens.access_token)


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "goldenpath.db", [SCHEMA])
    await database.open()
    yield database
    await database.close()


async def test_the_whole_life_of_a_session_works_on_sqlite(
    make_accounts: MakeAccounts, disk: Database, clock: ManualClock
) -> None:
    accounts = await make_accounts(store=SqliteAccounts(disk))
    tokens = await accounts.register(EMAIL, PASSWORD)
    with refused("conflict"):
        await accounts.register(EMAIL, PASSWORD)
    for email in ("\ud800", "\x00", "x" * 10_000):
        with refused("unauthorized"):
            await accounts.login(email, PASSWORD)
    login = await accounts.login(EMAIL, PASSWORD)
    clock.advance(1.23456789)
    answers = await asyncio.gather(*(accounts.refresh(login.refresh_token) for _ in range(10)))
    assert all(answer == answers[0] for answer in answers)
    clock.advance(6)
    with refused("unauthorized"):
        await accounts.refresh(login.refresh_token)
    again = await make_accounts(store=SqliteAccounts(disk))
    assert again.check_now(answers[0].access_token) is None
    assert again.check_now(tokens.access_token) is not None


async def test_statistics_count_what_is_held(accounts: Accounts) -> None:
    tokens = await accounts.register(EMAIL, PASSWORD)
    with refused("unauthorized"):
        await accounts.login(EMAIL, "wrong password")
    principal = await accounts.authenticate(tokens.access_token)
    statistics = accounts.statistics()
    assert (statistics.verified_tokens, statistics.failing_emails, statistics.revoked_sessions) == (1, 1, 0)
    assert (statistics.passwords_pending, statistics.passwords_refused) == (0, 0)
    await accounts.logout(principal)
    assert accounts.statistics().revoked_sessions == 1


async def test_the_libraries_are_loaded_off_the_event_loop(make_accounts: MakeAccounts) -> None:
    accounts = await make_accounts()
    await accounts._warmed()
    assert accounts._warming is not None
    assert accounts._warming.done()
    assert accounts._warming.exception() is None


async def test_closing_twice_and_without_opening_is_harmless(clock: ManualClock, store: MemoryAccounts) -> None:
    accounts = Accounts(Settings(), store, clock, SECRET)
    await accounts.close()
    await accounts.close()


def test_our_tokens_are_plain_jwts_signed_with_the_secret(clock: ManualClock) -> None:
    async def register() -> Tokens:
        accounts = Accounts(Settings(), MemoryAccounts(), clock, SECRET)
        await accounts.open()
        try:
            return await accounts.register(EMAIL, PASSWORD)
        finally:
            await accounts.close()

    tokens = asyncio.run(register())
    claims = jwt.decode(tokens.access_token, SECRET, ["HS256"], audience="goldenpath", options={"verify_exp": False})
    assert claims["sub"] == tokens.user_id
    assert set(claims) == {"iss", "aud", "sub", "sid", "jti", "iat", "exp", "permissions", "tier", "email"}
