"""The journal of what operators change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from goldenpath.clock import ManualClock
from goldenpath.runtime.interfaces import ActionRow, StoreError
from goldenpath.runtime.operators import MAX_PENDING, MAX_WHY, PATIENCE, Actions, checked_why
from goldenpath.runtime.stores.memory_actions import MemoryActions
from goldenpath.wire.errors import RequestError
from tests.runtime.runs import turns


class FullDisk(MemoryActions):
    """Takes nothing while it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.full = True
        self.asked = 0

    async def add_actions(self, actions: Sequence[ActionRow]) -> None:
        await asyncio.sleep(0)
        self.asked += 1
        if self.full:
            raise StoreError("disk full")
        await super().add_actions(actions)


async def test_a_change_is_found_with_who_when_what_and_why() -> None:
    clock = ManualClock()
    actions = Actions(MemoryActions(), clock)
    actions.record("usr_1", "flag", "set", "new_runs", before={"percent": 100}, after={"percent": 0}, why="incident 7")
    (row,) = await actions.latest(10)
    assert row == ActionRow(
        clock.time(), "usr_1", "flag", "set", "new_runs", b'{"percent":100}', b'{"percent":0}', "incident 7", 1
    )


async def test_what_the_store_does_not_take_waits_in_order_and_is_written_with_the_next() -> None:
    store = FullDisk()
    actions = Actions(store, ManualClock())
    for number in range(3):
        actions.record("usr_1", "flag", "set", f"f{number}")
    await actions.settled()
    assert (await store.actions(10), actions.statistics().pending) == ([], 3)
    store.full = False
    actions.record("usr_1", "flag", "set", "f3")
    assert [row.subject for row in await actions.latest(10)] == ["f3", "f2", "f1", "f0"]
    assert actions.statistics().pending == 0


class HangingDisk(MemoryActions):
    """Never answers."""

    async def add_actions(self, actions: Sequence[ActionRow]) -> None:
        await asyncio.Event().wait()


async def test_whoever_changes_something_waits_for_a_disk_that_hangs_no_longer_than_a_few_seconds() -> None:
    clock = ManualClock()
    actions = Actions(HangingDisk(), clock)
    actions.record("usr_1", "flag", "set", "new_runs")
    settling = asyncio.create_task(actions.settled())
    await turns()
    clock.advance(PATIENCE - 0.1)
    await turns()
    assert not settling.done()
    clock.advance(0.2)
    await settling
    assert actions.statistics().pending == 1


async def test_what_waits_has_a_bound_and_what_is_dropped_is_counted() -> None:
    store = FullDisk()
    actions = Actions(store, ManualClock())
    for number in range(MAX_PENDING + 2):
        actions.record("usr_1", "flag", "set", f"f{number}")
    await actions.settled()
    figures = actions.statistics()
    assert (figures.recorded, figures.pending, figures.dropped) == (MAX_PENDING + 2, MAX_PENDING, 2)
    store.full = False
    assert [row.subject for row in await actions.latest(1)] == [f"f{MAX_PENDING + 1}"]


async def test_whoever_stops_waiting_leaves_the_record_on_its_way() -> None:
    store = FullDisk()
    store.full = False
    actions = Actions(store, ManualClock())
    actions.record("usr_1", "flag", "set", "f")
    waiting = asyncio.create_task(actions.settled())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert [row.subject for row in await actions.latest(1)] == ["f"]


def test_a_reason_is_trimmed() -> None:
    assert checked_why("  incident 7 ") == "incident 7"


@pytest.mark.parametrize("why", ["", "  ", "x" * (MAX_WHY + 1), "two\nlines"])
def test_a_reason_that_says_nothing_or_too_much_is_refused(why: str) -> None:
    with pytest.raises(RequestError, match="why"):
        checked_why(why)
