"""Users and sessions in memory: for tests, and for a server without a disk."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from goldenpath.runtime.interfaces import SessionRow, UserRow
from goldenpath.wire.ids import SessionId, UserId


class MemoryAccounts:
    """`AccountStore` without a file. Rows are copied on the way in and out. Each new session drops two expired ones."""

    def __init__(self) -> None:
        self._users: dict[UserId, UserRow] = {}
        self._subjects: dict[tuple[str, str], UserId] = {}
        self._sessions: dict[SessionId, SessionRow] = {}

    async def add_user(self, user: UserRow) -> bool:
        if (user.provider, user.subject) in self._subjects:
            return False
        self._subjects[user.provider, user.subject] = user.user_id
        self._users[user.user_id] = copy(user)
        return True

    async def user(self, user_id: UserId) -> UserRow | None:
        return copy(self._users.get(user_id))

    async def user_by_subject(self, provider: str, subject: str) -> UserRow | None:
        user_id = self._subjects.get((provider, subject))
        return None if user_id is None else copy(self._users[user_id])

    async def set_password_hash(self, user_id: UserId, old: str, new: str) -> bool:
        user = self._users.get(user_id)
        if user is None or user.password_hash != old:
            return False
        user.password_hash = new
        return True

    async def add_session(self, session: SessionRow) -> None:
        for _ in range(min(2, len(self._sessions))):
            # Take the oldest out and, while it lives, put it back at the end: a walk round all of them.
            oldest = self._sessions.pop(next(iter(self._sessions)))
            if oldest.expires_at >= session.created_at:
                self._sessions[oldest.session_id] = oldest
        self._sessions.setdefault(session.session_id, copy(session))

    async def session(self, session_id: SessionId) -> SessionRow | None:
        return copy(self._sessions.get(session_id))

    async def rotate_session(
        self, session_id: SessionId, generation: int, rotated_at: float, expires_at: float
    ) -> bool:
        session = self._sessions.get(session_id)
        if session is None or session.generation != generation or session.revoked_at is not None:
            return False
        session.generation += 1
        session.rotated_at = rotated_at
        session.expires_at = expires_at
        return True

    async def revoke_session(self, session_id: SessionId, revoked_at: float) -> None:
        session = self._sessions.get(session_id)
        if session is not None and session.revoked_at is None:
            session.revoked_at = revoked_at

    async def revoked_since(self, since: float) -> Sequence[tuple[SessionId, float]]:
        return [
            (session.session_id, session.revoked_at)
            for session in self._sessions.values()
            if session.revoked_at is not None and session.revoked_at >= since
        ]
