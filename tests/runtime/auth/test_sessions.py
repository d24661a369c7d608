from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from goldenpath.clock import ManualClock
from goldenpath.runtime.auth.accounts import Accounts
from goldenpath.runtime.interfaces import StoreError
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.stores.memory_accounts import MemoryAccounts
from goldenpath.wire.ids import SessionId
from tests.runtime.auth.conftest import EMAIL, PASSWORD, MakeAccounts, refused, session_of


async def test_refreshing_gives_new_tokens_and_the_old_access_token_lives_on(
    accounts: Accounts, clock: ManualClock
) -> None:
    first = await accounts.register(EMAIL, PASSWORD)
    clock.advance(100)
    second = await accounts.refresh(first.refresh_token)
    assert second.access_token != first.access_token
    assert second.refresh_token != first.refresh_token
    assert session_of(accounts, second) == session_of(accounts, first)
    principal = accounts.check_now(second.access_token)
    assert principal is not None
    assert principal.expires_at == pytest.approx(clock.time() + 900, abs=0.01)


async def test_within_five_seconds_the_same_refresh_gives_the_same_bytes(
    accounts: Accounts, clock: ManualClock
) -> None:
    first = await accounts.register(EMAIL, PASSWORD)
    clock.advance(100.123456)
    second = await accounts.refresh(first.refresh_token)
    clock.advance(5)
    assert await accounts.refresh(first.refresh_token) == second
    third = await accounts.refresh(second.refresh_token)
    assert third != second


async def test_each_of_a_quick_chain_of_refreshes_repeats_its_own_answer(
    accounts: Accounts, clock: ManualClock
) -> None:
    chain = [await accounts.register(EMAIL, PASSWORD)]
    for _ in range(4):
        clock.advance(1)
        chain.append(await accounts.refresh(chain[-1].refresh_token))
    for before, after in pairwise(chain):
        assert await accounts.refresh(before.refresh_token) == after


async def test_simultaneous_refreshes_get_the_same_tokens(accounts: Accounts) -> None:
    first = await accounts.register(EMAIL, PASSWORD)
    answers = await asyncio.gather(*(accounts.refresh(first.refresh_token) for _ in range(10)))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0] != first


async def test_a_later_reuse_ends_the_session(accounts: Accounts, clock: ManualClock, store: MemoryAccounts) -> None:
    first = await accounts.register(EMAIL, PASSWORD)
    other = await accounts.login(EMAIL, PASSWORD)
    second = await accounts.refresh(first.refresh_token)
    ended: list[SessionId] = []
    accounts.on_revoked(ended.append)
    session_id = session_of(accounts, first)
    clock.advance(5.01)
    with refused("unauthorized"):
        await accounts.refresh(first.refresh_token)
    assert ended == [session_id]
    assert accounts.is_revoked(session_id)
    row = await store.session(session_id)
    assert row is not None
    assert row.revoked_at == clock.time()
    for tokens in (first, second):
        assert accounts.check_now(tokens.access_token) is None
        with refused("unauthorized"):
            await accounts.authenticate(tokens.access_token)
        with refused("unauthorized"):
            await accounts.refresh(tokens.refresh_token)
    assert accounts.check_now(other.access_token) is not None


async def test_a_reuse_after_a_restart_ends_the_session_as_well(
    make_accounts: MakeAccounts, clock: ManualClock
) -> None:
    before = await make_accounts()
    first = await before.register(EMAIL, PASSWORD)
    second = await before.refresh(first.refresh_token)
    after = await make_accounts()
    clock.advance(4)
    assert await after.refresh(first.refresh_token) == second
    clock.advance(2)
    with refused("unauthorized"):
        await after.refresh(first.refresh_token)
    assert after.check_now(second.access_token) is None


async def test_a_forged_refresh_token_ends_nothing(accounts: Accounts) -> None:
    first = await accounts.register(EMAIL, PASSWORD)
    second = await accounts.refresh(first.refresh_token)
    name, _, mac = first.refresh_token.split(".")
    for forged in (f"{name}.0.{mac[::-1]}", f"{name}.7.{mac}", f"{name}.0.", "", "junk", "\ud800"):
        with refused("unauthorized"):
            await accounts.refresh(forged)
    assert accounts.check_now(second.access_token) is not None


