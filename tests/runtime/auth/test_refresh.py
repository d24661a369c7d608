from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.auth.refresh import GRACE, RecentRotations, RefreshTokens, decide
from goldenpath.runtime.interfaces import SessionRow
from goldenpath.wire.ids import SessionId, UserId
from tests.runtime.auth.conftest import SECRET

SESSION = SessionId("ses_1")


def session(generation: int = 0, rotated_at: float = 0.0, revoked_at: float | None = None) -> SessionRow:
    return SessionRow(SESSION, UserId("usr_1"), frozenset(), "free", 0.0, generation, rotated_at, 1000.0, revoked_at)


@given(st.from_regex(r"ses_[A-Za-z0-9_-]{16}", fullmatch=True), st.integers(0, 10**11))
def test_a_token_is_a_function_of_session_and_generation_and_reads_back(name: str, generation: int) -> None:
    tokens = RefreshTokens(SECRET)
    token = tokens.issue(SessionId(name), generation)
    assert token == RefreshTokens(SECRET).issue(SessionId(name), generation)
    assert tokens.read(token) == (name, generation)
    assert RefreshTokens(b"another secret of thirty-two bytes!").read(token) is None


@given(st.data())
def test_no_changed_token_is_genuine(data: st.DataObject) -> None:
    tokens = RefreshTokens(SECRET)
    token = tokens.issue(SESSION, 7)
    position = data.draw(st.integers(0, len(token) - 1))
    changed = token[:position] + data.draw(st.text(max_size=2)) + token[position + 1 :]
    assert tokens.read(changed) == (None if changed != token else (SESSION, 7))


@pytest.mark.parametrize("junk", ["", ".", "..", "ses_1", "ses_1.0", "ses_1.0.", "ses_1.-1.x", "\ud800", "x" * 10_000])
def test_junk_is_no_token(junk: str) -> None:
    assert RefreshTokens(SECRET).read(junk) is None


@pytest.mark.parametrize("number", ["00", "+0", "0_0", " 0", "0x0", "\u0660"])
def test_a_generation_has_one_spelling(number: str) -> None:
    tokens = RefreshTokens(SECRET)
    name, _, mac = tokens.issue(SESSION, 0).split(".")
    assert tokens.read(f"{name}.{number}.{mac}") is None


def test_the_current_token_rotates_and_the_one_before_repeats_for_five_seconds() -> None:
    recent = RecentRotations()
    assert decide(session(0), 0, 10, recent).action == "rotate"
    after = session(1, rotated_at=10)
    repeat = decide(after, 0, 10 + GRACE, recent)
    assert (repeat.action, repeat.generation, repeat.began) == ("repeat", 1, 10)
    assert decide(after, 0, 10 + GRACE + 0.001, recent).action == "revoke"


@pytest.mark.parametrize(
    ("row", "now"),
    [(None, 10), (session(0, revoked_at=5), 10), (session(0), 1000), (session(1, revoked_at=5), 10)],
    ids=["unknown", "revoked", "expired", "used and revoked"],
)
def test_a_session_that_is_over_refuses(row: SessionRow | None, now: float) -> None:
    assert decide(row, 0, now, RecentRotations()).action == "refuse"


def test_a_generation_that_has_not_begun_is_refused_and_harms_nothing() -> None:
    assert decide(session(1, rotated_at=10), 2, 10, RecentRotations()).action == "refuse"


def test_rotations_are_remembered_for_as_long_as_they_matter_and_never_without_bound() -> None:
    recent = RecentRotations(capacity=3)
    for number in range(10):
        recent.add(SESSION, number, number * 0.1)
        assert len(recent) <= 3
    recent.add(SESSION, 10, 100)
    assert len(recent) == 1


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.5, 2.0, 5.0, 6.0])), max_size=40))
def test_any_history_of_uses_is_answered_by_the_first_use_of_each_token(uses: list[tuple[int, float]]) -> None:
    row, recent, now = session(), RecentRotations(), 0.0
    first_use: dict[int, float] = {}
    ended = False
    for back, pause in uses:
        now += pause
        generation = max(0, row.generation - back)
        verdict = decide(row, generation, now, recent)
        if ended:
            assert verdict.action == "refuse"
        elif generation not in first_use:
            assert verdict.action == "rotate"
            assert (verdict.generation, verdict.began) == (generation + 1, now)
            first_use[generation] = now
            row.generation, row.rotated_at = verdict.generation, now
            recent.add(SESSION, verdict.generation, now)
        elif now - first_use[generation] <= GRACE:
            assert verdict.action == "repeat"
            assert (verdict.generation, verdict.began) == (generation + 1, first_use[generation])
        else:
            assert verdict.action == "revoke"
            row.revoked_at, ended = now, True
