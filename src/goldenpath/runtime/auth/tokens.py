"""Our own access tokens: JWTs signed with HS256. Sans-I/O; every call gets `now` in Unix seconds.

A token is a function of its session, generation and moment of issue, down to the last byte, so that a repeated
refresh can answer with the same tokens without anything being kept.
"""

from __future__ import annotations

import math
import re
from typing import Final

import msgspec

from goldenpath.runtime.auth.revocations import Revocations
from goldenpath.runtime.auth.verified import VerifiedTokens
from goldenpath.runtime.context import InvalidContext, Principal
from goldenpath.runtime.interfaces import SessionRow
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import SessionId, UserId

ISSUER: Final = "goldenpath"
AUDIENCE: Final = "goldenpath"
ALGORITHM: Final = "HS256"
MAX_LENGTH: Final = 16_384
"""The longest token that is looked at, in characters."""

_compact = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Claims(msgspec.Struct, frozen=True):
    """The claims of our own tokens; each is required."""

    iss: str
    aud: str
    sub: str
    sid: str
    jti: str
    iat: float
    exp: float
    permissions: list[str]
    tier: str
    email: str | None


class AccessTokens:
    """Issues and checks access tokens that live `lifetime` seconds. Belongs to the event loop."""

    def __init__(self, secret: bytes, *, lifetime: float, revocations: Revocations, verified: VerifiedTokens) -> None:
        self._secret = secret
        self.lifetime = lifetime
        self._revocations = revocations
        self._verified = verified

    def issue(self, session: SessionRow, email: str | None, *, generation: int, issued_at: float) -> str:
        """The token of a session's `generation`, which began at `issued_at`. The same arguments give the same bytes."""
        import jwt  # noqa: PLC0415 - 200 ms, with cryptography; Accounts.open loads it beside the start

        issued_at = math.floor(issued_at * 1000) / 1000
        claims = Claims(
            iss=ISSUER,
            aud=AUDIENCE,
            sub=session.user_id,
            sid=session.session_id,
            jti=f"{session.session_id}.{generation}",
            iat=issued_at,
            exp=issued_at + self.lifetime,
            permissions=sorted(session.permissions),
            tier=session.tier,
            email=email,
        )
        return jwt.encode(msgspec.structs.asdict(claims), self._secret, ALGORITHM)

    def check(self, token: str, now: float) -> Principal:
        """Whom the token stands for. Less than 1 us for a token seen before, 60 us for a new one.

        Raises `RequestError` `unauthorized` for a token that is malformed, forged, not ours, expired or revoked.
        """
        principal = self._verified.get(token, now)
        if principal is None:
            principal = self._verify(token, now)
            self._verified.put(token, principal)
        return principal

    def _verify(self, token: str, now: float) -> Principal:
        import jwt  # noqa: PLC0415

        if len(token) > MAX_LENGTH or not is_compact(token):
            raise unauthorized()
        try:
            # Times are checked below, against the time we are given.
            verified = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "strict_aud": True},
            )
            claims = msgspec.convert(verified, Claims)
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError, TypeError):
            raise unauthorized() from None
        # A token issued while tokens lived longer gets no more than what they live now: revocations are not remembered
        # for longer than that.
        if not (now < claims.exp and now < claims.iat + self.lifetime):  # so written, it refuses a NaN
            raise unauthorized("The access token has expired.")
        session_id = SessionId(claims.sid)
        if session_id in self._revocations:
            raise session_ended()
        try:
            return Principal(
                UserId(claims.sub),
                session_id,
                min(claims.exp, claims.iat + self.lifetime),
                frozenset(claims.permissions),
                claims.tier,
                claims.email,
            )
        except InvalidContext:
            raise unauthorized() from None


def is_compact(token: str) -> bool:
    """Whether `token` has the form of a signed JWT (RFC 7515, 7.1), to the letter: PyJWT takes padding and more."""
    return _compact.fullmatch(token) is not None


def unauthorized(message: str = "The access token is missing or not valid.") -> RequestError:
    """The one error for every token that is not accepted; its message never repeats the token."""
    return RequestError("unauthorized", message)


def session_ended() -> RequestError:
    """The error for a good token of a session that was ended."""
    return unauthorized("The session was ended. Log in again.")
