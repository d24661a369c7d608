"""Users and sessions in SQLite, beside the log in the same file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from goldenpath.runtime.interfaces import SessionRow, UserRow
from goldenpath.runtime.stores.database import Database
from goldenpath.wire.ids import SessionId, UserId

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    user_id TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    email TEXT,
    password_hash TEXT,
    permissions TEXT NOT NULL,
    tier TEXT NOT NULL,
    created_at REAL NOT NULL,
    UNIQUE (provider, subject)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS sessions (
    session_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    permissions TEXT NOT NULL,
    tier TEXT NOT NULL,
    created_at REAL NOT NULL,
    generation INTEGER NOT NULL,
    rotated_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    revoked_at REAL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_expiry ON sessions (expires_at);
CREATE INDEX IF NOT EXISTS sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;
"""

_USER = "user_id, provider, subject, email, password_hash, permissions, tier, created_at"
_SESSION = "session_id, user_id, permissions, tier, created_at, generation, rotated_at, expires_at, revoked_at"


class SqliteAccounts:
    """`AccountStore` on a `Database` whose schema includes `SCHEMA`. Each new session drops a few expired ones, so
    that they do not pile up; a session that expired is of no use to anybody."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_user(self, user: UserRow) -> bool:
        row = (
            user.user_id, user.provider, user.subject, user.email, user.password_hash, _pack(user.permissions),
            user.tier, user.created_at,
        )  # fmt: skip

        def call(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute(
                f"INSERT INTO users ({_USER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
                "ON CONFLICT (provider, subject) DO NOTHING",
                row,
            )
            return cursor.rowcount == 1

        return await self._database.write(call)

    async def user(self, user_id: UserId) -> UserRow | None:
        return await self._user("user_id = ?", (user_id,))

    async def user_by_subject(self, provider: str, subject: str) -> UserRow | None:
        return await self._user("provider = ? AND subject = ?", (provider, subject))

    async def _user(self, where: str, arguments: tuple[str, ...]) -> UserRow | None:
        row: Any = await self._database.read(
            lambda c: c.execute(f"SELECT {_USER} FROM users WHERE {where}", arguments).fetchone()  # noqa: S608
        )
        if row is None:
            return None
        user_id, provider, subject, email, password_hash, permissions, tier, created_at = row
        return UserRow(UserId(user_id), provider, subject, email, password_hash, _unpack(permissions), tier, created_at)

    async def set_password_hash(self, user_id: UserId, old: str, new: str) -> bool:
        def call(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute(
                "UPDATE users SET password_hash = ? WHERE user_id = ? AND password_hash = ?", (new, user_id, old)
            )
            return cursor.rowcount == 1

        return await self._database.write(call)

    async def add_session(self, session: SessionRow) -> None:
        row = (
            session.session_id, session.user_id, _pack(session.permissions), session.tier, session.created_at,
            session.generation, session.rotated_at, session.expires_at, session.revoked_at,
        )  # fmt: skip

        def call(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM sessions WHERE session_id IN "
                "(SELECT session_id FROM sessions WHERE expires_at < ? ORDER BY expires_at LIMIT 4)",
                (session.created_at,),
            )
            connection.execute(
                f"INSERT INTO sessions ({_SESSION}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
                "ON CONFLICT (session_id) DO NOTHING",
                row,
            )

        await self._database.write(call)

    async def session(self, session_id: SessionId) -> SessionRow | None:
        row: Any = await self._database.read(
            lambda c: c.execute(
                f"SELECT {_SESSION} FROM sessions WHERE session_id = ?",  # noqa: S608
                (session_id,),
            ).fetchone()
        )
        if row is None:
            return None
        found, user_id, permissions, *rest = row
        return SessionRow(SessionId(found), UserId(user_id), _unpack(permissions), *rest)

    async def rotate_session(
        self, session_id: SessionId, generation: int, rotated_at: float, expires_at: float
    ) -> bool:
        def call(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute(
                "UPDATE sessions SET generation = generation + 1, rotated_at = ?, expires_at = ? "
                "WHERE session_id = ? AND generation = ? AND revoked_at IS NULL",
                (rotated_at, expires_at, session_id, generation),
            )
            return cursor.rowcount == 1

        return await self._database.write(call)

    async def revoke_session(self, session_id: SessionId, revoked_at: float) -> None:
        await self._database.write(
            lambda c: c.execute(
                "UPDATE sessions SET revoked_at = ? WHERE session_id = ? AND revoked_at IS NULL",
                (revoked_at, session_id),
            )
        )

    async def revoked_since(self, since: float) -> Sequence[tuple[SessionId, float]]:
        rows = await self._database.read(
            lambda c: c.execute(
                "SELECT session_id, revoked_at FROM sessions WHERE revoked_at >= ?", (since,)
            ).fetchall()
        )
        return [(SessionId(session_id), revoked_at) for session_id, revoked_at in rows]


def _pack(permissions: Iterable[str]) -> str:
    return json.dumps(sorted(permissions))


def _unpack(permissions: str) -> frozenset[str]:
    return frozenset(json.loads(permissions))
