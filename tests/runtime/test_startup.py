"""What a server depends on is looked at all at once, within time-outs, until it is there or the grace is over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from goldenpath.clock import ManualClock
from goldenpath.runtime.deadlines import Deadlines
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.startup import (
    LAST_RETRY,
    RECHECK,
    Check,
    DefiniteNo,
    Doubt,
    NotSo,
    NotYet,
    Startup,
    StartupError,
    StartupState,
)
from goldenpath.runtime.timeouts import CurrentTimeouts
from tests.runtime.runs import turns, until


class Dependency:
    """Answers what it is told to; None: not at all. `looks` is how often it was looked at."""

    def __init__(self, *answers: str | NotSo | None) -> None:
        self._answers = list(answers)
        self.looks = 0

    async def look(self) -> str:
        self.looks += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, NotSo):
            raise answer
        assert answer is not None
        return answer


def deadlines_of(clock: ManualClock, **seconds: float) -> Deadlines:
    chosen = {"api_response": 1.0, "health_check": 2.0, "startup": 3.0, "health_wait": 10.0, **seconds}
    return Deadlines(
        clock, CurrentTimeouts(msgspec.structs.replace(Settings(environment="testing").timeouts, **chosen))
    )


def startup(clock: ManualClock, *checks: Check, patient: bool = True) -> Startup:
    return Startup(checks, deadlines_of(clock), patient=patient)


def verdicts(started: Startup) -> list[str]:
    return [finding.verdict for finding in started.findings()]


async def test_required_checks_are_made_at_once_and_a_definite_no_is_told_in_one_line() -> None:
    good, bad, later = Dependency("there"), Dependency(DefiniteNo("broken", "mend it")), Dependency("there")
    started = startup(
        ManualClock(),
        Check("good", good.look, required=True),
        Check("bad", bad.look, required=True),
        Check("later", later.look, required=False),
    )
    with pytest.raises(StartupError, match=r"^bad: broken: mend it$"):
        await started.require()
    assert (good.looks, bad.looks, later.looks) == (1, 1, 0)
    assert verdicts(started) == ["ok", "problem", "waiting"]


async def test_a_doubt_about_what_is_required_stops_nothing() -> None:
    started = startup(ManualClock(), Check("space", Dependency(Doubt("little", "make room")).look, required=True))
    await started.require()
    assert verdicts(started) == ["warning"]


async def test_a_required_check_that_hangs_ends_the_start_at_its_time_out() -> None:
    clock = ManualClock()
    started = startup(clock, Check("slow", Dependency(None).look, required=True))
    requiring = asyncio.create_task(started.require())
    await turns()
    clock.advance(2.0)
    with pytest.raises(StartupError, match="slow: no answer within 2 s"):
        await requiring


async def test_what_comes_up_within_the_grace_is_never_a_problem_and_not_looked_at_again() -> None:
    clock, model = ManualClock(), Dependency(NotYet("down"), None, NotYet("down"), "answers")
    started = startup(clock, Check("model", model.look, required=False))
    watching = asyncio.create_task(started.watch())
    seen = set()
    for _ in range(60):
        await turns()
        seen.add((verdicts(started)[0], started.ready))
        clock.advance(0.1)
    await watching
    assert seen == {("waiting", False), ("ok", True)}
    clock.advance(1000)
    await turns()
    assert model.looks == 4


async def test_what_is_missing_when_the_grace_is_over_is_a_problem_until_it_is_there() -> None:
    clock, model = ManualClock(), Dependency(*[NotYet("down")] * 7, "answers")
    started = startup(clock, Check("model", model.look, required=False))
    watching = asyncio.create_task(started.watch())
    for _ in range(110):
        await turns()
        clock.advance(0.1)
    assert verdicts(started) == ["problem"]
    assert started.ready  # the rest of its work goes on
    assert started.statistics().failed == 1
    looks = model.looks
    while verdicts(started) == ["problem"]:
        clock.advance(RECHECK)
        await turns()
    assert model.looks > looks
    await watching
    assert started.statistics().failed == 0


async def test_a_definite_no_is_a_problem_at_once_whatever_the_grace() -> None:
    clock = ManualClock()
    started = startup(clock, Check("model", Dependency(DefiniteNo("401"), "answers").look, required=False))
    watching = asyncio.create_task(started.watch())
    await until(lambda: verdicts(started) == ["problem"])
    clock.advance(RECHECK)
    await watching
    assert verdicts(started) == ["ok"]


async def test_where_people_build_the_server_waits_for_nothing() -> None:
    started = startup(ManualClock(), Check("model", Dependency(None).look, required=False), patient=False)
    assert verdicts(started) == ["waiting"]
    assert started.ready


async def test_one_that_hangs_keeps_nobody_else_waiting() -> None:
    clock, hangs, there = ManualClock(), Dependency(None), Dependency("there")
    started = startup(clock, Check("hangs", hangs.look, required=False), Check("there", there.look, required=False))
    watching = asyncio.create_task(started.watch())
    await until(lambda: there.looks)
    await turns()
    assert verdicts(started) == ["waiting", "ok"]
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


RESULTS = st.sampled_from(["ok", DefiniteNo("no"), NotYet("not yet"), Doubt("perhaps")])


@given(results=st.lists(st.tuples(st.floats(0.0, 20.0), RESULTS), max_size=30), grace=st.floats(0.0, 60.0))
def test_waiting_ends_with_the_grace_and_looks_are_never_far_apart(
    results: Sequence[tuple[float, str | NotSo]], grace: float
) -> None:
    state, now = StartupState(["it"], grace), 0.0
    for pause, result in results:
        now += pause
        retry = state.found("it", result, now)
        verdict = state.findings["it"].verdict
        assert (retry is None) == (verdict in ("ok", "warning"))
        if verdict == "waiting":
            assert retry is not None
            assert isinstance(result, NotYet)
            assert 0 < retry <= LAST_RETRY
            assert now + retry <= grace
        elif verdict == "problem":
            assert retry == RECHECK
        assert state.settled == (verdict != "waiting")


async def test_the_time_outs_are_those_in_force_when_the_start_begins() -> None:
    clock = ManualClock()
    deadlines = deadlines_of(clock)
    started = Startup([Check("slow", Dependency(None).look, required=True)], deadlines, patient=True)
    deadlines.timeouts.replace(Settings(environment="production").timeouts, "rolled back")
    started.begin()
    requiring = asyncio.create_task(started.require())
    await turns()
    clock.advance(19.0)
    await turns()
    assert not requiring.done()
    clock.advance(2.0)
    with pytest.raises(StartupError):
        await requiring


async def test_the_grace_counts_from_the_start_and_not_from_when_the_server_was_made() -> None:
    clock = ManualClock()
    started = startup(clock, Check("model", Dependency(NotYet("down")).look, required=False))
    clock.advance(3600)  # the app that it is mounted in takes its time
    started.begin()
    watching = asyncio.create_task(started.watch())
    await turns()
    assert verdicts(started) == ["waiting"]
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_look_and_a_service_that_take_too_long_are_counted_once_each() -> None:
    clock, missing = ManualClock(), Dependency(None, NotYet("down"))
    deadlines = deadlines_of(clock)
    started = Startup([Check("model", missing.look, required=False)], deadlines, patient=True)
    watching = asyncio.create_task(started.watch())
    await turns()
    for _ in range(5):
        clock.advance(LAST_RETRY)
        await turns()
    clock.advance(RECHECK)
    await turns()
    assert verdicts(started) == ["problem"]
    fired = deadlines.statistics()
    assert (fired.health_check, fired.health_wait, fired.startup) == (1, 1, 0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_round_of_checks_that_takes_too_long_is_told_and_counted() -> None:
    clock = ManualClock()
    deadlines = deadlines_of(clock, startup=2.0)
    started = Startup([Check("slow", Dependency(None).look, required=True)], deadlines, patient=True)
    requiring = asyncio.create_task(started.require())
    await turns()
    clock.advance(2.0)
    with pytest.raises(StartupError, match="the start was not done within 2 s"):
        await requiring
    assert deadlines.statistics().startup == 1


async def test_the_whole_start_bounds_the_wait_for_services_and_is_counted_once() -> None:
    clock = ManualClock()
    deadlines = deadlines_of(clock, orchestration=10.0, health_wait=9.0)
    checks = [Check(name, Dependency(NotYet("down")).look, required=False) for name in ("model", "provider")]
    started = Startup(checks, deadlines, patient=True)
    clock.advance(4.0)  # what the server cannot do without took long: 6 s are left
    watching = asyncio.create_task(started.watch())
    for _ in range(12):
        await turns()
        assert not started.ready or verdicts(started) == ["problem", "problem"]
        clock.advance(0.5)
    assert started.ready
    await turns()
    fired = deadlines.statistics()
    assert (fired.orchestration, fired.health_wait) == (1, 2)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_look_under_way_when_the_time_of_the_start_is_over_keeps_no_traffic_away() -> None:
    clock = ManualClock()
    deadlines = deadlines_of(clock, startup=6.0, orchestration=6.0, health_wait=6.0, health_check=5.0)
    started = Startup([Check("model", Dependency(NotYet("down"), None).look, required=False)], deadlines, patient=True)
    watching = asyncio.create_task(started.watch())
    for _ in range(2):
        await turns()
        assert not started.ready
        clock.advance(3.0)
    assert (started.ready, verdicts(started)) == (True, ["problem"])
    clock.advance(RECHECK)
    await turns()
    assert deadlines.statistics().health_wait == 1
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


class Broken:
    """A check with a fault of its own."""

    async def look(self) -> str:
        raise UnicodeError("sk-secret")


async def test_a_check_that_fails_by_a_fault_is_a_problem_and_keeps_nobody_waiting() -> None:
    clock, there = ManualClock(), Dependency("there")
    started = startup(
        clock, Check("model", Broken().look, required=False), Check("provider", there.look, required=False)
    )
    watching = asyncio.create_task(started.watch())
    with capture_logs() as logs:
        await until(lambda: started.ready)
    assert verdicts(started) == ["problem", "ok"]
    assert started.findings()[0].found == "it could not be looked at (UnicodeError)"
    assert logs[0]["event"] == "check_failed"
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_fault_in_what_is_required_ends_the_start_with_one_line() -> None:
    started = startup(ManualClock(), Check("database", Broken().look, required=True))
    with capture_logs(), pytest.raises(StartupError, match=r"^database: it could not be looked at \(UnicodeError\)"):
        await started.require()
