from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from goldenpath.clock import ManualClock
from goldenpath.runtime.breaker import BreakerPolicy, BreakerStatistics
from goldenpath.runtime.breakers import (
    BreakerChange,
    Breakers,
    DependencyCall,
)
from goldenpath.runtime.dependencies import DependencyUnavailableError, policies_of
from goldenpath.runtime.interfaces import StoreError
from goldenpath.runtime.settings import Settings
from goldenpath.wire.errors import RequestError

POLICIES = {"model": BreakerPolicy(slow_after=2.0, minimum_calls=4, recovery=5.0)}
USERS = [f"user-{number}" for number in range(4)]


class Site:
    """The breakers of a server, on a clock that stands still."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.breakers = Breakers(self.clock, lambda: 0.0, POLICIES, **options)
        self.changes: list[BreakerChange] = []
        self.breakers.listen(self.changes.append)

    def call(self, dependency: str = "model:m", tenant: str | None = None) -> DependencyCall:
        return self.breakers.call(dependency, tenant, what="the model")

    def end(
        self, error: BaseException | None = None, tenant: str | None = None, dependency: str = "model:m", times: int = 1
    ) -> None:
        for _ in range(times):
            call = self.call(dependency, tenant)
            call.__enter__()
            call.__exit__(None, error, None)

    def refused(self, tenant: str | None = None, dependency: str = "model:m") -> DependencyUnavailableError:
        with pytest.raises(DependencyUnavailableError) as told, self.call(dependency, tenant):
            raise AssertionError("it was let through")
        return told.value

    def shared(self, dependency: str = "model:m") -> BreakerStatistics:
        (view,) = (view for view in self.breakers.snapshot() if view.dependency == dependency)
        return view.breaker


DOWN = RequestError("upstream_unavailable", "down")


# --- what counts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        DOWN,
        RequestError("timeout", "late"),
        StoreError("full"),
        ConnectionRefusedError(),
        TimeoutError(),
        KeyError("x"),
    ],
    ids=repr,
)
def test_failures(error: Exception) -> None:
    site = Site()
    site.end(error)
    assert (site.shared().calls, site.shared().failures) == (1, 1)


@pytest.mark.parametrize("code", ["bad_request", "not_configured", "forbidden", "unauthorized", "payload_too_large"])
def test_a_refusal_is_an_answer(code: Any) -> None:
    site = Site()
    site.end(RequestError(code, "no"))
    assert (site.shared().calls, site.shared().failures) == (1, 0)


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), GeneratorExit(), KeyboardInterrupt(), DependencyUnavailableError("d", "d", 1.0)]
)
def test_what_says_nothing_of_the_dependency(error: BaseException) -> None:
    site = Site()
    site.end(error)
    assert (site.shared().calls, site.shared().under_way) == (0, 0)


def test_a_stream_is_judged_by_its_beginning_and_may_still_fail() -> None:
    site = Site()
    with site.call() as call:
        site.clock.advance(1.0)
        call.answered()
        site.clock.advance(3600.0)
        call.answered()
    breaking = site.call()
    with breaking:
        breaking.answered()
        breaking.__exit__(ConnectionError, ConnectionError(), None)
    shared = site.shared()
    assert (shared.failures, shared.slow) == (1, 0)


# --- users ------------------------------------------------------------------------------------------------------------


def test_a_user_whose_calls_fail_is_refused_alone() -> None:
    site = Site()
    site.end(DOWN, "ann", times=4)
    error = site.refused("ann")
    assert (error.code, error.retry_after, error.dependency) == ("upstream_unavailable", 5.0, "model:m")
    assert "the model" in error.message
    assert "model:m" not in error.message
    for user in USERS:
        site.end(None, user)
    assert site.shared().state == "closed"


def test_what_is_down_is_noticed_for_everybody() -> None:
    site = Site()
    for user in USERS:
        site.end(DOWN, user)
    site.refused("somebody-new")
    site.refused(USERS[0])
    (view,) = site.breakers.snapshot()
    assert (view.breaker.state, view.tenants, view.tenants_refused) == ("open", 4, 0)


def test_one_of_fifty_users_probes_it() -> None:
    site = Site()
    for user in USERS:
        site.end(DOWN, user)
    site.clock.advance(5.0)
    with site.call(tenant="somebody"):
        for number in range(50):
            site.refused(f"new-{number}")
    for number in range(50):
        site.end(None, f"new-{number}")


def test_a_user_who_is_refused_takes_no_probe() -> None:
    site = Site()
    site.end(DOWN, "ann", times=4)
    for user in USERS[:3]:
        site.end(DOWN, user)
    site.clock.advance(4.9)
    site.breakers.force("model:m", "open", "ann")
    site.clock.advance(0.2)
    site.refused("ann")
    site.end(None, "bob")
    assert site.shared().state == "closed"


def test_another_dependency_is_another_matter() -> None:
    site = Site()
    site.end(DOWN, times=4)
    site.refused()
    site.end(dependency="model:other", times=4)
    site.end(dependency="tool:m", times=4)


# --- who is never refused ---------------------------------------------------------------------------------------------


def test_it_closes_when_it_was_seen_to_work() -> None:
    site = Site()
    site.breakers.saw("model:m", 0.0, failed=False)
    for _ in range(4):
        site.breakers.saw("model:m", 0.0, failed=True)
    site.refused()
    site.breakers.saw("model:m", 0.0, failed=True)
    site.refused()
    site.breakers.saw("model:m", 0.0, failed=False)
    site.end()
    assert [change.state for change in site.changes] == ["open", "closed"]
    site.breakers.force("model:m", "open")
    site.breakers.saw("model:m", 0.0, failed=False)
    site.refused()


def test_what_is_never_refused_counts_as_well_as_badly() -> None:
    site = Site()
    for _ in range(20):
        site.breakers.saw("model:m", site.clock.monotonic(), failed=True)
        for _ in range(2):
            site.breakers.saw("model:m", site.clock.monotonic(), failed=False)
    assert (site.shared().state, site.breakers.statistics().failures) == ("closed", 20)
    site.clock.advance(61.0)
    for _ in range(4):
        site.breakers.saw("model:m", site.clock.monotonic() - 2.0, failed=False)
    assert site.shared().state == "open"  # slow


def test_nobody_counts_as_refused_where_the_next_call_would_be_the_probe() -> None:
    site = Site()
    for user in USERS[:3]:
        site.end(DOWN, user, times=4)
    site.end(DOWN, USERS[3])

    def told() -> tuple[int, int, list[str], int]:
        now, (view,) = site.breakers.statistics(), site.breakers.snapshot()
        return now.shared_open, now.open, site.breakers.refused(), view.tenants_refused

    assert told() == (1, 3, ["model:m"], 3)
    site.clock.advance(5.0)  # on a server where nobody calls it again
    assert told() == (0, 0, [], 0)
    with site.call():
        assert (told()[0], site.breakers.is_open("model:m")) == (1, True)  # one probes: nobody else may
    assert told()[0] == 0


def test_it_is_not_open_any_more_when_it_may_be_probed() -> None:
    site = Site()
    assert not site.breakers.is_open("model:m")
    site.end(DOWN, times=4)
    assert site.breakers.is_open("model:m")
    site.clock.advance(5.0)
    assert not site.breakers.is_open("model:m")


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_the_one_that_was_used_longest_ago_is_forgotten_first() -> None:
    site = Site(limit=4)
    for number in range(100):
        site.end(None, f"user-{number}")
    statistics = site.breakers.statistics()
    assert (statistics.breakers, statistics.untracked) == (4, 0)


def test_what_matters_is_not_forgotten_and_the_others_are_let_through() -> None:
    site = Site(limit=3)
    for user in USERS:
        site.end(None, user)
    for user in ("ann", "bob"):
        site.end(DOWN, user, times=4)
    for number in range(100):
        site.end(None, f"user-{number}")
    site.refused("ann")
    site.refused("bob")
    statistics = site.breakers.statistics()
    assert (statistics.breakers, statistics.untracked) == (3, 100)
    site.clock.advance(5.0 + 30.0)  # nobody came back for so long: forgotten is as good as closed
    site.end(None, "user-0")
    assert site.breakers.statistics().untracked == 100


# --- operators --------------------------------------------------------------------------------------------------------


def test_an_operator_may_force_one_and_reset_it() -> None:
    site = Site()
    with pytest.raises(LookupError):
        site.breakers.force("model:m", "open")
    site.end()
    assert site.breakers.force("model:m", "open").forced == "open"
    assert site.breakers.is_open("model:m")
    site.refused()
    site.breakers.force("model:m", "closed")
    site.end(DOWN, times=10)
    assert not site.breakers.is_open("model:m")
    site.breakers.force("model:m", None)
    site.end(DOWN, times=4)
    assert site.breakers.is_open("model:m")
    site.breakers.force("model:m", None)
    site.end()


def test_changes_are_logged_and_told_and_counted() -> None:
    site = Site()

    def fault(_: BreakerChange) -> None:
        raise ZeroDivisionError

    site.breakers.listen(fault)
    with capture_logs() as logs:
        site.end(DOWN, times=4)
        site.clock.advance(5.0)
        site.end()
    assert [(change.before, change.state) for change in site.changes] == [
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "closed"),
    ]
    told = [line["state"] for line in logs if line["event"] == "breaker_changed"]
    assert told == ["open", "half_open", "closed"]
    site.end(DOWN, times=4)
    site.refused()
    statistics = site.breakers.statistics()
    assert (statistics.calls, statistics.failures, statistics.refused, statistics.opened) == (9, 8, 1, 2)
    assert (statistics.shared_open, statistics.open) == (1, 0)


def test_while_they_are_switched_off_nobody_is_told_to_be_refused_and_nothing_is_judged() -> None:
    site = Site()
    site.end(DOWN, times=4)
    site.breakers.switch(on=False)
    site.end()
    for _ in range(4):
        site.breakers.saw("database:write", site.clock.monotonic(), failed=True)
    statistics = site.breakers.statistics()
    assert (statistics.shared_open, statistics.opened, site.breakers.refused()) == (0, 1, [])
    site.breakers.switch(on=True)
    assert site.breakers.statistics().shared_open == 1
    site.refused()


def test_one_that_hangs_is_seen_by_who_looks() -> None:
    site = Site()
    calls = [site.call() for _ in range(4)]
    for call in calls:
        call.__enter__()
    site.clock.advance(2.0)
    assert site.shared().state == "open"
    assert len(site.changes) == 1


@pytest.mark.parametrize(
    ("environment", "first", "bound"),
    [("local", 5, 10), ("testing", 5, 10), ("staging", 10, 30), ("production", 10, 30)],
)
def test_recovery_depends_on_the_environment(environment: Any, first: float, bound: float) -> None:
    for policy in policies_of(Settings(environment=environment)).values():
        assert (policy.recovery, policy.recovery_bound) == (first, bound)


def test_recovery_may_be_set() -> None:
    policies = policies_of(Settings(breaker_recovery=40.0, slow_model=7.0))
    assert (policies["model"].recovery, policies["model"].recovery_bound, policies["model"].slow_after) == (40, 40, 7)


def test_switched_off_breakers_let_everything_through_and_go_on_afterwards() -> None:
    site = Site()
    site.end(DOWN, times=4)
    site.refused()
    assert site.breakers.is_open("model:m")
    site.breakers.switch(on=False)
    site.end(DOWN, times=10)
    assert not site.breakers.is_open("model:m")
    site.breakers.switch(on=True)
    site.refused()
