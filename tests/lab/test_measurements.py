from __future__ import annotations

import pytest

from goldenpath.lab.histogram import Histogram
from goldenpath.lab.judge import judge
from goldenpath.lab.measurements import Measured, Measurements, Second, merged
from goldenpath.lab.records import Record
from tests.lab.histories import FORMAT, Script, whole_run


def measured(records: list[Record]) -> Measured:
    checker = Measurements()
    (finding,) = judge(FORMAT, [checker], records)
    assert not finding.counts
    return checker.measured()


def one_run(*, user: int = 1, outcome: str = "success", wait: float = 0.0) -> list[Record]:
    """Intended at 99.5, begun at 100.002, its first piece at 101, its end at 102.5."""
    script = Script()
    script.now = 100.0 + wait
    connection = script.open(user)
    op = script.invoke("ask", user, intended=99.5 + wait, connection=connection, thread="t", run="r1")
    script.reply(op, connection=connection)
    lines = whole_run(outcome=outcome)
    script.now = 100.999 + wait
    script.send(*lines[:4], connection=connection, user=user)
    script.now = 102.499 + wait
    script.send(*lines[4:], connection=connection, user=user)
    script.complete(op)
    return script.records


def longest(figures: Measured, name: str) -> float:
    return figures.durations[name].highest


def test_durations_count_from_the_intended_start() -> None:
    figures = measured(one_run())
    assert longest(figures, "first_token") == pytest.approx(1.5)
    assert longest(figures, "run") == pytest.approx(3.0)
    assert longest(figures, "lag") == pytest.approx(0.502)
    assert figures.users[1].count == 1
    assert figures.first_tokens[101].count == 1


def test_what_happened_is_counted_in_its_second() -> None:
    figures = measured(one_run())
    assert figures.seconds[99] == Second(offered=1)
    assert figures.seconds[100] == Second(started=1)
    assert figures.seconds[101] == Second(events=4)
    assert figures.seconds[102] == Second(completed=1, events=2)
    assert figures.events == 6


def test_a_run_that_was_cut_short_has_no_run_time() -> None:
    figures = measured(one_run(outcome="cancelled"))
    assert "run" not in figures.durations
    assert longest(figures, "first_token") == pytest.approx(1.5)


def test_outcomes_by_their_codes() -> None:
    script = Script()
    for outcome, code in (("ok", ""), ("fail", "overloaded"), ("info", "timeout"), ("info", "")):
        script.complete(script.invoke("ask", run=code), outcome, code)  # type: ignore[arg-type]
    script.complete(script.invoke("login"))
    script.complete(script.invoke("connect"), "fail", "unreachable")
    figures = measured(script.records)
    assert figures.outcomes == {
        "ask": {"ok": 1, "overloaded": 1, "timeout": 1, "info": 1},
        "login": {"ok": 1},
        "connect": {"unreachable": 1},
    }
    assert "login" in figures.durations
    assert "connect" not in figures.durations
    assert sum(second.failed for second in figures.seconds.values()) == 3


def test_the_measurements_of_several_judges_add_up_to_those_of_one() -> None:
    records = [one_run(user=user, wait=user * 0.7) for user in range(5)]
    whole = merged([measured(own) for own in records])
    assert whole.events == 30
    assert whole.outcomes == {"ask": {"ok": 5}}
    assert whole.durations["run"].count == 5
    assert longest(whole, "run") == pytest.approx(3.0)
    assert whole.durations["run"].total == pytest.approx(15.0)
    assert sorted(whole.users) == [0, 1, 2, 3, 4]
    assert sum(second.completed for second in whole.seconds.values()) == 5
    assert Histogram.load(whole.durations["run"]).percentile(50) == pytest.approx(3.0, rel=0.01)


def test_nothing_measured_is_nothing() -> None:
    assert merged([]) == Measured() == merged([Measured(), Measured()])
    assert measured([]) == Measured()


def test_what_is_merged_stays_as_it_was() -> None:
    parts = [measured(one_run()), measured(one_run())]
    merged(parts)
    assert parts[0] == parts[1]


def test_a_tick_tells_of_the_time_since_the_last() -> None:
    checker = Measurements()
    judge(FORMAT, [checker], one_run())
    first = checker.tick()
    assert (first.runs, first.failed) == (1, 0)
    assert first.first_token == pytest.approx(1.5)
    assert checker.tick().first_token is None
