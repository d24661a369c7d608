"""A rate lets through what it says and nothing more, and whoever waits for `retry_after` is let through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.clock import ManualClock
from goldenpath.runtime.context import Principal
from goldenpath.runtime.rates import RateLimits
from goldenpath.runtime.settings import Rate, ServerRates, Settings, TierLimits
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import SessionId, UserId

NONE = ServerRates()
RATES = st.builds(Rate, st.floats(0.01, 1e6), st.floats(0.5, 1e6))
MAYBE = st.none() | RATES
TIERS = st.builds(TierLimits, commands=MAYBE, bytes=MAYBE, runs=MAYBE)
PAUSES = st.floats(0, 1000)
SIZES = st.integers(0, 1 << 20)


def principal(name: str = "ann", tier: str = "free") -> Principal:
    return Principal(UserId(name), SessionId("session"), 1e12, tier=tier)


def limits(
    clock: ManualClock,
    free: TierLimits,
    *,
    max_keys: int = 100,
    login_rate: Rate | None = None,
    login_failure_rate: Rate | None = None,
    server_rates: ServerRates = NONE,
) -> RateLimits:
    settings = Settings(
        tiers={"free": free}, login_rate=login_rate, login_failure_rate=login_failure_rate, server_rates=server_rates
    )
    return RateLimits(settings, clock, max_keys=max_keys)


def refusal(rates: RateLimits, size: int, runs: int = 0) -> RequestError | None:
    """How a command of ann's is refused; None: it is taken."""
    try:
        rates.command(principal(), size, runs=runs)
    except RequestError as refused:
        return refused
    return None


@given(st.lists(st.tuples(PAUSES, SIZES, st.integers(0, 1)), max_size=50), TIERS)
def test_whoever_waits_for_retry_after_is_not_refused_again(
    asked: list[tuple[float, int, int]], tier: TierLimits
) -> None:
    clock = ManualClock()
    rates = limits(clock, tier)
    for pause, size, runs in asked:
        clock.advance(pause)
        refused = refusal(rates, size, runs)
        if refused is not None:
            assert refused.code == "rate_limited"
            assert refused.retry_after is not None
            assert refused.retry_after > 0
            clock.advance(refused.retry_after)
            assert refusal(rates, size, runs) is None


@given(st.lists(PAUSES, max_size=100), RATES)
def test_no_more_goes_through_than_the_burst_and_the_rate(pauses: list[float], rate: Rate) -> None:
    clock = ManualClock()
    rates = limits(clock, TierLimits(commands=rate))
    taken = 0
    for pause in pauses:
        clock.advance(pause)
        taken += refusal(rates, 10) is None
        exact = max(1, rate.burst) + clock.monotonic() * rate.per_second
        assert taken <= exact + 1e-6 * max(1, rate.per_second)


@given(RATES, st.integers(1, 30))
def test_after_a_rest_a_whole_burst_goes_through(rate: Rate, rests: int) -> None:
    clock = ManualClock()
    rates = limits(clock, TierLimits(commands=rate))
    burst = min(int(rate.burst), 50)
    for _ in range(rests):
        for _ in range(burst):
            rates.command(principal(), 0)
        clock.advance(rate.burst / rate.per_second)


@given(st.integers(1, 1 << 20), RATES)
def test_what_is_larger_than_the_burst_goes_through_when_all_is_paid_for_and_is_paid_for_then(
    size: int, rate: Rate
) -> None:
    clock = ManualClock()
    rates = limits(clock, TierLimits(bytes=rate))
    rates.command(principal(), size)
    if size > rate.burst:
        with pytest.raises(RequestError) as refused:
            rates.command(principal(), size)
        assert refused.value.retry_after == pytest.approx(size / rate.per_second)


@given(TIERS)
def test_what_is_refused_takes_nothing(tier: TierLimits) -> None:
    """So the second refusal names the same time as the first."""
    clock = ManualClock()
    rates = limits(clock, tier)
    found = [refusal(rates, 1 << 20, runs=1) for _ in range(200)]
    assert len({refused.retry_after for refused in found if refused is not None}) <= 1


def test_users_have_rates_of_their_own_and_a_user_s_connections_share_one() -> None:
    rates = limits(ManualClock(), TierLimits(commands=Rate(1, 2)))
    rates.command(principal(), 0)
    rates.command(principal(), 0)
    with pytest.raises(RequestError, match="too many commands of yours"):
        rates.command(principal(), 0)
    rates.command(principal("bob"), 0)
    assert (rates.statistics().users, rates.statistics().commands_refused) == (2, 1)