async def test_a_session_lives_as_long_as_it_is_refreshed(make_accounts: MakeAccounts, clock: ManualClock) -> None:
    accounts = await make_accounts(Settings(refresh_token_ttl=1000))
    tokens = await accounts.register(EMAIL, PASSWORD)
    for _ in range(5):
        clock.advance(900)
        tokens = await accounts.refresh(tokens.refresh_token)
    clock.advance(1000)
    with refused("unauthorized"):
        await accounts.refresh(tokens.refresh_token)


async def test_logging_out_ends_this_session_at_once_and_no_other(accounts: Accounts) -> None:
    await accounts.register(EMAIL, PASSWORD)
    one, two = await accounts.login(EMAIL, PASSWORD), await accounts.login(EMAIL, PASSWORD)
    refreshed = await accounts.refresh(one.refresh_token)
    ended: list[SessionId] = []
    stop = accounts.on_revoked(ended.append)
    principal = await accounts.authenticate(one.access_token)
    await accounts.logout(principal)
    assert ended == [principal.session_id]
    for tokens in (one, refreshed):
        assert accounts.check_now(tokens.access_token) is None
        with refused("unauthorized"):
            await accounts.authenticate(tokens.access_token)
        with refused("unauthorized"):
            await accounts.refresh(tokens.refresh_token)
    second = await accounts.authenticate(two.access_token)
    assert await accounts.refresh(two.refresh_token)
    stop()
    await accounts.logout(second)
    assert ended == [principal.session_id]


async def test_logging_out_twice_at_once_is_harmless(accounts: Accounts) -> None:
    tokens = await accounts.register(EMAIL, PASSWORD)
    ended: list[SessionId] = []
    accounts.on_revoked(ended.append)
    principal = await accounts.authenticate(tokens.access_token)
    await asyncio.gather(accounts.logout(principal), accounts.logout(principal))
    assert ended == [principal.session_id]


async def test_a_session_that_was_ended_stays_ended_after_a_restart(
    make_accounts: MakeAccounts, clock: ManualClock
) -> None:
    before = await make_accounts()
    tokens = await before.register(EMAIL, PASSWORD)
    other = await before.login(EMAIL, PASSWORD)
    await before.logout(await before.authenticate(tokens.access_token))
    clock.advance(899)
    after = await make_accounts()
    assert after.check_now(tokens.access_token) is None
    assert after.check_now(other.access_token) is not None
    assert after.statistics().revoked_sessions == 1


class SlowStore(MemoryAccounts):
    """Revokes when `gate` is set, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.fails = False

    async def revoke_session(self, session_id: SessionId, revoked_at: float) -> None:
        await self.gate.wait()
        if self.fails:
            raise StoreError("disk full")
        await super().revoke_session(session_id, revoked_at)


async def test_a_logout_whose_caller_goes_away_still_happens(make_accounts: MakeAccounts) -> None:
    store = SlowStore()
    accounts = await make_accounts(store=store)
    tokens = await accounts.register(EMAIL, PASSWORD)
    principal = await accounts.authenticate(tokens.access_token)
    leaving = asyncio.ensure_future(accounts.logout(principal))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not accounts.is_revoked(principal.session_id)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    store.gate.set()
    await accounts.close()
    assert accounts.is_revoked(principal.session_id)
    row = await store.session(principal.session_id)
    assert row is not None
    assert row.revoked_at is not None


async def test_a_logout_that_could_not_be_stored_is_an_error_and_can_be_repeated(make_accounts: MakeAccounts) -> None:
    store = SlowStore()
    store.gate.set()
    store.fails = True
    accounts = await make_accounts(store=store)
    tokens = await accounts.register(EMAIL, PASSWORD)
    principal = await accounts.authenticate(tokens.access_token)
    with pytest.raises(StoreError):
        await accounts.logout(principal)
    assert accounts.check_now(tokens.access_token) is not None
    store.fails = False
    await accounts.logout(principal)
    assert accounts.check_now(tokens.access_token) is None
