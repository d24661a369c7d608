from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goldenpath.clock import ManualClock
from goldenpath.runtime.auth.documents import HttpDocuments
from goldenpath.runtime.auth.identity_provider import (
    LIFETIME,
    SKEW,
    IdentityProvider,
    is_external,
    issuer_of,
    read_principal,
)
from goldenpath.runtime.auth.key_source import COOLDOWN, KeySource
from goldenpath.runtime.settings import Issuer, SettingsError
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import SessionId
from tests.runtime.auth.key_server import AUDIENCE, KeyServer, SigningKey

NOW = 1_700_000_000.0


@pytest.fixture
async def documents() -> AsyncIterator[HttpDocuments]:
    documents = HttpDocuments()
    yield documents
    await documents.close()


@pytest.fixture
def issuer(key_server: KeyServer, rsa_key: SigningKey, ec_key: SigningKey) -> Issuer:
    key_server.keys = [rsa_key.jwk(), ec_key.jwk()]
    return Issuer(key_server.issuer, AUDIENCE, key_server.jwks_url, algorithms=("RS256", "ES256"))


@pytest.fixture
def provider(issuer: Issuer, documents: HttpDocuments, clock: ManualClock) -> IdentityProvider:
    return IdentityProvider(issuer, KeySource(issuer.jwks_url, issuer.algorithms, documents.fetch, clock))


def claims(issuer: Issuer, **changes: Any) -> dict[str, Any]:
    whole = {
        "iss": issuer.issuer,
        "aud": AUDIENCE,
        "sub": "ann",
        "iat": NOW,
        "exp": NOW + 600,
        "jti": "t1",
        "email": "ann@example.com",
        "permissions": ["chat"],
        "tier": "mid",
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not ...}


async def refused(provider: IdentityProvider, token: str, now: float = NOW) -> None:
    with pytest.raises(RequestError) as caught:
        await provider.check(token, now)
    assert caught.value.code == "unauthorized"
    assert len(token) < 10 or token not in str(caught.value)


async def test_tokens_of_both_kinds_of_keys_are_mapped_to_a_principal(
    provider: IdentityProvider, issuer: Issuer, rsa_key: SigningKey, ec_key: SigningKey
) -> None:
    for key in (rsa_key, ec_key):
        principal = await provider.check(key.sign(claims(issuer)), NOW)
        assert principal.user_id.startswith("ext_")
        assert is_external(principal.session_id)
        assert principal.email == "ann@example.com"
        assert principal.permissions == {"chat"}
        assert principal.tier == "mid"
        assert principal.expires_at == NOW + 600


async def test_a_token_without_key_id_is_verified_by_the_only_key(
    provider: IdentityProvider, issuer: Issuer, rsa_key: SigningKey
) -> None:
    token = jwt.encode(claims(issuer), rsa_key.private, "RS256")
    assert (await provider.check(token, NOW)).email == "ann@example.com"


