from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from goldenpath.runtime.breaker import JITTER, BreakerPolicy, Call, CircuitBreaker, CircuitOpenError

POLICY = BreakerPolicy(slow_after=2.0, minimum_calls=4, window_calls=10, window=60.0, recovery=5.0, recovery_bound=30.0)


def breaker(policy: BreakerPolicy = POLICY, *, jitter: float = 0.0) -> CircuitBreaker:
    return CircuitBreaker(policy, lambda: jitter)


def state_of(circuit: CircuitBreaker) -> str:
    """Its state, asked anew each time."""
    return circuit.state


def fail(circuit: CircuitBreaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        circuit.failed(circuit.begin(now), now)


def answer(circuit: CircuitBreaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        circuit.answered(circuit.begin(now), now)


def refused(circuit: CircuitBreaker, now: float) -> float:
    """What the refused caller is told to wait."""
    with pytest.raises(CircuitOpenError) as told:
        circuit.begin(now)
    return told.value.retry_after


# --- opening ----------------------------------------------------------------------------------------------------------


def test_failures_open_it_and_fewer_than_the_least_number_do_not() -> None:
    circuit = breaker()
    fail(circuit, 0, 3)
    assert state_of(circuit) == "closed"
    fail(circuit, 0)
    assert state_of(circuit) == "open"
    assert refused(circuit, 1.0) == 4.0


def test_failures_below_the_rate_do_not_open_it() -> None:
    circuit = breaker()
    for _ in range(20):
        answer(circuit, 0, 3)
        fail(circuit, 0, 2)
    assert state_of(circuit) == "closed"


def test_old_failures_do_not_count() -> None:
    circuit = breaker()
    fail(circuit, 0, 3)
    fail(circuit, 60, 3)
    assert state_of(circuit) == "closed"
    fail(circuit, 61)
    assert state_of(circuit) == "open"


def test_slow_answers_open_it() -> None:
    circuit = breaker()
    for _ in range(4):
        circuit.answered(circuit.begin(0), 2.0)
    assert state_of(circuit) == "open"


def test_a_call_that_hangs_is_slow_before_it_ends() -> None:
    circuit = breaker()
    calls = [circuit.begin(0) for _ in range(4)]
    assert state_of(circuit) == "closed"
    assert refused(circuit, 2.0) == 5.0
    for call in calls:  # their ends come too late to say anything of the time now
        circuit.answered(call, 3.0)
        circuit.failed(call, 3.0)
    assert state_of(circuit) == "open"
    assert circuit.statistics(3.0).calls == 0


def test_an_answer_that_breaks_off_later_is_a_failure_and_counts_once() -> None:
    circuit = breaker()
    calls = [circuit.begin(0) for _ in range(4)]
    for call in calls:
        circuit.answered(call, 1.0)
        circuit.answered(call, 1.0)
    assert circuit.statistics(1.0).failures == 0
    for call in calls[:1] * 3:
        circuit.failed(call, 1.5)
    assert (circuit.statistics(1.5).calls, circuit.statistics(1.5).failures) == (4, 1)
    circuit.failed(calls[1], 1.5)
    assert state_of(circuit) == "open"


def test_a_cancelled_call_is_neither_success_nor_failure() -> None:
    circuit = breaker()
    for _ in range(50):
        circuit.dropped(circuit.begin(0), 0)
    fail(circuit, 0, 3)
    statistics = circuit.statistics(0)
    assert (statistics.calls, statistics.failures, statistics.under_way) == (3, 3, 0)


def test_who_gives_up_when_it_is_late_says_that_it_is_slow() -> None:
    circuit = breaker()
    for call in [circuit.begin(0) for _ in range(4)]:
        circuit.dropped(call, 2.0)
    assert state_of(circuit) == "open"


def test_of_a_caller_the_latest_outcome_counts() -> None:
    circuit = breaker()
    for _ in range(100):
        circuit.failed(circuit.begin(0, "ann"), 0)
    assert state_of(circuit) == "closed"
    for caller in ("bob", "cy", "dan"):
        circuit.answered(circuit.begin(0, caller), 0)
        circuit.answered(circuit.begin(0, caller), 0)
    assert circuit.statistics(0).calls == 4
    circuit.failed(circuit.begin(0, "bob"), 0)
    assert state_of(circuit) == "open"


# --- half-open --------------------------------------------------------------------------------------------------------


def half_open(jitter: float = 0.0) -> CircuitBreaker:
    circuit = breaker(jitter=jitter)
    fail(circuit, 0, 4)
    return circuit


def passing(circuit: CircuitBreaker, now: float, callers: int = 50) -> list[Call]:
    """Those of so many callers at once who are let through."""
    passed = []
    for _ in range(callers):
        try:
            passed.append(circuit.begin(now))
        except CircuitOpenError:
            continue
    return passed


def test_of_fifty_callers_one_passes_when_it_is_half_open() -> None:
    circuit = half_open()
    assert passing(circuit, 4.9) == []
    (probe,) = passing(circuit, 5.0)
    assert state_of(circuit) == "half_open"
    assert passing(circuit, 6.0) == []
    assert refused(circuit, 6.0) == 1.0  # until the probe is late
    circuit.answered(probe, 6.5)
    assert state_of(circuit) == "closed"
    assert len(passing(circuit, 6.5)) == 50


def test_a_cancelled_probe_leaves_its_place_to_the_next_call() -> None:
    circuit = half_open()
    for _ in range(3):
        (probe,) = passing(circuit, 5.0)
        circuit.dropped(probe, 5.0)
        assert state_of(circuit) == "half_open"


def test_a_probe_that_hangs_opens_it_again() -> None:
    circuit = half_open()
    (probe,) = passing(circuit, 5.0)
    assert passing(circuit, 7.0) == []
    assert state_of(circuit) == "open"
    circuit.answered(probe, 7.5)
    assert state_of(circuit) == "open"


def test_delays_grow_up_to_the_bound_and_begin_anew_when_it_stayed_closed() -> None:
    circuit = half_open()
    now, delays = 0.0, []
    for _ in range(6):
        delays.append(refused(circuit, now))
        now += delays[-1]
        fail(circuit, now)
    assert delays == [5.0, 10.0, 20.0, 24.0, 24.0, 24.0]
    now += refused(circuit, now)
    answer(circuit, now)
    fail(circuit, now, 4)
    assert refused(circuit, now) == 24.0  # it had just closed
    now += 24.0
    answer(circuit, now)
    now += 60.0
    fail(circuit, now, 4)
    assert refused(circuit, now) == 5.0


@given(st.floats(0, 1), st.integers(0, 20), st.floats(0.1, 60), st.floats(1, 20))
def test_every_delay_is_between_the_first_and_the_bound(jitter: float, times: int, first: float, more: float) -> None:
    circuit = breaker(BreakerPolicy(minimum_calls=1, recovery=first, recovery_bound=first * more), jitter=jitter)
    now = 0.0
    for _ in range(times + 1):
        fail(circuit, now)
        delay = circuit.statistics(now).retry_after
        assert delay is not None
        assert first * 0.999 <= delay <= max(first * more, first) * 1.001
        now += delay + 1e-6


def test_jitter_spreads_the_delays() -> None:
    assert refused(half_open(jitter=1.0), 0) == 5.0 * (1 + JITTER)


# --- an operator ------------------------------------------------------------------------------------------------------


def test_forced_open_refuses_all_and_forced_closed_lets_all_through() -> None:
    circuit = breaker()
    circuit.force("open", 0)
    assert passing(circuit, 1000.0) == []
    circuit.force("closed", 0)
    fail(circuit, 0, 50)
    assert len(passing(circuit, 0)) == 50
    circuit.force(None, 0)
    assert state_of(circuit) == "closed"
    fail(circuit, 0, 4)
    assert state_of(circuit) == "open"
    circuit.force(None, 1)
    assert len(passing(circuit, 1)) == 50


def test_what_may_be_forgotten() -> None:
    circuit = breaker()
    assert circuit.idle(0)
    call = circuit.begin(0)
    assert not circuit.idle(0)
    circuit.dropped(call, 0)
    assert circuit.idle(0)
    fail(circuit, 0, 4)
    assert not circuit.idle(34)
    assert circuit.idle(35)
    circuit.force("closed", 35)
    assert not circuit.idle(1000)


# --- at random --------------------------------------------------------------------------------------------------------


class Circuit(RuleBasedStateMachine):
    """A breaker, and a plain list of what happened to it."""

    @initialize(seed=st.integers(0, 1000), shared=st.booleans())
    def start(self, seed: int, shared: bool) -> None:
        self.circuit = CircuitBreaker(POLICY, Random(seed).random)
        self.now = 0.0
        self.shared = shared
        self.names = itertools.cycle("abcdefgh")
        self.calls: list[Call] = []
        self.probes: list[Call] = []

    def began(self) -> Call | None:
        before = self.circuit.statistics(self.now)
        try:
            call = self.circuit.begin(self.now, next(self.names) if self.shared else None)
        except CircuitOpenError as error:
            waits = error.retry_after
        else:
            assert before.retry_after is None
            if call.probe:
                self.probes.append(call)
            return call
        assert state_of(self.circuit) != "closed"
        assert 0 < waits <= POLICY.recovery_bound
        return None

    @rule()
    def begin(self) -> None:
        call = self.began()
        if call is not None:
            self.calls.append(call)

    @rule()
    def fifty_at_once(self) -> None:
        passed = [call for call in (self.began() for _ in range(50)) if call is not None]
        if state_of(self.circuit) == "half_open":
            assert len(passed) <= 1
        elif state_of(self.circuit) == "open":
            assert passed == []
        else:
            assert len(passed) == 50
        for call in passed:
            self.drop_one(call)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def answered(self, data: st.DataObject) -> None:
        call = self.take(data)
        was, state = self.is_now(call), state_of(self.circuit)
        self.circuit.answered(call, self.now)
        if state == "half_open" and was and self.now - call.began < 2:
            assert state_of(self.circuit) == "closed"
        if not was and state != "closed":
            assert state_of(self.circuit) == state
        self.closed_for_a_reason()

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def failed(self, data: st.DataObject) -> None:
        call = self.take(data)
        was, state = self.is_now(call), state_of(self.circuit)
        self.circuit.failed(call, self.now)
        if state == "half_open" and was:
            assert state_of(self.circuit) == "open"
        if state == "open":
            assert state_of(self.circuit) == "open"
        self.closed_for_a_reason()

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def dropped(self, data: st.DataObject) -> None:
        self.drop_one(self.take(data))

    def drop_one(self, call: Call) -> None:
        self.circuit.observe(self.now)
        before = self.circuit.statistics(self.now)
        self.circuit.dropped(call, self.now)
        after = self.circuit.statistics(self.now)
        assert (before.state, before.calls, before.failures, before.slow) == (
            after.state,
            after.calls,
            after.failures,
            after.slow,
        )

    def take(self, data: st.DataObject) -> Call:
        return self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1), label="call"))

    def is_now(self, call: Call) -> bool:
        """Whether it is the probe that is waited for."""
        return call is self.circuit._probe

    @rule(seconds=st.sampled_from([0.1, 1.0, 2.0, 5.0, 30.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(forced=st.sampled_from(["open", "closed", None]))
    def forced(self, forced: str | None) -> None:
        self.circuit.force("open" if forced == "open" else "closed" if forced else None, self.now)
        if forced == "open":
            assert passing(self.circuit, self.now) == []
        self.circuit.force(None, self.now)

    @invariant()
    def at_most_one_probe(self) -> None:
        """Of those that are under way and of this time."""
        generation = self.circuit._generation
        waiting = [call for call in self.probes if call.generation == generation and call in self.calls]
        assert len(waiting) <= 1

    @invariant()
    def sums_are_right_and_bounded(self) -> None:
        window = self.circuit._window
        assert len(window) <= POLICY.window_calls
        assert self.circuit._failures == sum(call.failed for call in window.values())
        assert self.circuit._slow == sum(call.slow for call in window.values())
        moments = [call.counted_at or 0.0 for call in window.values()]
        assert moments == sorted(moments)

    def closed_for_a_reason(self) -> None:
        window = self.circuit._window
        if state_of(self.circuit) == "closed" and len(window) >= POLICY.minimum_calls:
            assert self.circuit._failures < POLICY.failure_rate * len(window)
            assert self.circuit._slow < POLICY.slow_rate * len(window)


TestCircuit = Circuit.TestCase
