from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.auth.revocations import Revocations
from goldenpath.runtime.auth.verified import VerifiedTokens
from goldenpath.runtime.context import Principal
from goldenpath.wire.ids import SessionId, UserId


def principal(session: str, expires_at: float) -> Principal:
    return Principal(UserId("usr_1"), SessionId(session), expires_at)


def test_the_token_unused_for_longest_leaves_first() -> None:
    verified = VerifiedTokens(Revocations(900), capacity=2)
    verified.put("a", principal("s1", 100))
    verified.put("b", principal("s2", 100))
    assert verified.get("a", 0) is not None
    verified.put("c", principal("s3", 100))
    assert verified.get("b", 0) is None
    assert verified.get("a", 0) is not None
    assert len(verified) == 2


def test_a_verdict_ends_with_the_token_or_before() -> None:
    verified = VerifiedTokens(Revocations(900))
    verified.put("short", principal("s1", 100), good_until=50)
    verified.put("long", principal("s2", 100), good_until=500)
    assert verified.get("short", 49.9) is not None
    assert verified.get("short", 50) is None
    assert verified.get("long", 99.9) is not None
    assert verified.get("long", 100) is None
    assert len(verified) == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "get", "revoke", "wait"]), st.integers(0, 5), st.integers(0, 30)),
        max_size=80,
    )
)
def test_it_never_returns_an_expired_or_revoked_token_nor_grows(steps: list[tuple[str, int, int]]) -> None:
    revocations = Revocations(1000)
    verified = VerifiedTokens(revocations, capacity=3)
    now = 0
    expiry: dict[str, int] = {}
    revoked: set[str] = set()
    for action, number, amount in steps:
        token, session = f"token{number}", f"session{number % 3}"
        if action == "put" and session not in revoked:
            expiry[token] = now + amount
            verified.put(token, principal(session, now + amount))
        elif action == "revoke":
            revoked.add(session)
            revocations.add(SessionId(session), now)
        elif action == "wait":
            now += amount
        found = verified.get(token, now)
        if found is not None:
            assert session not in revoked
            assert now < expiry[token] == found.expires_at
        assert len(verified) <= 3