async def test_a_token_of_several_audiences_that_has_ours_is_accepted(
    provider: IdentityProvider, issuer: Issuer, rsa_key: SigningKey
) -> None:
    assert await provider.check(rsa_key.sign(claims(issuer, aud=["other", AUDIENCE])), NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "http://127.0.0.1:1"},
        {"iss": ...},
        {"aud": "other"},
        {"aud": []},
        {"aud": ...},
        {"exp": ...},
        {"exp": "4000000000"},
        {"exp": None},
        {"exp": float("nan")},
        {"exp": NOW},
        {"exp": NOW - 1},
        {"iat": NOW + SKEW + 1},
        {"iat": "yesterday"},
        {"iat": float("nan")},
        {"nbf": NOW + SKEW + 1},
        {"nbf": float("nan")},
        {"iat": ..., "exp": NOW + LIFETIME + 1},
        {"iat": ..., "exp": float("inf")},
        {"sub": ...},
        {"sub": ""},
        {"sub": 7},
    ],
    ids=str,
)
async def test_a_wrong_or_missing_claim_is_refused_under_a_good_signature(
    provider: IdentityProvider, issuer: Issuer, rsa_key: SigningKey, changes: dict[str, Any]
) -> None:
    await refused(provider, rsa_key.sign(claims(issuer, **changes)))


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def test_the_public_key_is_no_shared_secret(
    provider: IdentityProvider, issuer: Issuer, rsa_key: SigningKey
) -> None:
    import hashlib
    import hmac

    for header in ({"alg": "HS256", "kid": rsa_key.kid}, {"alg": "HS256"}):
        signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims(issuer)).encode())}"
        for secret in (rsa_key.pem(), json.dumps(rsa_key.jwk()).encode(), b""):
            await refused(provider, f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}")


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "", "RS512", "PS256", "ES384", "EdDSA", None, ["RS256"]])
async def test_a_token_does_not_choose_its_algorithm(
    provider: IdentityProvider, issuer: Issuer, rsa_key: SigningKey, algorithm: Any
) -> None:
    _, payload, signature = rsa_key.sign(claims(issuer)).split(".")
    header = b64(json.dumps({"alg": algorithm, "kid": rsa_key.kid}).encode())
    await refused(provider, f"{header}.{payload}.{signature}")
    await refused(provider, f"{header}.{payload}.")


async def test_an_algorithm_that_is_not_allowed_does_not_trouble_the_provider(
    provider: IdentityProvider, issuer: Issuer, key_server: KeyServer
) -> None:
    await refused(provider, jwt.encode(claims(issuer), "s" * 32, "HS256", headers={"kid": "rsa-1"}))
    assert key_server.requests == 0


async def test_a_key_of_one_algorithm_does_not_verify_another(
    provider: IdentityProvider, issuer: Issuer, rsa_key: SigningKey
) -> None:
    token = jwt.encode(claims(issuer), rsa_key.private, "PS256", headers={"kid": rsa_key.kid})
    await refused(provider, token)


@pytest.mark.parametrize(
    "kid", ["rsa-2", "", "../rsa-1", "rsa-1\x00", "' OR 1=1 --", "/dev/null", "x" * 5000, 1, None, ["rsa-1"], {"a": 1}]
)
async def test_a_key_id_only_names_a_published_key(
    provider: IdentityProvider, issuer: Issuer, other_rsa_key: SigningKey, kid: Any
) -> None:
    _, payload, _ = other_rsa_key.sign(claims(issuer)).split(".")
    signed = f"{b64(json.dumps({'alg': 'RS256', 'kid': kid}).encode())}.{payload}"
    algorithm = jwt.get_algorithm_by_name("RS256")
    await refused(provider, f"{signed}.{b64(algorithm.sign(signed.encode(), other_rsa_key.private))}")


async def test_a_key_in_the_token_itself_is_not_believed(
    provider: IdentityProvider, issuer: Issuer, rsa_key: SigningKey, other_rsa_key: SigningKey, key_server: KeyServer
) -> None:
    await refused(provider, other_rsa_key.sign(claims(issuer), kid=rsa_key.kid, jwk=other_rsa_key.jwk()))
    await refused(provider, other_rsa_key.sign(claims(issuer), kid=rsa_key.kid, jku=f"{key_server.issuer}/other"))
    assert key_server.requests == 1


async def test_extensions_that_must_be_understood_are_refused(
    provider: IdentityProvider, issuer: Issuer, rsa_key: SigningKey
) -> None:
    await refused(provider, rsa_key.sign(claims(issuer), crit=["exp"]))


async def test_a_key_that_is_too_short_is_refused(
    provider: IdentityProvider, issuer: Issuer, key_server: KeyServer
) -> None:
    short = SigningKey.rsa("short", bits=1024)
    key_server.keys.append(short.jwk())
    header = b64(json.dumps({"alg": "RS256", "kid": "short"}).encode())
    signed = f"{header}.{b64(json.dumps(claims(issuer)).encode())}"
    algorithm = jwt.get_algorithm_by_name("RS256")
    await refused(provider, f"{signed}.{b64(algorithm.sign(signed.encode(), short.private))}")


