"""The life of a session: begun by a login, moved on by each refresh, ended by a logout or a stolen refresh token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from goldenpath.clock import Clock
from goldenpath.runtime.auth.identity_provider import is_external
from goldenpath.runtime.auth.refresh import RecentRotations, RefreshTokens, decide
from goldenpath.runtime.auth.revocations import Revocations
from goldenpath.runtime.auth.tokens import AccessTokens, unauthorized
from goldenpath.runtime.context import Principal
from goldenpath.runtime.interfaces import AccountStore, SessionRow, UserRow
from goldenpath.wire.answers import Tokens
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import SessionId, new_id


class Sessions:
    """The sessions of one server; one that is not refreshed for `lifetime` seconds is over. Its tokens carry its
    own permissions and those that `granted` gives its user at the moment.

    Belongs to one event loop; its methods may be called concurrently.
    """

    def __init__(
        self,
        store: AccountStore,
        clock: Clock,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        revocations: Revocations,
        *,
        lifetime: float,
        granted: Callable[[UserRow], frozenset[str]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._revocations = revocations
        self._lifetime = lifetime
        self._granted = granted
        self._rotations = RecentRotations()
        self._ending: set[asyncio.Task[None]] = set()

    async def begin(self, user: UserRow, permissions: frozenset[str], tier: str) -> Tokens:
        """A new session of `user` with these rights, and its first tokens. Raises `StoreError`; cancelling is safe."""
        now = self._clock.time()
        session = SessionRow(
            session_id=SessionId(new_id("ses")),
            user_id=user.user_id,
            permissions=permissions,
            tier=tier,
            created_at=now,
            rotated_at=now,
            expires_at=now + self._lifetime,
        )
        await self._store.add_session(session)
        return self._tokens(session, user, 0, now)

    async def refresh(self, refresh_token: str) -> Tokens:
        """See `Accounts.refresh`."""
        genuine = self._refresh_tokens.read(refresh_token)
        if genuine is None:
            raise _bad_refresh()
        session_id, generation = genuine
        while True:
            session = await self._store.session(session_id)
            user = None if session is None else await self._store.user(session.user_id)
            now = self._clock.time()
            verdict = decide(session, generation, now, self._rotations)
            if session is None or user is None or verdict.action == "refuse":
                raise _bad_refresh()
            if verdict.action == "revoke":
                await self._end(session_id, None)
                raise unauthorized("The refresh token was used before, so its session was ended. Log in again.")
            if verdict.action == "rotate":
                if not await self._store.rotate_session(session_id, generation, now, now + self._lifetime):
                    continue  # it was rotated or ended a moment ago; look again
                self._rotations.add(session_id, verdict.generation, now)
            return self._tokens(session, user, verdict.generation, verdict.began)

    def _tokens(self, session: SessionRow, user: UserRow, generation: int, began: float) -> Tokens:
        session = msgspec.structs.replace(session, permissions=session.permissions | self._granted(user))
        return Tokens(
            user_id=session.user_id,
            access_token=self._access_tokens.issue(session, user.email, generation=generation, issued_at=began),
            refresh_token=self._refresh_tokens.issue(session.session_id, generation),
            expires_in=self._access_tokens.lifetime,
        )

    async def end(self, principal: Principal) -> None:
        """See `Accounts.logout`."""
        await self._end(principal.session_id, principal)

    async def _end(self, session_id: SessionId, principal: Principal | None) -> None:
        task = asyncio.get_running_loop().create_task(self._revoke(session_id, principal))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        # A caller that goes away in the middle must not leave it ended on disk and alive in memory.
        await asyncio.shield(task)

    async def _revoke(self, session_id: SessionId, principal: Principal | None) -> None:
        now = self._clock.time()
        if principal is not None and is_external(session_id):
            # The store knows only what was begun here: give it something to end.
            await self._store.add_session(
                SessionRow(
                    session_id=session_id,
                    user_id=principal.user_id,
                    permissions=principal.permissions,
                    tier=principal.tier,
                    created_at=now,
                    expires_at=principal.expires_at,
                )
            )
        await self._store.revoke_session(session_id, now)
        self._revocations.add(session_id, now)

    async def close(self) -> None:
        """Wait until every end that was begun is stored. Harmless when repeated."""
        if self._ending:
            await asyncio.wait(self._ending)


def _bad_refresh() -> RequestError:
    return unauthorized("The refresh token is not valid. Log in again.")
