"""The flags of one server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.flags.definition import Flag, FlagError, UnknownFlag
from goldenpath.runtime.flags.flags import MAX_RULES, FlagChange, Flags
from goldenpath.runtime.flags.rule import Rule
from tests.runtime.flags.test_rule import user

OFF = Rule(stage="off")


def made() -> Flags:
    return Flags([Flag("switch", "", True), Flag("model", "", "small", {"small": 1, "large": [2]})], "production")


def test_a_boolean_flag_is_asked_for_on_or_off_and_one_with_variants_for_its_value() -> None:
    flags = made()
    assert flags.enabled("switch")
    assert flags.enabled("switch", user())
    assert (flags.variant("model"), flags.value("model")) == ("small", 1)
    assert flags.put("model", Rule(variant="large"))
    assert (flags.variant("model", user()), flags.value("model", user())) == ("large", [2])
    with pytest.raises(FlagError, match="model has variants"):
        flags.enabled("model")


def test_a_flag_that_nobody_defined_is_an_error() -> None:
    flags = made()
    for ask in (flags.enabled, flags.variant, flags.value):
        with pytest.raises(UnknownFlag, match="'nope'"):
            ask("nope")
    with pytest.raises(UnknownFlag):
        flags.put("nope", OFF)


def test_a_user_sees_a_change_at_once() -> None:
    flags = made()
    mine = flags.of(user())
    assert mine.enabled("switch")
    flags.put("switch", OFF)
    assert not mine.enabled("switch")
    flags.put("switch", None)
    assert mine.enabled("switch")
    assert (mine.variant("model"), mine.value("model")) == ("small", 1)


def test_a_change_is_told_with_what_was_before_and_no_change_is_not() -> None:
    flags = made()
    told: list[bool] = []
    flags.on_change(lambda found: told.append(found.enabled("switch")))
    assert flags.put("switch", OFF) == FlagChange("switch", None, OFF)
    assert flags.put("switch", Rule(stage="off", why="again", by="somebody")) is None
    assert flags.put("switch", None)
    assert told == [False, True]


def test_a_listener_that_fails_stops_neither_the_change_nor_the_others() -> None:
    flags = made()
    told: list[str] = []
    flags.on_change(lambda _: 1 / 0)
    flags.on_change(lambda _: told.append("second"))
    assert flags.put("switch", OFF)
    assert (told, flags.enabled("switch")) == (["second"], False)


def test_rules_that_cannot_be_change_nothing() -> None:
    flags = made()
    flags.put("switch", OFF)
    with pytest.raises(FlagError, match="flag model"):
        flags.replace({"switch": Rule(), "model": Rule(variant="huge")})
    with pytest.raises(FlagError, match="at most"):
        flags.replace({f"f{number}": OFF for number in range(MAX_RULES + 1)})
    assert not flags.enabled("switch")


def test_rules_of_flags_that_nobody_knows_are_kept() -> None:
    flags = made()
    flags.replace({"later": OFF})
    assert flags.unknown == ["later"]
    flags.put("switch", OFF)
    assert dict(flags.rules) == {"later": OFF, "switch": OFF}


def test_two_flags_of_one_name_are_refused() -> None:
    with pytest.raises(FlagError, match="already"):
        Flags([Flag("x", ""), Flag("x", "")], "local")


rules = st.builds(
    Rule,
    stage=st.sampled_from(["off", "canary", "full"]),
    tiers=st.sampled_from([(), ("mid",)]),
    why=st.text(max_size=3),
)
sets = st.dictionaries(st.sampled_from(["a", "b", "c", "unknown"]), rules)


@given(st.lists(sets, max_size=6))
def test_what_changed_takes_one_set_of_rules_to_the_next(steps: list[dict[str, Rule]]) -> None:
    flags = Flags([Flag(name, "") for name in "abc"], "local")
    held: dict[str, Rule] = {}
    for step in steps:
        for change in flags.replace(step):
            assert held.get(change.name) == (change.before and change.before.effect)
            held.pop(change.name, None)
            if change.after is not None:
                held[change.name] = change.after.effect
        assert held == {name: rule.effect for name, rule in step.items()}
        for name in "abc":
            fresh = Flags([Flag(name, "")], "local")
            fresh.replace({name: step[name]} if name in step else {})
            assert flags.enabled(name, user("usr_7", "mid")) == fresh.enabled(name, user("usr_7", "mid"))
