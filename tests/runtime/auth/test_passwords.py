from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import argon2
import pytest

from goldenpath.clock import SystemClock
from goldenpath.runtime.auth.passwords import PasswordCost, Passwords, password_bytes
from goldenpath.wire.errors import RequestError
from tests.runtime.auth.conftest import CHEAP


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    passwords = Passwords(SystemClock(), workers=1, max_waiting=2, cost=CHEAP)
    yield passwords
    await passwords.close()


class Busy:
    """Keeps the only worker busy until released."""

    def __init__(self, passwords: Passwords) -> None:
        self._gate = threading.Event()
        self._task = asyncio.ensure_future(passwords.prepare(lambda: self._gate.wait(30)))

    async def release(self) -> None:
        self._gate.set()
        await self._task


@pytest.mark.parametrize(
    ("password", "accepted"),
    [
        ("1234567", False),
        ("12345678", True),
        ("\u00e9\u00e9\u00e9", False),
        ("\u00e9\u00e9\u00e9\u00e9", True),
        ("x" * 1024, True),
        ("x" * 1025, False),
        ("\u00e9" * 512, True),
        ("\u00e9" * 513, False),
        ("12345678\ud800", False),
        ("pass\x00word", True),
    ],
)
def test_the_length_is_counted_in_bytes(password: str, accepted: bool) -> None:
    assert (password_bytes(password) is not None) is accepted


async def test_only_the_right_password_verifies(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse")
    assert await passwords.verify(stored, "correct horse")
    assert not await passwords.verify(stored, "correct horsf")
    assert not await passwords.verify(stored, "correct horse\x00")
    assert "correct" not in stored


async def test_two_hashes_of_one_password_differ(passwords: Passwords) -> None:
    assert await passwords.hash("correct horse") != await passwords.hash("correct horse")


async def test_an_unacceptable_password_is_refused_or_wrong(passwords: Passwords) -> None:
    with pytest.raises(RequestError) as caught:
        await passwords.hash("short")
    assert caught.value.code == "bad_request"
    stored = await passwords.hash("correct horse")
    assert not await passwords.verify(stored, "short")
    assert not await passwords.verify(stored, "x" * 100_000)


async def test_a_damaged_hash_matches_nothing(passwords: Passwords) -> None:
    assert not await passwords.verify("not a hash", "correct horse")


async def test_nobody_has_a_password_and_checking_it_costs_the_same() -> None:
    passwords = Passwords(SystemClock())
    try:
        assert not await passwords.verify(None, "correct horse")
        real = argon2.extract_parameters(await passwords.hash("correct horse"))
        assert argon2.extract_parameters(passwords._nobody) == real
        assert real.type is argon2.Type.ID
        assert (real.memory_cost, real.time_cost, real.parallelism) == (19_456, 2, 1)
    finally:
        await passwords.close()


async def test_a_hash_of_other_parameters_still_verifies(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse")
    dearer = Passwords(SystemClock(), cost=PasswordCost(passes=2, memory=64))
    try:
        assert await dearer.verify(stored, "correct horse")
    finally:
        await dearer.close()


async def test_beyond_the_bound_callers_are_refused_at_once(passwords: Passwords) -> None:
    busy = Busy(passwords)
    waiting = [asyncio.ensure_future(passwords.hash("correct horse")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(RequestError) as caught:
        await passwords.verify(None, "correct horse")
    assert caught.value.code == "overloaded"
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 1
    assert passwords.statistics().pending == 3
    assert passwords.statistics().refused == 1
    await busy.release()
    assert len(await asyncio.gather(*waiting)) == 3
    assert passwords.statistics().pending == 0
    assert passwords.statistics().seconds > 0


async def test_a_cancelled_caller_frees_its_place(passwords: Passwords) -> None:
    busy = Busy(passwords)
    waiting = [asyncio.ensure_future(passwords.hash("correct horse")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[1]
    another = asyncio.ensure_future(passwords.hash("correct horse"))
    await busy.release()
    assert len(await asyncio.gather(waiting[0], waiting[2], another)) == 3


async def test_closing_refuses_what_waits_and_what_comes(passwords: Passwords) -> None:
    busy = Busy(passwords)
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(passwords.hash("correct horse"))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(passwords.close())
    with pytest.raises(RequestError) as caught:
        await waiting
    assert caught.value.code == "draining"
    await busy.release()
    await closing
    with pytest.raises(RequestError) as caught:
        await passwords.hash("correct horse")
    assert caught.value.code == "draining"
