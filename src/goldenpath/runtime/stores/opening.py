"""Which stores the settings ask for."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext

from goldenpath.runtime.breakers import Breakers
from goldenpath.runtime.deadlines import Deadlines
from goldenpath.runtime.interfaces import AccountStore, ActionStore, LogStore
from goldenpath.runtime.settings import Settings, data_path
from goldenpath.runtime.stores import sqlite_accounts, sqlite_actions, sqlite_log
from goldenpath.runtime.stores.database import Database
from goldenpath.runtime.stores.memory_accounts import MemoryAccounts
from goldenpath.runtime.stores.memory_actions import MemoryActions
from goldenpath.runtime.stores.memory_log import MemoryLog


def stores_of(
    settings: Settings, breakers: Breakers, deadlines: Deadlines
) -> tuple[LogStore, AccountStore, ActionStore, AbstractAsyncContextManager[object]]:
    """The stores that the settings ask for, and what has to be open while they are used."""
    if settings.in_memory:
        return MemoryLog(), MemoryAccounts(), MemoryActions(), nullcontext()
    database = Database(
        data_path(settings, "goldenpath.db"),
        [sqlite_log.SCHEMA, sqlite_accounts.SCHEMA, sqlite_actions.SCHEMA],
        durability=settings.durability,
        breakers=breakers,
        deadlines=deadlines,
    )
    return (
        sqlite_log.SqliteLog(database),
        sqlite_accounts.SqliteAccounts(database),
        sqlite_actions.SqliteActions(database),
        database,
    )