async def test_rotated_keys_are_picked_up_and_made_up_ones_do_not_flood_the_provider(
    provider: IdentityProvider,
    issuer: Issuer,
    rsa_key: SigningKey,
    other_rsa_key: SigningKey,
    key_server: KeyServer,
    clock: ManualClock,
) -> None:
    assert await provider.check(rsa_key.sign(claims(issuer)), NOW)
    clock.advance(COOLDOWN)
    key_server.keys = [other_rsa_key.jwk()]
    assert await provider.check(other_rsa_key.sign(claims(issuer)), NOW)
    await refused(provider, rsa_key.sign(claims(issuer)))
    for number in range(20):
        await refused(provider, other_rsa_key.sign(claims(issuer), kid=f"made-up-{number}"))
    assert key_server.requests == 2


async def test_an_outage_leaves_known_keys_good_and_says_come_back_for_others(
    provider: IdentityProvider,
    issuer: Issuer,
    rsa_key: SigningKey,
    other_rsa_key: SigningKey,
    key_server: KeyServer,
    clock: ManualClock,
) -> None:
    assert await provider.check(rsa_key.sign(claims(issuer)), NOW)
    key_server.up = False
    clock.advance(COOLDOWN)
    with pytest.raises(RequestError) as caught:
        await provider.check(other_rsa_key.sign(claims(issuer)), NOW)
    assert caught.value.code == "upstream_unavailable"
    assert await provider.check(rsa_key.sign(claims(issuer)), NOW)


async def test_tokens_that_come_together_fetch_the_keys_once(
    provider: IdentityProvider, issuer: Issuer, rsa_key: SigningKey, key_server: KeyServer
) -> None:
    tokens = [rsa_key.sign(claims(issuer, sub=f"user-{number}")) for number in range(20)]
    principals = await asyncio.gather(*(provider.check(token, NOW) for token in tokens))
    assert len({principal.user_id for principal in principals}) == 20
    assert key_server.requests == 1


async def test_a_changed_token_never_stands_for_anybody_else(
    provider: IdentityProvider, issuer: Issuer, ec_key: SigningKey
) -> None:
    token = ec_key.sign(claims(issuer))
    genuine = await provider.check(token, NOW)
    for position in range(len(token)):
        changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        try:
            principal = await provider.check(changed, NOW)
        except RequestError:
            continue
        assert principal == genuine


async def test_every_form_of_a_token_that_verifies_is_one_session(
    provider: IdentityProvider, issuer: Issuer, ec_key: SigningKey
) -> None:
    # An ECDSA signature (r, s) has a twin (r, n - s), which verifies as well.
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    token = ec_key.sign(claims(issuer, jti=...))
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    twin = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32)
    one = await provider.check(token, NOW)
    other = await provider.check(f"{signed}.{b64(twin)}", NOW)
    assert one.session_id == other.session_id


def ids(issuer: Issuer, **changes: Any) -> tuple[str, str]:
    principal = read_principal(issuer, claims(issuer, **changes), "a.b.c", NOW)
    return principal.user_id, principal.session_id


def plain(name: str = "https://id.example", **options: Any) -> Issuer:
    return Issuer(name, AUDIENCE, "https://id.example/keys", **options)


def test_user_and_session_follow_from_issuer_subject_and_token_id() -> None:
    user, session = ids(plain())
    assert ids(plain()) == (user, session)
    assert ids(plain(), jti="t2")[0] == user
    assert ids(plain(), jti="t2")[1] != session
    for other in (ids(plain(), sub="bob"), ids(plain("https://other.example"))):
        assert other[0] != user
        assert other[1] != session


