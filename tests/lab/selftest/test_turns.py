from __future__ import annotations

import asyncio

from goldenpath.lab.selftest.turns import Turns


async def test_users_take_turns_however_much_each_wants() -> None:
    turns = Turns(1)
    order = ["z"]
    await turns.take("z")

    async def wait(user: str) -> None:
        await turns.take(user)
        order.append(user)

    waiting = [asyncio.ensure_future(wait(user)) for user in "aaabbc"]
    await asyncio.sleep(0)
    for _ in waiting:
        turns.give_back(order[-1])
        await asyncio.sleep(0)
    assert "".join(order) == "zabcaba"


async def test_nobody_has_more_than_half_of_the_places() -> None:
    turns = Turns(4)
    await turns.take("a")
    await turns.take("a")
    third = asyncio.ensure_future(turns.take("a"))
    await turns.take("b")
    turns.give_back("b")
    await asyncio.sleep(0)
    assert not third.done()
    turns.give_back("a")
    async with asyncio.timeout(20):
        await third


async def test_a_place_that_nobody_waits_for_stays_free() -> None:
    turns = Turns(1)
    async with asyncio.timeout(20):
        for _ in range(3):
            await turns.take("a")
            turns.give_back("a")
        await turns.take("b")


async def test_whoever_does_not_wait_any_more_gets_no_place() -> None:
    turns = Turns(1)
    await turns.take("a")
    gone = asyncio.ensure_future(turns.take("b"))
    there = asyncio.ensure_future(turns.take("c"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    turns.give_back("a")
    async with asyncio.timeout(20):
        await there
