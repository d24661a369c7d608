"""The accounts of one server: register, log in, refresh, log out, and who a token stands for.

The shell around the cores of this folder: it reads the clock, asks the store and identity providers, and decides
nothing by itself that a core could decide.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from goldenpath.clock import Clock
from goldenpath.runtime.auth import emails
from goldenpath.runtime.auth.documents import HttpDocuments
from goldenpath.runtime.auth.failures import LoginFailures
from goldenpath.runtime.auth.identity_provider import LIFETIME, SKEW, IdentityProvider, issuer_of
from goldenpath.runtime.auth.key_source import Fetch, KeySource
from goldenpath.runtime.auth.passwords import PasswordCost, Passwords, password_bytes
from goldenpath.runtime.auth.refresh import RefreshTokens
from goldenpath.runtime.auth.refusals import Refusals, TokenRefused
from goldenpath.runtime.auth.revocations import Listener, Revocations
from goldenpath.runtime.auth.sessions import Sessions
from goldenpath.runtime.auth.tokens import ISSUER, AccessTokens, session_ended, unauthorized
from goldenpath.runtime.auth.verified import VerifiedTokens
from goldenpath.runtime.context import Principal
from goldenpath.runtime.interfaces import AccountStore, UserRow
from goldenpath.runtime.operators import OPERATOR
from goldenpath.runtime.settings import Settings, SettingsError
from goldenpath.wire.answers import Me, Tokens
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import SessionId, UserId, new_id

PASSWORD: Final = "password"  # noqa: S105 - the name of a provider
SIMULATED: Final = "simulated"
REVERIFY: Final = 300.0
"""After how many seconds an external token is verified again, so that a key its provider withdrew stops working."""

_OPERATOR: Final = frozenset({OPERATOR})
_permission = re.compile(r"[!-~]{1,128}")
_MAX_PERMISSION_CHARACTERS: Final = 2048


class AccountStatistics(msgspec.Struct, frozen=True):
    """What accounts hold in memory now, and what they refused since the start."""

    passwords_pending: int
    """Password hashes that run or wait."""
    passwords_refused: int
    """Password hashes turned away because too many waited."""
    password_seconds: float
    """The smoothed time of one hash, in seconds; 0 before the first."""
    failing_emails: int
    """E-mails with failed logins."""
    verified_tokens: int
    """Verified tokens that are kept."""
    revoked_sessions: int
    """Ended sessions whose tokens have not expired yet."""


class Accounts:
    """Users, sessions and tokens. Belongs to one event loop; every method may be called concurrently.

    `secret` (32 bytes or more, see secret.py) signs the tokens. `fetch` gets the key documents of identity providers;
    None: over HTTP. Call `open` once before anything else and `close` at the end. Every method that can refuse raises
    `RequestError`; none puts a password, token or key into an error or a log. Raises `SettingsError` for issuers that
    cannot be safe.
    """

    def __init__(
        self,
        settings: Settings,
        store: AccountStore,
        clock: Clock,
        secret: bytes,
        *,
        fetch: Fetch | None = None,
        password_cost: PasswordCost | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._lifetime = min(settings.access_token_ttl, settings.refresh_token_ttl)
        self._remembered = max(self._lifetime, LIFETIME if settings.issuers else 0.0) + 2 * SKEW
        self._revocations = Revocations(self._remembered)
        self._verified = VerifiedTokens(self._revocations)
        self._access_tokens = AccessTokens(
            secret, lifetime=self._lifetime, revocations=self._revocations, verified=self._verified
        )
        self._sessions = Sessions(
            store,
            clock,
            self._access_tokens,
            RefreshTokens(secret),
            self._revocations,
            lifetime=settings.refresh_token_ttl,
            granted=self._granted,
        )
        self._operators = frozenset(map(emails.normalize, settings.operators))
        self._failures = LoginFailures(limit=settings.login_failures, window=settings.login_window)
        self._passwords = Passwords(clock, workers=settings.password_workers, cost=password_cost)
        self._documents = HttpDocuments()
        self._providers = {
            issuer.issuer: IdentityProvider(
                issuer, KeySource(issuer.jwks_url, issuer.algorithms, fetch or self._documents.fetch, clock)
            )
            for issuer in settings.issuers
        }
        self._refusals = Refusals()
        if len(self._providers) != len(settings.issuers):
            raise SettingsError("GOLDENPATH_ISSUERS names an issuer twice")
        self._warming: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Recall the sessions that were ended lately. Raises `StoreError`."""
        since = self._clock.time() - self._remembered
        for session_id, revoked_at in sorted(await self._store.revoked_since(since), key=lambda pair: pair[1]):
            self._revocations.restore(session_id, revoked_at)
        self._warming = asyncio.get_running_loop().create_task(self._warm())

    async def _warm(self) -> None:
        # 250 ms of imports, which neither the start nor the event loop waits for; the first login does.
        await self._passwords.prepare(_import_libraries)

    async def _warmed(self) -> None:
        if self._warming is not None and not self._warming.done():
            await asyncio.wait([self._warming])

    async def close(self) -> None:
        """Finish what was begun and release threads and connections. Harmless when repeated."""
        await self._passwords.close()
        await self._warmed()
        await self._sessions.close()
        for provider in self._providers.values():
            await provider.keys.close()
        await self._documents.close()

    # ------------------------------------------------------------------ who is it

    def check_now(self, token: str | None) -> Principal | None:
        """Whom a token stands for, if that can be said at once; never raises, never waits. Less than 1 us for a token
        seen before, 60 us for a new one of ours.

        None says only that `authenticate` has to be asked: the token may be bad, or a new one of an identity provider.
        """
        if not token:
            return None
        now = self._clock.time()
        principal = self._verified.get(token, now)
        if principal is None:
            try:
                principal = self._access_tokens.check(token, now)
            except RequestError:
                return None
        return principal

    async def authenticate(self, token: str | None) -> Principal:
        """Whom a token stands for; None is no token.

        Raises `RequestError`: `unauthorized`; `upstream_unavailable` when an identity provider's keys are needed and
        cannot be had. Cancelling is safe.
        """
        if not token:
            raise unauthorized()
        await self._warmed()
        now = self._clock.time()
        named = issuer_of(token) if self._providers else None
        provider = self._providers.get(named or "")
        if provider is None:
            if named not in (None, ISSUER):
                self._refusals.tell("issuer: none of GOLDENPATH_ISSUERS", named, now)
            return self._access_tokens.check(token, now)
        principal = self._verified.get(token, now)
        if principal is None:
            try:
                principal = await provider.check(token, now)
            except TokenRefused as refused:
                self._refusals.tell(refused.check, provider.issuer.issuer, now)
                raise
            if principal.session_id in self._revocations:
                raise session_ended()
            self._verified.put(token, principal, now + REVERIFY)
        return principal

    def me(self, principal: Principal) -> Me:
        """The profile behind an authenticated principal."""
        return Me(principal.user_id, principal.email, sorted(principal.permissions), principal.tier)

    # ------------------------------------------------------------------ coming in

    async def register(self, email: str, password: str) -> Tokens:
        """Make an account and log in.

        Raises `RequestError`: `forbidden` where registration is closed, `bad_request` for an e-mail or password out
        of form, `conflict` when the e-mail is taken, `overloaded`. A cancelled call may have made the account.
        """
        if not self._settings.registration:
            raise RequestError("forbidden", "Registration is closed on this server.")
        name = _checked_email(email)
        if name in self._operators:  # nobody proves here that an e-mail is theirs
            raise _taken()
        user = await self.create(name, password)
        return await self._begin(user, user.permissions, user.tier)

    async def create(self, email: str, password: str) -> UserRow:
        """Make an account, whether registration is open or not. Raises as `register` does, but for `forbidden`."""
        name = _checked_email(email)
        if password_bytes(password) is None:
            raise RequestError("bad_request", "The password must have 8 to 1,024 bytes.")
        if await self._store.user_by_subject(PASSWORD, name) is not None:
            raise _taken()
        user = UserRow(
            user_id=UserId(new_id("usr")),
            provider=PASSWORD,
            subject=name,
            email=name,
            password_hash=await self._passwords.hash(password),
            permissions=frozenset(),
            tier="free",
            created_at=self._clock.time(),
        )
        if not await self._store.add_user(user):
            raise _taken()
        return user

    def _granted(self, user: UserRow) -> frozenset[str]:
        """What the settings let a user do, beside what the session has."""
        return _OPERATOR if user.provider == PASSWORD and user.subject in self._operators else frozenset()

    async def login(self, email: str, password: str) -> Tokens:
        """Begin a session.

        Raises `RequestError`: `unauthorized` for any wrong pair, after the same time whether the e-mail is known or
        not; `rate_limited` with `retry_after` after too many failures for the e-mail, known or not, also for the right
        password; `overloaded`. Cancelling is safe.
        """
        name = emails.normalize(email)
        self._refuse_locked(self._failures.locked_for(name, self._clock.monotonic()))
        user = await self._store.user_by_subject(PASSWORD, name) if emails.is_email(name) else None
        matches = await self._passwords.verify(user.password_hash if user else None, password)
        # Many attempts may have been let in together: what comes out after the lock fell says only that it is locked.
        now = self._clock.monotonic()
        self._refuse_locked(self._failures.locked_for(name, now) if matches else self._failures.record(name, now))
        if user is None or not matches:
            raise unauthorized("The e-mail or the password is wrong.")
        await self._renew_hash(user, password)
        return await self._begin(user, user.permissions, user.tier)

    async def _renew_hash(self, user: UserRow, password: str) -> None:
        """Only who just proved to know the password can have its hash made with the parameters of today."""
        if user.password_hash is None or not self._passwords.outdated(user.password_hash):
            return
        renewed = await self._passwords.hash(password)
        await self._store.set_password_hash(user.user_id, user.password_hash, renewed)

    @staticmethod
    def _refuse_locked(seconds: float | None) -> None:
        if seconds is not None:
            raise RequestError(
                "rate_limited", "Too many failed logins for this e-mail.", retry_after=max(1.0, math.ceil(seconds))
            )

    def check_simulation(self, key: str | None) -> None:
        """Whether the holder of `key` may simulate users. Raises `RequestError`, in this order: `forbidden` in
        production, `not_configured` when no key is set, `unauthorized` for a wrong or missing key."""
        settings = self._settings
        if settings.environment == "production":
            raise RequestError("forbidden", "There are no simulated users in production.")
        if not settings.simulation_key:
            raise RequestError("not_configured", "No simulation key is set on this server.")
        given = (key or "").encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(given, settings.simulation_key.encode("utf-8", "surrogatepass")):
            raise unauthorized("The simulation key is missing or wrong.")

    async def simulate(
        self, key: str | None, email: str, permissions: Iterable[str] = (), tier: str = "free"
    ) -> Tokens:
        """Begin a session of the simulated user of `email`, as if an OAuth provider had vouched for them.

        `permissions` and `tier` hold for this session. Raises `RequestError` as `check_simulation` does, and
        `bad_request`.
        """
        self.check_simulation(key)
        name = _checked_email(email)
        granted = frozenset(permissions)
        if not all(map(_permission.fullmatch, granted)) or sum(map(len, granted)) > _MAX_PERMISSION_CHARACTERS:
            raise RequestError("bad_request", "The permissions must be short strings of printable ASCII.")
        if not _permission.fullmatch(tier):
            raise RequestError("bad_request", "The tier must be a short string of printable ASCII.")
        return await self._begin(await self._simulated(name), granted, tier)

    async def _simulated(self, name: str) -> UserRow:
        user = await self._store.user_by_subject(SIMULATED, name)
        if user is None:
            user = UserRow(UserId(new_id("usr")), SIMULATED, name, name, None, frozenset(), "free", self._clock.time())
            if not await self._store.add_user(user):  # somebody else was first
                user = await self._store.user_by_subject(SIMULATED, name)
                assert user is not None
        return user

    async def _begin(self, user: UserRow, permissions: frozenset[str], tier: str) -> Tokens:
        await self._warmed()
        return await self._sessions.begin(user, permissions, tier)

    # ------------------------------------------------------------------ staying, leaving

    async def refresh(self, refresh_token: str) -> Tokens:
        """New tokens for a refresh token, which is good for one use; the same ones again within 5 s of that use.

        Raises `RequestError` `unauthorized` for a token that is forged, expired or of an ended session, and for one
        used before, which ends its session. A cancelled call may have used the token; repeat it within 5 s.
        """
        await self._warmed()
        return await self._sessions.refresh(refresh_token)

    async def logout(self, principal: Principal) -> None:
        """End the principal's session; for an identity provider's token, that token. When this returns it is durable
        and the listeners have been told. Raises `StoreError`. A cancelled call still ends the session.
        """
        await self._sessions.end(principal)

    def on_revoked(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(session_id)` on the event loop whenever a session ends. Returns a function that stops it."""
        return self._revocations.subscribe(listener)

    def is_revoked(self, session_id: SessionId) -> bool:
        """Whether a session was ended lately: for a connection to ask once it can hear the listener."""
        return session_id in self._revocations

    def statistics(self) -> AccountStatistics:
        """A snapshot of the counts."""
        passwords = self._passwords.statistics()
        return AccountStatistics(
            passwords_pending=passwords.pending,
            passwords_refused=passwords.refused,
            password_seconds=passwords.seconds,
            failing_emails=len(self._failures),
            verified_tokens=len(self._verified),
            revoked_sessions=len(self._revocations),
        )


def _taken() -> RequestError:
    return RequestError("conflict", "There is an account with this e-mail already.")


def _checked_email(email: str) -> str:
    name = emails.normalize(email)
    if not emails.is_email(name):
        raise RequestError("bad_request", "This is not an e-mail address.")
    return name


def _import_libraries() -> None:
    import argon2  # noqa: PLC0415
    import jwt  # noqa: PLC0415

    assert argon2
    assert jwt
