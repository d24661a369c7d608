"""One user's heavy work waits for itself, and for as long again; nobody else's waits for it."""

from __future__ import annotations

import asyncio

import pytest

from goldenpath.clock import ManualClock
from goldenpath.runtime import turns as module
from goldenpath.runtime.turns import Turns, TurnStatistics
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import UserId
from tests.runtime.runs import turns as rounds

ANN, BOB = UserId("ann"), UserId("bob")


class Desk:
    """Work that takes as long as a test says."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.turns = Turns(self.clock)
        self.begun: list[str] = []

    async def work(self, user: UserId, name: str, seconds: float = 0.0) -> None:
        async with self.turns.turn(user):
            self.begun.append(name)
            if seconds:
                await self.clock.sleep(seconds)

    def ask(self, user: UserId, name: str, seconds: float = 0.0) -> asyncio.Task[None]:
        return asyncio.create_task(self.work(user, name, seconds))


async def test_a_user_s_pieces_come_one_after_another_with_pauses_as_long_as_they() -> None:
    desk = Desk()
    tasks = [desk.ask(ANN, name, 2.0) for name in ("one", "two")]
    await rounds()
    assert desk.begun == ["one"]
    desk.clock.advance(2.0)  # it is done, and the pause begins
    await rounds()
    desk.clock.advance(1.9)
    await rounds()
    assert desk.begun == ["one"]
    desk.clock.advance(0.2)
    await rounds()
    assert desk.begun == ["one", "two"]
    desk.clock.advance(2.0)
    await asyncio.gather(*tasks)


async def test_nobody_waits_for_the_work_of_another() -> None:
    desk = Desk()
    slow = desk.ask(ANN, "slow", 100.0)
    await rounds()
    await desk.work(BOB, "quick")
    assert desk.begun == ["slow", "quick"]
    desk.clock.advance(100.0)
    await slow


async def test_who_gives_up_waiting_or_fails_lets_the_next_one_go_on() -> None:
    desk = Desk()
    first, second, third = (desk.ask(ANN, name, 1.0) for name in ("one", "two", "three"))
    await rounds()
    second.cancel()
    first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await rounds()
    assert desk.begun == ["one", "three"]
    desk.clock.advance(1.0)
    await third
    with pytest.raises(ValueError, match="broken"):
        async with desk.turns.turn(BOB):
            raise ValueError("broken")
    await desk.work(BOB, "again")


async def test_a_bounded_number_of_users_is_remembered_and_none_that_asks_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 3)
    desk = Desk()
    busy = desk.ask(ANN, "busy", 1.0)
    await rounds()
    for number in range(10):
        await desk.work(UserId(f"user-{number}"), str(number))
    waiting = desk.ask(ANN, "waiting")
    await rounds()
    assert "waiting" not in desk.begun  # it still knows that ann is at work
    desk.clock.advance(1.0)
    await rounds()
    desk.clock.advance(1.0)
    await asyncio.gather(busy, waiting)
    for number in range(10):
        await desk.work(UserId(f"user-{number}"), str(number))
    assert len(desk.turns._users) == 3


async def test_beyond_a_bound_nobody_waits_and_other_users_are_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    desk = Desk()
    tasks = [desk.ask(ANN, str(number), 1.0) for number in range(3)]  # one works, two wait
    await rounds()
    for number in range(2):
        with pytest.raises(RequestError) as refused:
            await desk.work(ANN, "one too many")
        assert (refused.value.code, refused.value.retry_after) == ("rate_limited", 1.0)
        assert desk.turns.statistics() == TurnStatistics(working=1, waiting=2, taken=1, refused=number + 1)
    await desk.work(BOB, "his own")
    tasks[2].cancel()
    await rounds()
    tasks[2] = desk.ask(ANN, "instead", 1.0)
    for _ in range(6):
        await rounds()
        desk.clock.advance(1.0)
    await asyncio.gather(*tasks)
    assert desk.begun == ["0", "his own", "1", "instead"]
    assert desk.turns.statistics() == TurnStatistics(working=0, waiting=0, taken=4, refused=2)


async def test_a_run_waits_for_the_pause_and_for_nobody_in_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 1)
    desk = Desk()

    async def run(name: str) -> None:
        async with desk.turns.ahead(ANN):
            desk.begun.append(name)

    tasks = [desk.ask(ANN, "first", 2.0), desk.ask(ANN, "second", 2.0)]
    await rounds()
    await run("beside the first")
    desk.clock.advance(2.0)
    await rounds()
    tasks.append(asyncio.create_task(run("after the pause")))
    await rounds()
    assert desk.begun == ["first", "beside the first"]
    desk.clock.advance(2.0)
    await rounds()
    assert sorted(desk.begun[2:]) == ["after the pause", "second"]
    desk.clock.advance(2.0)
    await asyncio.gather(*tasks)
