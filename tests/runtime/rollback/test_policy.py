"""When the server rolls back by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from goldenpath.runtime.rollback.policy import LADDER, MAX_TRIGGERS, Level, RollbackPolicy, Step

COOL_DOWN = 300.0


def policy(*, code: bool = True) -> RollbackPolicy:
    return RollbackPolicy(COOL_DOWN, code=code)


def test_nothing_is_done_while_nothing_is_wrong() -> None:
    assert policy().decide([], 0.0) is None


def test_what_is_wrong_is_answered_at_once_with_the_first_level() -> None:
    found = policy()
    found.set("connect_failures", "6 % of connections fail")
    found.set("agent_timeouts", "4 % of runs time out")
    assert found.decide([], 0.0) == Step("flags", "6 % of connections fail; 4 % of runs time out")


def test_what_stays_wrong_is_answered_with_the_next_level_after_the_cool_down() -> None:
    found = policy()
    found.set("connect_failures", "bad")
    found.acted(0.0)
    assert found.decide(["flags"], COOL_DOWN - 1) is None
    assert found.decide(["flags"], COOL_DOWN) == Step("timeouts", "bad")
    found.acted(COOL_DOWN)
    assert found.decide(["flags", "timeouts"], 2 * COOL_DOWN) == Step("code", "bad")
    assert found.decide(LADDER, 2 * COOL_DOWN) is None


def test_what_was_measured_before_a_roll_back_does_not_say_whether_it_helped() -> None:
    found = policy()
    found.set("connect_failures", "bad", 2 * COOL_DOWN)
    assert found.decide([], 0.0) == Step("flags", "bad")
    found.acted(0.0)
    assert found.decide(["flags"], 2 * COOL_DOWN - 1) is None
    assert found.decide(["flags"], 2 * COOL_DOWN) == Step("timeouts", "bad")


def test_only_what_calls_for_it_by_then_is_the_reason() -> None:
    found = policy()
    found.acted(0.0)
    found.set("connect_failures", "bad", 2 * COOL_DOWN)
    found.set("cold starts", "three")
    assert found.decide(["flags"], COOL_DOWN) == Step("timeouts", "three")


def test_what_is_good_again_is_answered_no_more() -> None:
    found = policy()
    found.set("connect_failures", "bad")
    found.set("connect_failures", None)
    found.set("never said", None)
    assert found.decide([], 0.0) is None


def test_code_is_not_rolled_back_without_a_person_unless_the_settings_say_so() -> None:
    found = policy(code=False)
    found.set("connect_failures", "bad")
    assert found.decide(["flags", "timeouts"], 0.0) is None


def test_what_an_operator_rolled_back_already_is_not_done_again() -> None:
    found = policy()
    found.set("connect_failures", "bad")
    assert found.decide(["flags"], 0.0) == Step("timeouts", "bad")


def test_what_is_wrong_has_a_bound() -> None:
    found = policy()
    for number in range(MAX_TRIGGERS + 1):
        found.set(f"t{number}", "bad")
    found.set("t0", "worse")
    assert len(found.triggers) == MAX_TRIGGERS
    assert found.triggers["t0"] == "worse"


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_the_cool_down_ends_when_it_should(acted: float, later: float) -> None:
    found = policy()
    found.set("x", "bad")
    found.acted(acted)
    now = acted + later
    assert (found.decide([], now) is None) == (found.cooling(now) > 0)
    assert 0 <= found.cooling(now) <= COOL_DOWN + 1e-6 * now


class Obeyed(RuleBasedStateMachine):
    """Whatever goes wrong and is undone when: roll-backs are a cool-down apart, and none is done twice."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = policy()
        self.now = 0.0
        self.in_effect: list[Level] = []
        self.acted: list[float] = []
        self.wrong: set[str] = set()

    @rule(seconds=st.floats(0, 400))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=st.sampled_from("ab"), wrong=st.booleans())
    def say(self, name: str, wrong: bool) -> None:
        self.policy.set(name, "bad" if wrong else None)
        (self.wrong.add if wrong else self.wrong.discard)(name)

    @rule()
    def look(self) -> None:
        step = self.policy.decide(self.in_effect, self.now)
        if step is None:
            return
        assert self.wrong
        assert step.level not in self.in_effect
        assert not self.acted or self.now - self.acted[-1] >= COOL_DOWN * (1 - 1e-9)
        self.in_effect.append(step.level)
        self.acted.append(self.now)
        self.policy.acted(self.now)

    @rule()
    def undo(self) -> None:
        if self.in_effect:
            self.in_effect.pop()
            self.acted.append(self.now)
            self.policy.acted(self.now)

    @invariant()
    def knows_what_is_wrong(self) -> None:
        assert set(self.policy.triggers) == self.wrong


TestObeyed = Obeyed.TestCase
