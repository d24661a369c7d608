"""Access tokens of an external identity provider: verified by its published keys, mapped to a principal.

The ids are derived from the issuer and what it asserts, under prefixes of their own, so a user or session of a
provider can never be one of ours or of another provider. `LIFETIME` bounds how long such a token is accepted whatever
it says, so that a logout need not be remembered for ever.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any, Final

import msgspec

from goldenpath.runtime.auth.key_set import ALGORITHMS
from goldenpath.runtime.auth.key_source import KeySource
from goldenpath.runtime.auth.refusals import TokenRefused
from goldenpath.runtime.auth.tokens import ISSUER, MAX_LENGTH, is_compact
from goldenpath.runtime.context import Principal
from goldenpath.runtime.settings import Issuer, SettingsError
from goldenpath.wire.ids import SessionId, UserId

USER_PREFIX: Final = "ext"
SESSION_PREFIX: Final = "exs"
LIFETIME: Final = 86_400.0
"""The longest that a token is accepted after its issue, in seconds."""
SKEW: Final = 60.0
"""How far a provider's clock may run ahead of ours, in seconds."""


class _Times(msgspec.Struct):
    exp: float
    iat: float | None = None
    nbf: float | None = None


class _Named(msgspec.Struct):
    iss: str


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None


class IdentityProvider:
    """One issuer. Raises `SettingsError` for one that cannot be safe."""

    def __init__(self, issuer: Issuer, keys: KeySource) -> None:
        if issuer.issuer in ("", ISSUER):
            raise SettingsError(f"GOLDENPATH_ISSUERS: an issuer cannot be called {issuer.issuer!r}")
        if not issuer.audience:
            raise SettingsError(f"GOLDENPATH_ISSUERS: {issuer.issuer} needs an audience")
        refused = [name for name in issuer.algorithms if name not in ALGORITHMS]
        if refused or not issuer.algorithms:
            allowed = ", ".join(sorted(ALGORITHMS))
            raise SettingsError(f"GOLDENPATH_ISSUERS: the algorithms of {issuer.issuer} must be of {allowed}")
        self.issuer = issuer
        self.keys = keys

    async def check(self, token: str, now: float) -> Principal:
        """Whom the token stands for at `now` (Unix seconds). Revocation is the caller's to check.

        Raises `TokenRefused` for a token that is not accepted, `RequestError` (`upstream_unavailable`) when the keys
        cannot be fetched. Cancelling is safe.
        """
        header = _header(token)
        if header is None:
            raise TokenRefused("form")
        if header.alg not in self.issuer.algorithms:
            raise TokenRefused("algorithm")
        key = await self.keys.find(header.kid, header.alg)
        if key is None:
            raise TokenRefused("signature: the provider has no such key")
        return read_principal(self.issuer, verify(self.issuer, token, key, header.alg), token, now)


def issuer_of(token: str) -> str | None:
    """The issuer that a token names, before anything is verified; None when it names none."""
    try:
        return msgspec.json.decode(_segment(token, 1), type=_Named).iss
    except (msgspec.MsgspecError, ValueError):
        return None


def _header(token: str) -> _Header | None:
    try:
        return msgspec.json.decode(_segment(token, 0), type=_Header)
    except (msgspec.MsgspecError, ValueError):
        return None


def _segment(token: str, index: int) -> bytes:
    if len(token) > MAX_LENGTH or not is_compact(token):
        raise ValueError("not a token")
    segment = token.split(".")[index]
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def verify(issuer: Issuer, token: str, key: Any, algorithm: str) -> dict[str, Any]:
    """The claims of a token whose signature, issuer and audience are right; its times are not looked at.

    Raises `TokenRefused` otherwise.
    """
    import jwt  # noqa: PLC0415 - loaded long before by whoever made the key

    try:
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=issuer.audience,
            issuer=issuer.issuer,
            options={
                "require": ["exp", "iss", "aud"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "enforce_minimum_key_length": True,
            },
        )
    except jwt.MissingRequiredClaimError as error:
        raise TokenRefused(f"missing claim {error.claim}") from None
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        checks = (("audience", jwt.InvalidAudienceError), ("issuer", jwt.InvalidIssuerError))
        failed = [check for check, kind in checks if isinstance(error, kind)]
        raise TokenRefused(failed[0] if failed else "signature") from None


def read_principal(issuer: Issuer, claims: dict[str, Any], token: str, now: float) -> Principal:
    """Whom verified claims describe. `token` only names the session when there is no `jti`.

    Raises `TokenRefused` when the token is expired, not yet good, without an expiry, or names nobody.
    """
    try:
        times = msgspec.convert(claims, _Times)
    except msgspec.ValidationError:
        raise TokenRefused("times") from None
    # Written so that a NaN is refused.
    if not (times.iat or 0.0) <= now + SKEW or not (times.nbf or 0.0) <= now + SKEW:
        raise TokenRefused("not good yet", "The access token is not good yet.")
    if times.iat is None and not times.exp <= now + LIFETIME:
        raise TokenRefused("missing claim iat", "An access token that lives so long must say when it was issued.")
    expires_at = times.exp if times.iat is None else min(times.exp, times.iat + LIFETIME)
    if not now < expires_at:
        raise TokenRefused("expiry", "The access token has expired.")
    subject = _find(claims, issuer.user_claim)
    if not isinstance(subject, str) or not subject:
        raise TokenRefused(f"missing claim {issuer.user_claim}")
    token_id = claims.get("jti")
    if not isinstance(token_id, str) or not token_id:
        # The signature is left out: there can be several that verify, and each would be a token to log out.
        token_id = token.rpartition(".")[0]
    email = _find(claims, issuer.email_claim)
    tier = _find(claims, issuer.tier_claim)
    return Principal(
        UserId(_derive(USER_PREFIX, issuer.issuer, subject)),
        SessionId(_derive(SESSION_PREFIX, issuer.issuer, subject, token_id)),
        expires_at,
        _permissions(_find(claims, issuer.permissions_claim)),
        tier if isinstance(tier, str) and tier else "free",
        email if isinstance(email, str) and email and claims.get("email_verified") is not False else None,
    )


def is_external(session_id: SessionId) -> bool:
    """Whether a session is a provider's token rather than a login of ours."""
    return session_id.startswith(SESSION_PREFIX + "_")


def _find(claims: dict[str, Any], name: str) -> Any:
    """A claim by its name or, as with Keycloak's `realm_access.roles`, by its path."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for step in name.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _permissions(value: Any) -> frozenset[str]:
    if isinstance(value, str):  # as OAuth writes scopes
        return frozenset(value.split())
    if isinstance(value, list):
        return frozenset(item for item in value if isinstance(item, str) and item)
    return frozenset()


def _derive(prefix: str, *parts: str) -> str:
    digest = sha256(msgspec.json.encode(parts)).digest()
    return f"{prefix}_{urlsafe_b64encode(digest[:18]).decode()}"
