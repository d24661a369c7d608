"""What operators changed, in SQLite, beside the log in the same file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from goldenpath.runtime.interfaces import MAX_ACTIONS, ActionRow
from goldenpath.runtime.stores.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS operator_actions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    area TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    "before" BLOB,
    "after" BLOB,
    why TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS operator_actions_area ON operator_actions (area, number);
"""

_ROW = 'at, actor, area, action, subject, "before", "after", why'


class SqliteActions:
    """`ActionStore` on a `Database` whose schema includes `SCHEMA`, of the newest `capacity` rows."""

    def __init__(self, database: Database, capacity: int = MAX_ACTIONS) -> None:
        self._database = database
        self._capacity = capacity

    async def add_actions(self, actions: Sequence[ActionRow]) -> None:
        rows = [
            (row.at, row.actor, row.area, row.action, row.subject, row.before, row.after, row.why) for row in actions
        ]

        def call(connection: sqlite3.Connection) -> None:
            connection.executemany(
                f"INSERT INTO operator_actions ({_ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                rows,
            )
            connection.execute(
                "DELETE FROM operator_actions WHERE number <= (SELECT max(number) FROM operator_actions) - ?",
                (self._capacity,),
            )

        await self._database.write(call)

    async def actions(self, limit: int, before: int | None = None, area: str | None = None) -> list[ActionRow]:
        where, arguments = ["TRUE"], list[object]()
        for condition, value in (("number < ?", before), ("area = ?", area)):
            if value is not None:
                where.append(condition)
                arguments.append(value)
        query = f"SELECT {_ROW}, number FROM operator_actions WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ?"  # noqa: S608
        found = await self._database.read(lambda c: c.execute(query, (*arguments, limit)).fetchall())
        return [ActionRow(*row) for row in found]
