from __future__ import annotations

import asyncio
from random import Random

import pytest

from goldenpath.client import ConnectionLost, RequestError, Tokens
from goldenpath.client.tokens import TokenKeeper
from goldenpath.clock import ManualClock


class Accounts:
    """An identity service: hands out numbered tokens, and does otherwise when told so."""

    def __init__(self, life: float = 900.0) -> None:
        self.life = life
        self.spent: list[str] = []
        self.failures: list[Exception] = []
        self.logins = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def made(self) -> Tokens:
        number = len(self.spent) + self.logins
        return Tokens(user_id="u", access_token=f"a{number}", refresh_token=f"r{number}", expires_in=self.life)

    async def renew(self, refresh_token: str) -> Tokens:
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.spent.append(refresh_token)
        return self.made()

    async def log_in(self) -> Tokens:
        self.logins += 1
        return self.made()


def keeper(accounts: Accounts, clock: ManualClock, *, can_log_in: bool = False) -> TokenKeeper:
    return TokenKeeper(clock, Random(1), accounts.renew, accounts.log_in if can_log_in else None)


@pytest.mark.parametrize(("life", "due"), [(900, 810), (360, 270), (60, 45), (3, 2.25)])
async def test_a_token_is_due_well_before_it_expires(life: float, due: float) -> None:
    accounts = Accounts(life)
    tokens = keeper(accounts, ManualClock())
    tokens.adopt(accounts.made())
    assert tokens.due_at == due


async def test_a_servers_notice_makes_a_token_due_but_never_at_once() -> None:
    clock = ManualClock()
    accounts = Accounts()
    tokens = keeper(accounts, clock)
    tokens.set("a", "r")
    assert tokens.due_at is None
    clock.advance(100)
    tokens.expires_in(4)
    assert tokens.due_at == 102


async def test_however_many_ask_it_is_renewed_once() -> None:
    accounts = Accounts()
    tokens = keeper(accounts, ManualClock())
    tokens.set("a", "r")
    seen: list[str] = []
    tokens.on_change = seen.append
    await asyncio.gather(*(tokens.renew("a") for _ in range(10)))
    await tokens.renew("a")
    assert (accounts.spent, tokens.access, seen, tokens.renewals) == (["r"], "a1", ["a1"], 1)


async def test_a_renewal_goes_on_when_one_who_waits_is_cancelled() -> None:
    accounts = Accounts()
    accounts.gate.clear()
    tokens = keeper(accounts, ManualClock())
    tokens.set("a", "r")
    waiters = [asyncio.create_task(tokens.renew("a")) for _ in range(2)]
    await asyncio.sleep(0)
    waiters[0].cancel()
    accounts.gate.set()
    await waiters[1]
    assert (accounts.spent, tokens.access) == (["r"], "a1")
    assert waiters[0].cancelled()


async def test_an_expired_token_is_renewed_before_it_is_used() -> None:
    clock = ManualClock()
    accounts = Accounts(life=60)
    tokens = keeper(accounts, clock)
    tokens.adopt(accounts.made())
    assert await tokens.valid() == "a0"
    clock.advance(60)
    assert await tokens.valid() == "a1"


async def test_a_lost_answer_is_asked_for_again_while_the_server_still_repeats_it() -> None:
    clock = ManualClock()
    accounts = Accounts()
    accounts.failures = [ConnectionLost("gone"), ConnectionLost("gone")]
    tokens = keeper(accounts, clock)
    tokens.set("a", "r")
    renewal = asyncio.create_task(tokens.renew("a"))
    while not renewal.done():
        clock.advance(0.05)
        await asyncio.sleep(0)
    await renewal
    assert tokens.access == "a1"
    assert clock.monotonic() < 3


async def test_where_refreshing_is_refused_it_logs_in_again_if_it_can() -> None:
    accounts = Accounts()
    tokens = keeper(accounts, ManualClock(), can_log_in=True)
    tokens.set("a", "r")
    accounts.failures = [RequestError("unauthorized", "revoked")]
    await tokens.renew("a")
    assert (tokens.access, accounts.logins) == ("a1", 1)


async def test_without_a_way_in_it_is_unauthorized() -> None:
    accounts = Accounts()
    tokens = keeper(accounts, ManualClock())
    with pytest.raises(RequestError, match="no other way in"):
        await tokens.valid()
    tokens.set("a", "r")
    accounts.failures = [RequestError("unauthorized", "revoked")]
    with pytest.raises(RequestError, match="revoked"):
        await tokens.renew("a")
    tokens.set("a")
    assert not tokens.can_renew
    tokens.set("a", "r")
    tokens.forget()
    assert (tokens.access, tokens.can_renew) == (None, False)


async def test_closing_stops_a_renewal() -> None:
    accounts = Accounts()
    accounts.gate.clear()
    tokens = keeper(accounts, ManualClock())
    tokens.set("a", "r")
    renewal = asyncio.create_task(tokens.renew("a"))
    await asyncio.sleep(0)
    await tokens.aclose()
    with pytest.raises(asyncio.CancelledError):
        await renewal
