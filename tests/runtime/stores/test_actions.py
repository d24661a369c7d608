"""What every `ActionStore` does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from goldenpath.runtime.interfaces import ActionRow, ActionStore
from goldenpath.runtime.stores.database import Database
from goldenpath.runtime.stores.memory_actions import MemoryActions
from goldenpath.runtime.stores.sqlite_actions import SCHEMA, SqliteActions

CAPACITY = 5


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ActionStore]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield MemoryActions(CAPACITY)
        else:
            database = await stack.enter_async_context(Database(tmp_path / "goldenpath.db", [SCHEMA]))
            yield SqliteActions(database, CAPACITY)


def row(number: int, area: str = "flag") -> ActionRow:
    return ActionRow(0.1 + number, "usr_1", area, "set", f"s{number}", b'{"a":1}', b"[2]", "because \u00e9")


def numbered(rows: list[ActionRow]) -> list[tuple[int, str]]:
    return [(each.number, each.subject) for each in rows]


async def test_a_row_is_found_as_it_was_added(store: ActionStore) -> None:
    added = [row(1), msgspec.structs.replace(row(2), before=None, after=None, why="")]
    await store.add_actions(added)
    found = await store.actions(10)
    assert found == [msgspec.structs.replace(each, number=n) for n, each in reversed(list(enumerate(added, 1)))]


async def test_rows_are_numbered_in_the_order_in_which_they_came(store: ActionStore) -> None:
    await store.add_actions([row(1)])
    await store.add_actions([row(2), row(3)])
    assert numbered(await store.actions(10)) == [(3, "s3"), (2, "s2"), (1, "s1")]


async def test_a_page_holds_the_newest_before_a_number(store: ActionStore) -> None:
    await store.add_actions([row(number) for number in range(1, 6)])
    assert numbered(await store.actions(2)) == [(5, "s5"), (4, "s4")]
    assert numbered(await store.actions(2, before=4)) == [(3, "s3"), (2, "s2")]
    assert await store.actions(2, before=1) == []


async def test_an_area_is_looked_at_alone(store: ActionStore) -> None:
    await store.add_actions([row(1, "flag"), row(2, "rollback"), row(3, "flag")])
    assert numbered(await store.actions(10, area="flag")) == [(3, "s3"), (1, "s1")]
    assert numbered(await store.actions(10, before=3, area="flag")) == [(1, "s1")]
    assert await store.actions(10, area="breaker") == []


async def test_the_oldest_rows_go_beyond_the_capacity_and_numbers_are_not_used_again(store: ActionStore) -> None:
    await store.add_actions([row(number) for number in range(1, 8)])
    assert numbered(await store.actions(10)) == [(n, f"s{n}") for n in range(7, 2, -1)]
    await store.add_actions([row(8)])
    assert numbered(await store.actions(10)) == [(n, f"s{n}") for n in range(8, 3, -1)]


async def test_rows_outlive_the_process(tmp_path: Path) -> None:
    opened: Callable[[], Database] = lambda: Database(tmp_path / "goldenpath.db", [SCHEMA])  # noqa: E731
    async with opened() as database:
        await SqliteActions(database).add_actions([row(1)])
    async with opened() as database:
        assert numbered(await SqliteActions(database).actions(10)) == [(1, "s1")]
