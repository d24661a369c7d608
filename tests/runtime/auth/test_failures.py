from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.auth.failures import LoginFailures


def test_after_the_limit_the_email_is_locked_until_a_failure_leaves_the_window() -> None:
    failures = LoginFailures(limit=3, window=300)
    for time in (0, 10, 20):
        assert failures.locked_for("a@x", time) is None
        assert failures.record("a@x", time) is None
    assert failures.locked_for("a@x", 20) == 280
    assert failures.locked_for("a@x", 299) == 1
    assert failures.locked_for("a@x", 300) is None
    assert failures.locked_for("b@x", 20) is None


def test_attempts_during_a_lock_do_not_prolong_it() -> None:
    failures = LoginFailures(limit=1, window=300)
    failures.record("a@x", 0)
    assert failures.record("a@x", 299) == 1
    assert failures.locked_for("a@x", 300) is None


def test_of_concurrent_attempts_only_as_many_as_the_limit_are_answered() -> None:
    failures = LoginFailures(limit=10, window=300)
    assert all(failures.locked_for("a@x", 0) is None for _ in range(30))
    assert [failures.record("a@x", 0) for _ in range(30)].count(None) == 10


def test_a_flood_of_emails_neither_grows_memory_nor_unlocks_anybody() -> None:
    failures = LoginFailures(limit=2, window=300, max_emails=50)
    failures.record("victim@x", 0)
    failures.record("victim@x", 0)
    for number in range(10_000):
        failures.record(f"{number}@x", 1)
        assert len(failures) <= 50
    assert failures.locked_for("victim@x", 1) == 299


def test_only_a_flood_of_locks_pushes_a_lock_out() -> None:
    failures = LoginFailures(limit=2, window=300, max_emails=50)
    for number in range(51):
        failures.record(f"{number}@x", number)
        failures.record(f"{number}@x", number)
    assert len(failures) == 50
    assert failures.locked_for("0@x", 51) is None
    assert all(failures.locked_for(f"{number}@x", 51) is not None for number in range(1, 51))


def test_what_left_the_window_is_forgotten() -> None:
    failures = LoginFailures(limit=2, window=300)
    for number in range(100):
        failures.record(f"{number}@x", 0)
        failures.record(f"{number % 10}@x", 0)
    failures.record("late@x", 300)
    assert len(failures) == 1


def test_any_text_may_be_an_email() -> None:
    failures = LoginFailures(limit=1, window=300)
    for text in ("", "\ud800", "x" * 100_000):
        assert failures.record(text, 0) is None
        assert failures.locked_for(text, 0) == 300


@given(
    limit=st.integers(1, 4),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60), st.booleans()), max_size=60),
)
def test_it_agrees_with_counting_every_failure(limit: int, steps: list[tuple[str, int, bool]]) -> None:
    failures = LoginFailures(limit=limit, window=100)
    counted: dict[str, list[int]] = {name: [] for name in "abc"}
    now = 0
    for name, pause, fails in steps:
        now += pause
        recent = [time for time in counted[name] if time > now - 100]
        locked = recent[-limit] + 100 - now if len(recent) >= limit else None
        assert failures.locked_for(name, now) == locked
        if fails:
            assert failures.record(name, now) == locked
            if locked is None:
                counted[name].append(now)
