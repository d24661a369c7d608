"""Who is in: shares of users, tiers, environments, stages."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.context import Principal
from goldenpath.runtime.flags.definition import Flag, FlagError
from goldenpath.runtime.flags.rule import INTERNAL, PERCENT, Decision, Rule, Stage
from goldenpath.runtime.operators import OPERATOR
from goldenpath.runtime.settings import Environment
from goldenpath.wire.ids import SessionId, UserId, new_id

BOOLEAN = Flag("x", "")
SWITCH = Flag("x", "", True)
MODEL = Flag("model", "", "small", {"small": 1, "large": 2})

user_ids = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=40).map("usr_".__add__)
percents = st.floats(0, 100)


def user(user_id: str = "usr_1", tier: str = "free", *permissions: str) -> Principal:
    return Principal(UserId(user_id), SessionId("ses_1"), 4e9, frozenset(permissions), tier)


def decide(rule: Rule | None, flag: Flag = BOOLEAN, environment: Environment = "production") -> Decision:
    if rule is not None:
        rule.check(flag)
    return Decision(flag, rule, environment)


@given(user_ids, percents, percents, st.text(max_size=20))
def test_who_is_in_stays_in_while_the_share_grows(user_id: str, one: float, other: float, name: str) -> None:
    flag = Flag(name, "")
    small, large = sorted((one, other))
    principal = user(user_id)
    if Decision(flag, Rule(percent=small), "local").of(principal):
        assert Decision(flag, Rule(percent=large), "local").of(principal)


@given(user_ids)
def test_nobody_is_in_at_0_and_everybody_at_100(user_id: str) -> None:
    assert decide(Rule(percent=0)).of(user(user_id)) is False
    assert decide(Rule(percent=100)).of(user(user_id)) is True
    assert 0 <= decide(None).bucket(user_id) < 1


@given(user_ids, percents)
def test_a_user_is_in_exactly_where_their_place_is_below_the_share(user_id: str, percent: float) -> None:
    decision = decide(Rule(percent=percent))
    place = decision.bucket(user_id)
    if abs(place - percent / 100) > 1e-9:
        assert decision.of(user(user_id)) is (place < percent / 100)


@pytest.mark.parametrize("ids", ["random", "counted"])
@pytest.mark.parametrize("percent", [1, 10, 50])
def test_the_share_of_users_who_are_in_is_the_one_asked_for(percent: int, ids: str) -> None:
    users = 20_000
    decision = decide(Rule(percent=percent))
    inside = sum(
        bool(decision.of(user(new_id("usr") if ids == "random" else f"usr_{number}"))) for number in range(users)
    )
    share = percent / 100
    assert abs(inside - share * users) < 6 * math.sqrt(share * (1 - share) * users)


def test_different_flags_take_different_users() -> None:
    users = [user(f"usr_{number}") for number in range(10_000)]
    one, other = (Decision(Flag(name, ""), Rule(stage="canary"), "local") for name in ("one", "other"))
    both = sum(bool(one.of(each) and other.of(each)) for each in users)
    assert abs(both - 100) < 60  # 10 % of 10 %, within six deviations


def test_the_same_user_stands_at_the_same_place_for_ever() -> None:
    """Written down: another hash would throw users out of what they are in."""
    places = [round(Decision(Flag(name, ""), None, "local").bucket("usr_1"), 9) for name in ("new_runs", "x")]
    assert places == [0.671159723, 0.252057886]


def test_without_a_rule_everybody_has_the_default() -> None:
    for principal in (None, user()):
        assert decide(None, BOOLEAN).of(principal) is False
        assert decide(None, SWITCH).of(principal) is True
        assert decide(None, MODEL).of(principal) == "small"


def test_a_switch_that_is_off_is_off_for_everybody() -> None:
    for principal in (None, user(), user("usr_1", "free", INTERNAL)):
        assert decide(Rule(stage="off"), SWITCH).of(principal) is False


def test_the_stages_let_in_more_and_more() -> None:
    shares: list[int] = []
    for stage in get_args(Stage):
        decision = decide(Rule(stage=stage))
        shares.append(sum(bool(decision.of(user(f"usr_{number}"))) for number in range(1000)))
        assert decision.of(user("usr_1", "free", INTERNAL)) is (stage != "off")
        assert decision.of(user("usr_1", "free", OPERATOR)) is (stage != "off")
    assert shares == sorted(shares)
    assert (shares[0], shares[1], shares[-1]) == (0, 0, 1000)
    assert list(PERCENT.values()) == [0, 0, 10, 50, 100]


def test_a_rule_may_be_for_some_tiers_alone() -> None:
    decision = decide(Rule(tiers=("mid", "enterprise")))
    assert decision.of(user("usr_1", "enterprise")) is True
    assert decision.of(user("usr_1", "free")) is False
    assert decision.of(user("usr_1", "free", INTERNAL)) is True
    assert decision.of(None) is False


@pytest.mark.parametrize("environment", get_args(Environment))
def test_a_rule_may_be_for_some_environments_alone(environment: Environment) -> None:
    decision = decide(Rule(environments=("local", "staging")), BOOLEAN, environment)
    assert decision.of(user()) is (environment in ("local", "staging"))
    assert decision.of(user("usr_1", "free", INTERNAL)) is (environment in ("local", "staging"))


def test_those_who_are_in_get_the_variant_and_the_others_the_default() -> None:
    decision = decide(Rule(stage="staged", variant="large"), MODEL)
    chosen = {decision.of(user(f"usr_{number}")) for number in range(100)}
    assert chosen == {"small", "large"}
    assert decide(Rule(variant="large"), MODEL).of(None) == "large"


def test_what_concerns_nobody_in_particular_is_on_only_where_everybody_is_in() -> None:
    assert decide(Rule(percent=99.9), SWITCH).of(None) is False
    assert decide(Rule(percent=100), SWITCH).of(None) is True


@pytest.mark.parametrize(
    ("flag", "rule"),
    [
        (BOOLEAN, {"percent": -1}),
        (BOOLEAN, {"percent": 100.1}),
        (BOOLEAN, {"percent": math.nan}),
        (BOOLEAN, {"percent": 5, "stage": "off"}),
        (BOOLEAN, {"variant": "large"}),
        (BOOLEAN, {"tiers": tuple(map(str, range(33)))}),
        (BOOLEAN, {"why": "x" * 501}),
        (MODEL, {}),
        (MODEL, {"variant": "huge"}),
    ],
)
def test_a_rule_that_cannot_be_is_refused(flag: Flag, rule: dict[str, Any]) -> None:
    with pytest.raises(FlagError, match=f"flag {flag.name}"):
        Rule(**rule).check(flag)


@pytest.mark.parametrize(
    "flag", [Flag("", ""), Flag("a b", ""), Flag("x", "", "small"), Flag("x", "", "huge", {"small": 1})]
)
def test_a_flag_that_cannot_be_is_refused(flag: Flag) -> None:
    with pytest.raises(FlagError):
        flag.check()
