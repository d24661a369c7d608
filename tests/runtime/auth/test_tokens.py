from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.auth.revocations import Revocations
from goldenpath.runtime.auth.tokens import AccessTokens
from goldenpath.runtime.auth.verified import VerifiedTokens
from goldenpath.runtime.interfaces import SessionRow
from goldenpath.wire.answers import Tokens
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import SessionId, UserId
from tests.runtime.auth.conftest import SECRET

NOW = 1_700_000_000.0


def make(lifetime: float = 900, secret: bytes = SECRET) -> tuple[AccessTokens, Revocations]:
    revocations = Revocations(lifetime)
    verified = VerifiedTokens(revocations)
    return AccessTokens(secret, lifetime=lifetime, revocations=revocations, verified=verified), revocations


def session(permissions: frozenset[str] = frozenset(), tier: str = "free") -> SessionRow:
    return SessionRow(SessionId("ses_1"), UserId("usr_1"), permissions, tier, NOW)


def issue(tokens: AccessTokens, issued_at: float = NOW) -> str:
    return tokens.issue(session(), "ann@example.com", generation=0, issued_at=issued_at)


def forge(token: str, secret: bytes = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    claims = jwt.decode(token, options={"verify_signature": False})
    for name, value in changes.items():
        if value is ...:
            del claims[name]
        else:
            claims[name] = value
    return jwt.encode(claims, secret if algorithm != "none" else "", algorithm)


def refused(tokens: AccessTokens, token: str, now: float = NOW) -> str:
    with pytest.raises(RequestError) as caught:
        tokens.check(token, now)
    assert caught.value.code == "unauthorized"
    assert len(token) < 10 or token not in str(caught.value)
    return caught.value.message


@given(
    permissions=st.frozensets(st.text(max_size=10), max_size=5),
    tier=st.text(min_size=1, max_size=10),
    email=st.none() | st.text(max_size=20),
    issued_at=st.floats(1.0, 4e9),
    lifetime=st.floats(0.1, 1e6),
)
def test_a_token_says_who_and_with_what_rights(
    permissions: frozenset[str], tier: str, email: str | None, issued_at: float, lifetime: float
) -> None:
    tokens, _ = make(lifetime)
    row = session(permissions, tier)
    token = tokens.issue(row, email, generation=3, issued_at=issued_at)
    assert token == tokens.issue(row, email, generation=3, issued_at=issued_at)
    for _ in range(2):  # the second time from memory
        principal = tokens.check(token, issued_at)
        assert principal.user_id == "usr_1"
        assert principal.session_id == "ses_1"
        assert principal.permissions == permissions
        assert principal.tier == tier
        assert principal.email == email
        assert principal.expires_at == pytest.approx(issued_at + lifetime, abs=0.002)
    refused(tokens, token, issued_at + lifetime)


def test_generations_have_different_tokens() -> None:
    tokens, _ = make()
    first = tokens.issue(session(), None, generation=0, issued_at=NOW)
    assert first != tokens.issue(session(), None, generation=1, issued_at=NOW)


@pytest.mark.parametrize("seen", [False, True])
def test_it_ends_at_its_expiry_seen_before_or_not(seen: bool) -> None:
    tokens, _ = make()
    token = issue(tokens)
    if seen:
        tokens.check(token, NOW)
    assert tokens.check(token, NOW + 899.9)
    assert "expired" in refused(tokens, token, NOW + 900)


@pytest.mark.parametrize("seen", [False, True])
def test_it_ends_with_its_session_seen_before_or_not(seen: bool) -> None:
    tokens, revocations = make()
    token = issue(tokens)
    if seen:
        tokens.check(token, NOW)
    revocations.add(SessionId("ses_1"), NOW)
    assert "session was ended" in refused(tokens, token)


@pytest.mark.parametrize("seen", [False, True])
def test_a_token_is_itself_to_the_letter(seen: bool) -> None:
    tokens, _ = make()
    token = issue(tokens)
    if seen:
        tokens.check(token, NOW)
    head, claims, signature = token.split(".")
    for other in (f"{token}=", f"{token}==", f"{head}=.{claims}.{signature}", f" {token}", f"{token}\n", f"{token}+"):
        refused(tokens, other)


def test_a_token_of_a_time_of_longer_lives_gets_no_more_than_the_present_one() -> None:
    longer, _ = make(lifetime=86_400)
    tokens, _ = make(lifetime=900)
    token = issue(longer)
    assert tokens.check(token, NOW).expires_at == NOW + 900
    refused(tokens, token, NOW + 900)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "elsewhere"},
        {"aud": "elsewhere"},
        {"aud": ["goldenpath", "elsewhere"]},
        {"sub": ""},
        {"sub": "null"},
        {"sub": 1},
        {"sid": "undefined"},
        {"exp": "4000000000"},
        {"exp": True},
        {"exp": float("nan")},
        {"iat": float("nan")},
        {"permissions": "admin"},
        {"permissions": [1]},
        {"tier": None},
        *[{name: ...} for name in ("iss", "aud", "sub", "sid", "jti", "iat", "exp", "permissions", "tier", "email")],
    ],
    ids=str,
)
def test_every_claim_is_required_and_checked_even_under_our_signature(changes: dict[str, Any]) -> None:
    tokens, _ = make()
    token = issue(tokens)
    assert tokens.check(forge(token), NOW)
    refused(tokens, forge(token, **changes))


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_no_other_algorithm_is_accepted(algorithm: str) -> None:
    tokens, _ = make()
    refused(tokens, forge(issue(tokens), algorithm=algorithm))


def test_another_secret_is_refused() -> None:
    tokens, _ = make()
    other, _ = make(secret=b"another secret of thirty-two bytes!")
    refused(tokens, issue(other))


@pytest.mark.parametrize(
    "header", [{"alg": "none"}, {"alg": "HS256", "crit": ["x"], "x": 1}, {"alg": ["HS256"]}, [], 1]
)
def test_a_doctored_header_is_refused(header: Any) -> None:
    tokens, _ = make()
    _, claims, signature = issue(tokens).split(".")
    doctored = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    refused(tokens, f"{doctored}.{claims}.{signature}")
    refused(tokens, f"{doctored}.{claims}.")


@pytest.mark.parametrize(
    "junk", ["", ".", "..", "a.b.c", "\ud800", "\u00e9" * 10, "x" * 100_000, "e30.e30.", "a.b.c.d.e"]
)
def test_junk_is_refused(junk: str) -> None:
    tokens, _ = make()
    refused(tokens, junk)


@given(st.data())
def test_a_changed_token_never_stands_for_anybody_else(data: st.DataObject) -> None:
    tokens, _ = make()
    token = issue(tokens)
    position = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters(codec="ascii"))
    changed = data.draw(st.sampled_from([token[:position], token[:position] + character + token[position + 1 :]]))
    try:
        principal = tokens.check(changed, NOW)
    except RequestError:
        refused(tokens, changed)
    else:  # the last characters of base 64 have bits that mean nothing
        assert principal == tokens.check(token, NOW)


def test_the_answer_has_all_five_fields_in_the_order_of_the_protocol() -> None:
    answer = Tokens(user_id=UserId("usr_1"), access_token="a", refresh_token="r", expires_in=900.0)
    assert list(msgspec.to_builtins(answer)) == ["user_id", "access_token", "refresh_token", "token_type", "expires_in"]
    assert msgspec.to_builtins(answer)["token_type"] == "Bearer"