@given(st.tuples(st.text(min_size=1), st.text(min_size=1)), st.tuples(st.text(min_size=1), st.text(min_size=1)))
def test_no_two_pairs_of_issuer_and_subject_share_a_user(one: tuple[str, str], other: tuple[str, str]) -> None:
    first, second = (ids(plain(issuer), sub=subject) for issuer, subject in (one, other))
    assert (first == second) == (one == other)


def test_a_token_without_an_id_is_a_session_of_its_own() -> None:
    whole = claims(plain(), jti=...)
    sessions = [read_principal(plain(), whole, token, NOW).session_id for token in ("a.b.c", "a.b.d", "a.c.c")]
    assert sessions[0] == sessions[1]
    assert sessions[0] != sessions[2]


def test_a_token_is_accepted_for_a_day_at_most() -> None:
    issuer = plain()
    whole = claims(issuer, exp=NOW + 10 * LIFETIME)
    assert read_principal(issuer, whole, "a.b.c", NOW).expires_at == NOW + LIFETIME
    with pytest.raises(RequestError):
        read_principal(issuer, whole, "a.b.c", NOW + LIFETIME)


def test_claims_are_found_by_name_by_namespaced_name_and_by_path() -> None:
    issuer = plain(
        user_claim="oid",
        email_claim="https://app.example/mail",
        permissions_claim="realm_access.roles",
        tier_claim="plan.name",
    )
    whole = claims(
        issuer,
        oid="o1",
        realm_access={"roles": ["chat", 7, "", "admin"]},
        plan={"name": "early"},
        **{"https://app.example/mail": "o@example.com"},
    )
    principal = read_principal(issuer, whole, "a.b.c", NOW)
    assert principal.permissions == {"chat", "admin"}
    assert principal.tier == "early"
    assert principal.email == "o@example.com"


def test_scopes_written_as_one_string_are_several_permissions() -> None:
    issuer = plain(permissions_claim="scope")
    assert read_principal(issuer, claims(issuer, scope="chat admin"), "a.b.c", NOW).permissions == {"chat", "admin"}


@pytest.mark.parametrize("value", [7, None, {}, "", [], True])
def test_claims_out_of_form_give_no_rights_and_no_address(value: Any) -> None:
    issuer = plain()
    whole = claims(issuer, permissions=value, tier=value, email=value)
    principal = read_principal(issuer, whole, "a.b.c", NOW)
    assert (principal.permissions, principal.tier, principal.email) == (frozenset(), "free", None)


def test_an_address_that_the_provider_did_not_verify_is_left_out() -> None:
    issuer = plain()
    assert read_principal(issuer, claims(issuer, email_verified=False), "a.b.c", NOW).email is None
    assert read_principal(issuer, claims(issuer, email_verified=True), "a.b.c", NOW).email is not None


@pytest.mark.parametrize(
    "issuer",
    [
        plain("goldenpath"),
        plain(""),
        Issuer("https://id.example", "", "https://id.example/keys"),
        plain(algorithms=()),
        plain(algorithms=("HS256",)),
        plain(algorithms=("RS256", "none")),
    ],
)
async def test_an_issuer_that_cannot_be_safe_is_a_settings_error(
    issuer: Issuer, documents: HttpDocuments, clock: ManualClock
) -> None:
    with pytest.raises(SettingsError):
        IdentityProvider(issuer, KeySource(issuer.jwks_url, issuer.algorithms, documents.fetch, clock))


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,10}", fullmatch=True))
def test_any_text_may_be_asked_for_its_issuer(token: str) -> None:
    assert issuer_of(token) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["sub", "exp", "iat", "nbf", "jti", "email", "permissions", "tier"]),
        st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=2)),
    )
)
def test_no_claims_break_the_reader(changes: dict[str, Any]) -> None:
    issuer = plain()
    try:
        principal = read_principal(issuer, claims(issuer, **changes), "a.b.c", NOW)
    except RequestError:
        return
    assert NOW < principal.expires_at <= NOW + LIFETIME + SKEW
    assert is_external(principal.session_id)
    assert not is_external(SessionId("ses_1"))
