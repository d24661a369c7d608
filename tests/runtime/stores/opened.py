"""Every `LogStore` by its name, ready for use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from goldenpath.runtime.interfaces import LogStore
from goldenpath.runtime.stores.database import Database
from goldenpath.runtime.stores.memory_log import MemoryLog
from goldenpath.runtime.stores.sqlite_log import SCHEMA, SqliteLog

KINDS: Final = ("memory", "sqlite")


@asynccontextmanager
async def opened_log(kind: str, directory: Path) -> AsyncIterator[LogStore]:
    """A store of this kind on what `directory` holds."""
    if kind == "memory":
        yield MemoryLog()
        return
    database = Database(directory / "goldenpath.db", [SCHEMA])
    await database.open()
    try:
        yield SqliteLog(database)
    finally:
        await database.close()
