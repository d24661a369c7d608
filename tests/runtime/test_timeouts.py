from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.settings import LEGACY, Environment, Settings
from goldenpath.runtime.timeouts import HIERARCHY, LEVELS, CurrentTimeouts, HierarchyError, Timeouts

ENVIRONMENTS = get_args(Environment)


def of(environment: Any) -> Timeouts:
    return Settings(environment=environment).timeouts


def changed(timeouts: Timeouts, **seconds: float) -> Timeouts:
    return msgspec.structs.replace(timeouts, **seconds)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_check_is_true_for_every_environment_and_false_for_each_broken_rule(environment: str) -> None:
    timeouts = of(environment)
    assert timeouts.check() is True
    for rule in HIERARCHY:
        wrong = changed(timeouts, **{rule.child: timeouts.of(rule.parent) + 0.1})
        assert wrong.check() is False
        assert rule in wrong.broken()
        with pytest.raises(HierarchyError, match=r"_timeout \([\d.]+ s\) must be (above|at least) "):
            wrong.validate()
        equal = changed(timeouts, **{rule.child: timeouts.of(rule.parent)})
        assert (rule in equal.broken()) is rule.strict


def test_parents_come_before_their_children() -> None:
    seen: set[str] = set()
    for rule in HIERARCHY:
        seen.add(rule.child)
        assert rule.parent not in {later.child for later in HIERARCHY[HIERARCHY.index(rule) :]}
    assert seen <= set(LEVELS)


@given(st.lists(st.sampled_from(ENVIRONMENTS), min_size=2, max_size=2))
def test_the_longer_of_two_that_fit_fits(environments: list[str]) -> None:
    first, second = map(of, environments)
    longer = first.at_least(second)
    assert longer.check()
    assert all(longer.of(level) == max(first.of(level), second.of(level)) for level in LEVELS)


def test_what_is_put_in_force_is_for_new_work_and_what_does_not_fit_is_refused() -> None:
    current = CurrentTimeouts(of("local"))
    assert current.replace(LEGACY, "an operator's roll-back") == of("local")
    assert current.now == LEGACY
    assert current.configured == of("local")
    with pytest.raises(HierarchyError):
        current.replace(changed(LEGACY, tool=60.0), "amiss")
    assert current.now == LEGACY
    with pytest.raises(HierarchyError):
        CurrentTimeouts(changed(LEGACY, tool=60.0))
