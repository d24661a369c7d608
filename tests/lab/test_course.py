"""When a run is as before: after a fault, and after the highest load."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import inf
from pathlib import Path

import pytest

from goldenpath.cli.lab_verdict import show_result
from goldenpath.lab.course import recovery_after_fault, recovery_after_load
from goldenpath.lab.level import Status
from goldenpath.lab.report import write_reports
from goldenpath.lab.summary import ScenarioResult, judge_directory
from goldenpath.lab.timeline import Timeline
from goldenpath.lab.verdict import Verdict
from tests.lab.made_run import MadeRun, named

FAULT_ENDS = 5.0


def course(bad: Iterable[tuple[float, float]], *, until: float = 20.0, fault: bool = True) -> MadeRun:
    """A question every tenth of a second, from 0.1 s to `until`. From one time of a pair to the other nothing is
    answered. The fault lasts from 4 s to 5 s."""
    run = MadeRun("sustained").arrive(0)
    for number in range(1, int(until * 10) + 1):
        at = number / 10
        if any(begin <= at < end for begin, end in bad):
            run.operation(0, "ask", at, 0.01, "fail", "disconnected")
        else:
            run.ask(0, at, 0.01)
    if fault:
        run.fault("kill@4", 4.0, FAULT_ENDS)
    return run


def after_fault(run: MadeRun, directory: Path) -> tuple[float | None, ScenarioResult]:
    result = judge_directory(run.store(directory))
    return recovery_after_fault(result.timeline), result


@pytest.mark.parametrize(
    ("bad", "until", "seconds"),
    [
        ([], 20, 0),
        ([(4, 5)], 20, 0),
        ([(4, 7)], 20, 2),
        ([(4, 7), (8, 9)], 20, 4),
        ([(4, 7), (13, 14)], 20, 2),
        ([(4, 7)], 8, 2),
        ([(4, 16)], 20, 11),
    ],
    ids=[
        "nothing fails",
        "at once",
        "later",
        "again, too early to be another matter",
        "and fails later, which is another matter",
        "shortly before the end",
        "late",
    ],
)
def test_recovered(bad: list[tuple[float, float]], until: float, seconds: float, tmp_path: Path) -> None:
    recovery, result = after_fault(course(bad, until=until), tmp_path)
    assert recovery == pytest.approx(seconds, abs=0.15)
    assert named(result.levels, "fault-recovery").status is Status.MET


def test_recovered_later_than_the_limit_fails(tmp_path: Path) -> None:
    recovery, result = after_fault(course([(4, 36)], until=42), tmp_path)
    assert recovery == pytest.approx(31, abs=0.15)
    assert named(result.levels, "fault-recovery").status is Status.BROKEN


@pytest.mark.parametrize("bad", [[(4, 99)], [(4, 12), (14, 99)]], ids=["never", "not for long"])
def test_never_recovered_fails_and_is_said_everywhere(
    bad: list[tuple[float, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    recovery, result = after_fault(course(bad), tmp_path / "run")
    assert recovery == inf
    assert named(result.levels, "fault-recovery").status is Status.BROKEN
    assert result.verdict is Verdict.FAIL
    show_result(Console(width=150), result)
    [line] = [line for line in capsys.readouterr().out.splitlines() if "fault-recovery" in line]
    assert line.split() == ["fault-recovery", "never", "12", "s", "30", "s", "broken"]
    write_reports(tmp_path / "out", [result])
    said = json.loads((tmp_path / "out" / "performance_report.json").read_text())["scenarios"][0]
    [level] = [each for each in said["service_levels"] if each["name"] == "fault-recovery"]
    assert (level["measured"], level["status"]) == (None, "broken")
    assert "service level fault-recovery: fault_recovery_seconds is never, the limit is 30 s" in said["reasons"]
    assert "never" in (tmp_path / "out" / "summary.md").read_text()


def share_fails(users: int, broken: int, *, until: float) -> MadeRun:
    """Ten users ask ten times a second, by turns; from the fault on, some of them in vain."""
    run = MadeRun("sustained", users=users).fault("reset~0.5@4", 4.0, 4.0)
    for user in range(users):
        run.arrive(user)
    for number in range(1, int(until * 10) + 1):
        at, user = number / 10, number % users
        if at > 4 and user < broken:
            run.operation(user, "ask", at, 0.01, "fail", "disconnected")
        else:
            run.ask(user, at, 0.01)
    return run


@pytest.mark.parametrize(("users", "broken", "until"), [(10, 3, 10.9), (10, 1, 20.9), (100, 1, 30.0)])
def test_a_share_of_users_that_keeps_failing_is_no_recovery(
    users: int, broken: int, until: float, tmp_path: Path
) -> None:
    """Between their failures others get answers, in the end for a while."""
    recovery, result = after_fault(share_fails(users, broken, until=until), tmp_path)
    assert recovery is None or recovery == inf
    assert named(result.levels, "fault-recovery").status is not Status.MET


def test_what_failed_as_often_before_is_as_before(tmp_path: Path) -> None:
    run = MadeRun("sustained").arrive(0).fault("kill@4", 4.0, 5.0)
    for number in range(1, 200):
        at = number / 10
        if number % 10 == 5 or 4 <= at < 7:
            run.operation(0, "ask", at, 0.01, "fail", "overloaded")
        else:
            run.ask(0, at, 0.01)
    recovery, _ = after_fault(run, tmp_path)
    assert recovery == pytest.approx(2, abs=0.15)


def test_slow_answers_are_not_as_before(tmp_path: Path) -> None:
    run = MadeRun("sustained").arrive(0)
    for number in range(1, 100):
        at = number / 10
        run.ask(0, at, 0.01 if at < 5 else 0.4)
    recovery, _ = after_fault(run.fault("kill@4", 4.0, 5.0), tmp_path)
    assert recovery == inf


def test_what_nobody_looked_for_is_unknown(tmp_path: Path) -> None:
    recovery, result = after_fault(course([], until=4.5), tmp_path)
    assert recovery is None
    assert named(result.levels, "fault-recovery").status is Status.UNKNOWN


def test_without_a_fault_there_is_nothing_to_recover_from(tmp_path: Path) -> None:
    recovery, result = after_fault(course([(4, 99)], fault=False), tmp_path)
    assert recovery is None
    assert named(result.left_out, "fault-recovery").why == "no fault was injected"


def test_who_gave_up_because_the_run_ended_says_nothing_of_the_target(tmp_path: Path) -> None:
    run = course([(4, 7)], until=9).operation(0, "ask", 9.1, 0.1, "info", "abandoned").note(9.2, "interrupted")
    recovery, result = after_fault(run, tmp_path)
    assert recovery == pytest.approx(2, abs=0.15)
    assert result.verdict is Verdict.UNKNOWN


def peak(bad: Iterable[tuple[float, float]], directory: Path) -> Timeline:
    """Twenty times as many questions as usual, from 5 s to 6 s."""
    run = course(bad, fault=False)
    for number in range(200):
        run.ask(0, 5 + number / 200, 0.01)
    return judge_directory(run.store(directory)).timeline


def test_after_the_highest_load(tmp_path: Path) -> None:
    assert recovery_after_load(peak([(6, 8)], tmp_path / "2")) == pytest.approx(2, abs=0.15)
    assert recovery_after_load(peak([(6, 99)], tmp_path / "never")) is None
