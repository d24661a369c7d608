from __future__ import annotations

import pytest

from goldenpath.lab.judge import Judge, judge
from goldenpath.lab.measurements import FLOOD, MOST_CODES, Measured, Measurements
from goldenpath.lab.records import Record
from tests.lab.histories import FORMAT, Script, asked, whole_run


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


def test_every_event_is_counted() -> None:
    assert measured(one_run()).events == 6


@pytest.mark.parametrize("piece", ["", None])
def test_pieces_in_which_nothing_is_are_no_answer(piece: str | None) -> None:
    script = Script()
    op = asked(script, answer=None)
    begin, start, content, *_, end, finished = whole_run()
    content["event"]["delta"] = piece
    script.send(begin, start, content, end, finished)
    script.complete(op)
    figures = measured(script.records)
    assert figures.durations["run"].count == 1
    assert not {"first_token", "final_delivery"} & figures.durations.keys()


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


def test_nothing_measured_is_nothing() -> None:
    assert measured([]) == Measured()


def test_what_a_flood_asks_is_counted_apart_and_its_times_are_nobodys() -> None:
    script = Script()
    script.note("flood_begun", "1")
    flood = script.invoke("ask", 1, run="flooding")
    other = script.invoke("ask", 2, run="calm")
    script.note("flood_ended", "1")
    script.complete(flood, "fail", "quota_exceeded")
    script.complete(other)
    script.complete(script.invoke("ask", 1, run="calm"))
    figures = measured(script.records)
    assert figures.outcomes == {FLOOD: {"quota_exceeded": 1}, "ask": {"ok": 2}}


def test_a_tick_tells_of_the_time_since_the_last() -> None:
    checker = Measurements()
    judge(FORMAT, [checker], one_run())
    first = checker.tick()
    assert (first.runs, first.failed) == (1, 0)
    assert first.first_token == pytest.approx(1.5)
    assert checker.tick().first_token is None


def test_a_tick_tells_of_first_tokens_before_their_runs_end() -> None:
    checker = Measurements()
    bench, ticks = Judge(FORMAT, [checker]), []
    for record in one_run():
        bench.take(record)
        ticks.append(checker.tick())
    told = [place for place, tick in enumerate(ticks) if tick.first_token is not None]
    assert [ticks[place].first_token for place in told] == [pytest.approx(1.5)]
    assert ticks[told[0]].runs == 0


def test_codes_that_a_target_invents_are_counted_together_from_some_number_on() -> None:
    script = Script()
    for number in range(3 * MOST_CODES):
        script.complete(script.invoke("ask", run=f"r{number}"), "fail", f"error-{number}", f"why {number}")
    script.complete(script.invoke("ask", run="long"), "fail", "x" * 10_000)
    script.complete(script.invoke("ask", run="again"), "fail", "error-0")
    script.complete(script.invoke("ask", run="late"), "info", "timeout")
    script.complete(script.invoke("ask", run="ok"))
    figures = measured(script.records)
    counts = figures.outcomes["ask"]
    assert len(counts) == MOST_CODES + 3
    assert counts["others"] == 2 * MOST_CODES + 1
    assert (counts["error-0"], counts["timeout"], counts["ok"]) == (2, 1, 1)
    assert figures.reasons["ask"]["others"] == f"why {MOST_CODES}"
    assert len(figures.reasons["ask"]) == MOST_CODES + 1


def test_a_code_is_kept_as_far_as_anybody_reads_it() -> None:
    script = Script()
    script.complete(script.invoke("ask", run="long"), "fail", "x" * 10_000)
    assert measured(script.records).outcomes["ask"] == {"x" * 80: 1}
