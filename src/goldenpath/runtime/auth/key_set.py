"""The public keys of an identity provider, as its JWKS document gives them. Sans-I/O.

Only the public numbers of asymmetric keys are taken: a shared secret, a private number or a key meant for another
algorithm or use in the document is left out, so no token can choose how it is verified.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from goldenpath.wire.errors import GoldenpathError

MAX_KEYS: Final = 100

_RSA = ("RSA", None, ("n", "e"))
# What a key must be for an algorithm: its type, its curve, and the members that make up its public part.
_FORMS: Final[dict[str, tuple[str, str | None, tuple[str, ...]]]] = {
    "RS256": _RSA,
    "RS384": _RSA,
    "RS512": _RSA,
    "PS256": _RSA,
    "PS384": _RSA,
    "PS512": _RSA,
    "ES256": ("EC", "P-256", ("crv", "x", "y")),
    "ES384": ("EC", "P-384", ("crv", "x", "y")),
    "ES512": ("EC", "P-521", ("crv", "x", "y")),
    "EdDSA": ("OKP", "Ed25519", ("crv", "x")),
}
ALGORITHMS: Final = frozenset(_FORMS)
"""The signature algorithms that an external identity provider may use: asymmetric ones only."""


class BadKeySet(GoldenpathError):
    """A document that is no key set, or holds no key that may be used."""


class _Key(NamedTuple):
    kid: str | None
    algorithm: str
    public: Any


class _Member(msgspec.Struct):
    kty: str
    kid: str | None = None
    use: str | None = None
    alg: str | None = None
    crv: str | None = None
    key_ops: list[str] | None = None


class _Document(msgspec.Struct):
    keys: list[dict[str, Any]]


class KeySet:
    """The usable keys of one document. Immutable."""

    def __init__(self, keys: tuple[_Key, ...]) -> None:
        self._keys = keys

    @classmethod
    def read(cls, document: bytes, algorithms: tuple[str, ...]) -> KeySet:
        """The keys of a JWKS document that verify one of `algorithms`. Raises `BadKeySet` when there are none."""
        try:
            members = msgspec.json.decode(document, type=_Document).keys
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise BadKeySet("not a JSON Web Key Set") from None
        keys = tuple(
            key for member in members[:MAX_KEYS] for algorithm in algorithms if (key := _load(member, algorithm))
        )
        if not keys:
            raise BadKeySet("no key in it fits the algorithms that are allowed")
        return cls(keys)

    def find(self, kid: str | None, algorithm: str) -> Any | None:
        """The key object for a token's `kid` and `alg`. A token without `kid` gets the only key of its algorithm;
        None when there is no key, or more than one to choose from."""
        fitting = [key for key in self._keys if key.algorithm == algorithm and (kid is None or key.kid == kid)]
        return fitting[0].public if len(fitting) == 1 else None


def _load(member: dict[str, Any], algorithm: str) -> _Key | None:
    import jwt  # noqa: PLC0415

    kind, curve, names = _FORMS[algorithm]
    try:
        described = msgspec.convert(member, _Member)
    except msgspec.ValidationError:
        return None
    if (
        described.kty != kind
        or (curve is not None and described.crv != curve)
        or described.use not in (None, "sig")
        or described.alg not in (None, algorithm)
        or (described.key_ops is not None and "verify" not in described.key_ops)
    ):
        return None
    try:
        public = jwt.get_algorithm_by_name(algorithm).from_jwk({"kty": kind, **{name: member[name] for name in names}})
    except (jwt.PyJWTError, KeyError, ValueError, TypeError):
        return None
    return _Key(described.kid, algorithm, public)