def test_each_tier_has_its_own_and_an_unknown_one_those_of_free() -> None:
    settings = Settings(tiers={"free": TierLimits(runs=Rate(1, 1)), "more": TierLimits(runs=Rate(1, 2))})
    rates = RateLimits(settings, ManualClock())
    for name, tier, room in (("ann", "free", 1), ("bob", "more", 2), ("eve", "unknown", 1)):
        for _ in range(room):
            rates.command(principal(name, tier), 0, runs=1)
        with pytest.raises(RequestError, match="too many runs"):
            rates.command(principal(name, tier), 0, runs=1)
        rates.command(principal(name, tier), 0)  # which asks for no run
    assert rates.statistics().runs_refused == 3


@pytest.mark.parametrize("kind", ["commands", "bytes", "runs", "logins"])
def test_the_server_s_own_rate_is_everybody_s(kind: str) -> None:
    clock = ManualClock()
    rates = limits(clock, TierLimits(), server_rates=ServerRates(**{kind: Rate(2, 1)}))

    def ask(name: str) -> None:
        if kind == "logins":
            rates.login(name)
        else:
            rates.command(principal(name), 1, runs=1)

    ask("ann")
    with pytest.raises(RequestError, match=kind) as refused:
        ask("bob")
    assert (refused.value.code, refused.value.retry_after) == ("overloaded", 0.5)
    assert getattr(rates.statistics(), f"server_{kind}_refused") == 1
    clock.advance(0.5)
    ask("bob")


def test_log_ins_are_counted_by_e_mail() -> None:
    clock = ManualClock()
    rates = limits(clock, TierLimits(), login_rate=Rate(0.1, 3))
    for _ in range(3):
        rates.login("ann@example.org")
    with pytest.raises(RequestError) as refused:
        rates.login("ann@example.org")
    assert refused.value.code == "rate_limited"
    assert refused.value.retry_after == pytest.approx(10)
    rates.login("bob@example.org")
    clock.advance(10)
    rates.login("ann@example.org")
    assert (rates.statistics().emails, rates.statistics().logins_refused) == (2, 1)


def test_log_ins_that_failed_are_counted_by_address() -> None:
    clock = ManualClock()
    rates = limits(clock, TierLimits(), login_failure_rate=Rate(0.1, 3), max_keys=2)
    for _ in range(3):
        rates.check_address("10.0.0.1")
        rates.failed_from("10.0.0.1")
    with pytest.raises(RequestError, match="from your address") as refused:
        rates.check_address("10.0.0.1")
    assert refused.value.code == "rate_limited"
    assert refused.value.retry_after == pytest.approx(10)
    rates.check_address("10.0.0.2")
    rates.check_address(None)
    rates.failed_from(None)
    assert (rates.statistics().addresses, rates.statistics().addresses_refused) == (1, 1)
    clock.advance(10)
    rates.check_address("10.0.0.1")
    for address in ("10.0.0.2", "10.0.0.3"):
        rates.failed_from(address)
    assert rates.statistics().addresses == 2


def test_the_longer_wait_of_one_s_own_and_of_the_server_s_is_told() -> None:
    clock = ManualClock()
    rates = limits(clock, TierLimits(commands=Rate(1, 1)), server_rates=ServerRates(commands=Rate(0.5, 1)))
    rates.command(principal(), 0)
    with pytest.raises(RequestError) as refused:
        rates.command(principal(), 0)
    assert (refused.value.code, refused.value.retry_after) == ("rate_limited", 2)


def test_of_too_many_users_the_one_who_asked_least_lately_is_forgotten() -> None:
    rates = limits(ManualClock(), TierLimits(commands=Rate(1, 1)), max_keys=3, login_rate=Rate(1, 1))
    for number in range(100):
        rates.command(principal(f"user-{number}"), 0)
        rates.login(f"user-{number}")
    assert (rates.statistics().users, rates.statistics().emails) == (3, 3)
    for number in (97, 98, 99):
        with pytest.raises(RequestError):
            rates.command(principal(f"user-{number}"), 0)
    rates.command(principal("user-0"), 0)


def test_nothing_is_kept_where_nothing_is_limited() -> None:
    rates = limits(ManualClock(), TierLimits())
    for number in range(100):
        rates.command(principal(f"user-{number}"), 1 << 20, runs=1)
        rates.login("ann@example.org")
    assert (rates.statistics().users, rates.statistics().emails) == (0, 0)
