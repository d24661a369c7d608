"""What came of a scenario, from its stored directory alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from goldenpath.lab.history import HistoryError, path_of
from goldenpath.lab.level import Status
from goldenpath.lab.levels import resolve_levels
from goldenpath.lab.quantities import find
from goldenpath.lab.summary import ScenarioResult, compare, judge_directory
from goldenpath.lab.timeline import MAX_BINS, MAX_POINTS, SLOWEST, Timeline
from goldenpath.lab.verdict import Verdict
from tests.lab.made_run import ZERO, MadeRun, named, path_of_users


def measured(result: ScenarioResult, quantity: str) -> float | None:
    return find(quantity).of(result.facts).value


def test_a_run_in_which_all_goes_well_passes_and_every_number_is_that_of_its_records(tmp_path: Path) -> None:
    result = judge_directory(path_of_users(10, watched=True, cores=2).store(tmp_path))
    assert (result.verdict, result.doubts) == (Verdict.PASS, ())
    assert (result.operations, result.measured.events) == (50, 150)
    assert measured(result, "run.max") == pytest.approx(0.1, rel=1e-3)
    assert measured(result, "run.p50") == pytest.approx(0.05, rel=0.01)
    assert measured(result, "first_token.max") == pytest.approx(0.05, rel=1e-3)
    assert measured(result, "final_delivery.max") == pytest.approx(0.05, rel=1e-3)
    assert measured(result, "golden_path.max") == pytest.approx(0.12, rel=1e-3)
    assert measured(result, "success_rate") == 1
    assert measured(result, "memory_growth_mb") == 10
    assert measured(result, "memory_per_user_mb") == 1
    assert measured(result, "cpu_percent") == 25
    assert measured(result, "users_served") == 10
    assert measured(result, "connections_peak") == 10
    assert measured(result, "violations.delivery") == 0


def test_a_run_that_is_judged_again_says_the_same(tmp_path: Path) -> None:
    path_of_users(5, stays=4).ask(0, 3.0, lose=2).store(tmp_path)
    one, two = judge_directory(tmp_path), judge_directory(tmp_path)
    assert one.levels == two.levels
    assert one.findings == two.findings
    assert one.generator == two.generator


def test_one_lost_event_fails_the_run(tmp_path: Path) -> None:
    result = judge_directory(path_of_users(3, stays=4).ask(1, 3.0, lose=1).store(tmp_path))
    assert result.verdict is Verdict.FAIL
    assert named(result.levels, "delivery").status is Status.BROKEN
    assert named(result.levels, "isolation").status is Status.MET


def test_another_users_canary_fails_the_run(tmp_path: Path) -> None:
    result = judge_directory(path_of_users(3, stays=4).ask(1, 3.0, leaks=2).store(tmp_path))
    assert result.verdict is Verdict.FAIL
    assert measured(result, "violations.isolation.leak") == 2  # in the bytes, and in the text that they make


def test_a_history_in_which_nobody_did_anything_is_unknown(tmp_path: Path) -> None:
    result = judge_directory(MadeRun().note(0, "begun").store(tmp_path))
    assert result.verdict is Verdict.UNKNOWN
    assert "nobody did anything" in result.doubts
    assert all(level.status is Status.UNKNOWN for level in result.levels)


def test_a_level_without_samples_makes_the_run_unknown(tmp_path: Path) -> None:
    levels = resolve_levels(None, ["success=0", "users-success-floor=0"])
    run = MadeRun(levels=levels).arrive(0).operation(0, "ask", 0.1, 0.1, "fail", "busy")
    result = judge_directory(run.store(tmp_path))
    assert named(result.levels, "run-p99").status is Status.UNKNOWN
    assert result.verdict is Verdict.UNKNOWN


def test_what_was_never_tried_is_left_out_and_what_was_tried_in_vain_is_not(tmp_path: Path) -> None:
    without = judge_directory(MadeRun().operation(0, "connect", 0, 0.1).ask(0, 0.2).store(tmp_path / "a"))
    assert "nobody tried: login" in {left.why for left in without.left_out}
    assert all(level.level.name != "login" for level in without.levels)
    run = MadeRun().operation(0, "login", 0, 0.1, "fail", "refused").ask(0, 0.2)
    assert named(judge_directory(run.store(tmp_path / "b")).levels, "login").status is Status.UNKNOWN


def test_a_target_that_is_watched_and_was_not_seen_is_unknown(tmp_path: Path) -> None:
    run = MadeRun(watched=True).arrive(0).ask(0, 0.2)
    assert named(judge_directory(run.store(tmp_path / "a")).levels, "memory").status is Status.UNKNOWN
    run = MadeRun(watched=False).arrive(0).ask(0, 0.2)
    assert "memory" in {left.name for left in judge_directory(run.store(tmp_path / "b")).left_out}


def test_a_size_that_was_not_asked_for_is_not_missed(tmp_path: Path) -> None:
    result = judge_directory(path_of_users(5, "golden_path_50").store(tmp_path))
    assert result.verdict is Verdict.PASS
    assert named(result.left_out, "fifty-users").why == "a run of this size can reach 5 at most"


def test_the_levels_of_the_manifest_are_those_that_count(tmp_path: Path) -> None:
    result = judge_directory(path_of_users(3, levels=resolve_levels(None, ["run.max=0.001"])).store(tmp_path))
    assert named(result.levels, "run.max").status is Status.BROKEN
    assert result.verdict is Verdict.FAIL


def test_a_generator_that_cannot_keep_up_gives_no_verdict_on_times_but_on_violations(tmp_path: Path) -> None:
    late = MadeRun().arrive(0)
    for number in range(20):
        late.ask(0, 1 + number, 0.6, late=0.4)
    result = judge_directory(late.store(tmp_path / "late"))
    assert result.verdict is Verdict.UNKNOWN
    assert any(doubt.startswith("invalid: the lab was the bottleneck") for doubt in result.doubts)
    assert named(result.levels, "run-p99").status is Status.UNKNOWN
    assert named(result.levels, "delivery").status is Status.MET
    broken = judge_directory(late.ask(0, 30, lose=1).store(tmp_path / "broken"))
    assert broken.verdict is Verdict.FAIL


@pytest.mark.parametrize("kind", ["interrupted", "aborted", "target_lost", "crashed"])
def test_a_run_that_did_not_end_is_no_pass(tmp_path: Path, kind: str) -> None:
    result = judge_directory(path_of_users(3).note(5, kind, "why").store(tmp_path))  # type: ignore[arg-type]
    assert result.verdict is Verdict.UNKNOWN
    assert result.doubts[0].endswith(": why")


def test_a_damaged_history_is_judged_as_far_as_it_goes_and_is_no_pass(tmp_path: Path) -> None:
    path_of_users(3).store(tmp_path)
    with path_of(tmp_path, 1).open("ab") as file:
        file.write(b"\x00\x00\x00\x01\xc1")
    result = judge_directory(tmp_path)
    assert result.verdict is Verdict.UNKNOWN
    assert result.operations == 15
    assert "damaged" in result.doubts[0]
    with pytest.raises(HistoryError):
        judge_directory(tmp_path / "none")


def test_under_faults_recovery_is_judged_and_times_are_not(tmp_path: Path) -> None:
    run = MadeRun().arrive(0)
    for number in range(100):
        at = 0.1 * (number + 1)
        run.ask(0, at, 0.01) if not 3 <= at <= 5 else run.operation(0, "ask", at, 0.01, "fail", "disconnected")
    result = judge_directory(run.fault("kill@3", 3.0, 4.0).store(tmp_path))
    assert named(result.left_out, "run").why == "faults were injected"
    assert measured(result, "fault_recovery_seconds") == pytest.approx(1.0, abs=0.15)
    assert named(result.levels, "fault-recovery").status is Status.MET


def test_a_target_that_never_recovers_is_unknown(tmp_path: Path) -> None:
    run = MadeRun().arrive(0).ask(0, 0.1).fault("kill@3", 3.0, 4.0).operation(0, "ask", 5, 0.1, "fail", "disconnected")
    assert named(judge_directory(run.store(tmp_path)).levels, "fault-recovery").status is not Status.MET


def test_more_users_are_compared_with_one_where_both_were_run(tmp_path: Path) -> None:
    one = judge_directory(MadeRun("golden_path_1").arrive(0).ask(0, 1, 0.2).store(tmp_path / "1"))
    ten = MadeRun("golden_path_10", users=10)
    for user in range(10):
        ten.arrive(user).ask(user, 1, 0.25)
    alone = judge_directory(ten.store(tmp_path / "10"))
    assert all(level.level.name != "ten-users-degradation" for level in compare([alone])[0].levels)
    level = named(compare([one, alone])[1].levels, "ten-users-degradation")
    assert level.measured == pytest.approx(0.25, rel=0.02)
    assert level.status is Status.MISSED


def test_differences_that_nobody_notices_are_none(tmp_path: Path) -> None:
    one = judge_directory(MadeRun("golden_path_1").arrive(0).ask(0, 1, 0.002).store(tmp_path / "1"))
    ten = judge_directory(MadeRun("golden_path_10", users=1).arrive(0).ask(0, 1, 0.09).store(tmp_path / "10"))
    assert named(compare([one, ten])[1].levels, "ten-users-degradation").measured == 0


def test_fairness_is_the_worst_served_over_the_middle_and_who_floods_waits_for_themselves(tmp_path: Path) -> None:
    run = MadeRun("flooding_user", users=5)
    for user in range(5):
        run.arrive(user).ask(user, 1, 0.2 if user != 4 else 0.6).ask(user, 3, 0.2 if user != 4 else 0.6)
    for number in range(50):
        run.ask(0, 10 + number, 5.0)
    assert measured(judge_directory(run.store(tmp_path)), "fairness") == pytest.approx(3, rel=0.02)


def test_a_long_run_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    run = MadeRun().arrive(0)
    for number in range(5000):
        run.ask(0, number, 0.001 * (number + 1))
    timeline = judge_directory(run.store(tmp_path)).timeline
    assert isinstance(timeline, Timeline)
    assert len(timeline.bins) <= MAX_BINS
    assert (len(timeline.points), len(timeline.slowest), timeline.runs) == (MAX_POINTS, SLOWEST, 5000)
    assert sum(each.completed for each in timeline.bins.values()) == 5000
    assert max(point.seconds for point in timeline.slowest) == pytest.approx(5.0)
    assert timeline.zero == ZERO
