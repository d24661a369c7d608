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
    assert measured(result, "round_trip_seconds") == 0.004
    assert measured(result, "users_served") == 10
    assert measured(result, "connections_peak") == 10
    assert measured(result, "violations.delivery") == 0


def soak(*readings: tuple[float, float], until: float) -> MadeRun:
    """A long load with so much memory at these times."""
    run = path_of_users(2, "soak", stays=until, watched=True, cores=2)
    for at, memory in readings:
        run.sample(at, memory_mb=memory)
    return run.ask(0, until - 1)


def test_what_fills_caches_in_the_first_minutes_is_no_growth(tmp_path: Path) -> None:
    good = judge_directory(soak((100, 300), (299, 400), (1200, 430), (2090, 420), until=2100).store(tmp_path / "1"))
    assert measured(good, "memory_drift_percent") == pytest.approx(5)
    assert named(good.levels, "memory-growth-share").status == Status.MET
    bad = judge_directory(soak((100, 300), (299, 400), (1200, 430), (2090, 448), until=2100).store(tmp_path / "2"))
    assert measured(bad, "memory_drift_percent") == pytest.approx(12)
    assert named(bad.levels, "memory-growth-share").status == Status.BROKEN


def test_a_load_that_is_shorter_than_that_says_nothing_of_growth(tmp_path: Path) -> None:
    result = judge_directory(soak((100, 300), (290, 900), until=295).store(tmp_path))
    level = next(each for each in result.left_out if each.name == "memory-growth-share")
    assert "caches fill for 300 s" in level.why


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
    assert measured(result, "violations.isolation.leak") == 1


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


def test_of_somebody_elses_server_metrics_are_read_and_its_processes_are_not_watched(tmp_path: Path) -> None:
    run = MadeRun().arrive(0).ask(0, 0.2).sample(0.5, connections=1.0)
    result = judge_directory(run.store(tmp_path))
    assert named(result.left_out, "memory").why == "the target's processes are not watched"
    assert result.verdict is Verdict.PASS


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


@pytest.mark.parametrize(
    ("took", "late", "limit", "verdict", "doubt"),
    [
        (0.09, 0.04, 0.1, Verdict.PASS, ""),
        (0.13, 0.04, 0.1, Verdict.UNKNOWN, "breaks its limit, 100 ms, by less than the lab itself was late"),
        (0.15, 0.04, 0.1, Verdict.FAIL, ""),
        (0.2, 0.06, 0.3, Verdict.UNKNOWN, "invalid: the lab was the bottleneck: 2 of 20 iterations began 60"),
        (0.4, 0.06, 0.3, Verdict.FAIL, ""),
        (0.2, 0.09, 1, Verdict.PASS, ""),
        (0.2, 0.11, 1, Verdict.UNKNOWN, "or later; 100 ms would do no harm"),
        (2.0, 0.35, 3, Verdict.PASS, ""),
        (2.0, 0.45, 3, Verdict.UNKNOWN, "or later; 400 ms would do no harm"),
    ],
    ids=[
        "kept in spite of it",
        "broken, maybe by it",
        "broken in spite of it",
        "too much",
        "little of long runs",
        "little of the tightest level",
        "much of the tightest level",
        "a little of long runs",
        "too much of long runs",
    ],
)
def test_how_late_the_lab_may_be(
    took: float, late: float, limit: float, verdict: Verdict, doubt: str, tmp_path: Path
) -> None:
    """Both bounds of `goldenpath.lab.generator`."""
    levels = resolve_levels(None, [f"run.p95={limit}"])
    run = MadeRun(levels=[level for level in levels if level.quantity == "run.p95"]).arrive(0)
    for number in range(20):
        run.ask(0, 1 + 3 * number, took, late=late)
    result = judge_directory(run.store(tmp_path))
    assert result.verdict is verdict
    assert doubt in " ".join(result.doubts)
    assert bool(doubt) == bool(result.doubts)


@pytest.mark.parametrize(
    ("iterations", "late", "said"),
    [
        (20, 1, ""),  # the latest of a few: any single stall
        (20, 2, "2 of 20 iterations began 300 ms late or later; 200 ms would do no harm; try a quieter machine"),
        (1, 1, ""),
        (150, 1, ""),
        (150, 2, "1 of 100 iterations began 300 ms late or later; 70 ms would do no harm"),
    ],
)
def test_of_few_iterations_the_single_latest_decides_nothing_and_limits_count(
    iterations: int, late: int, said: str, tmp_path: Path
) -> None:
    levels = resolve_levels(None, ["run.p95=0.1,2"])
    run = MadeRun(levels=[level for level in levels if level.quantity == "run.p95"]).arrive(0)
    for number in range(iterations):
        run.ask(0, 1 + number, 0.35, first=0.32, late=0.3 if number < late else 0.001)
    result = judge_directory(run.store(tmp_path))
    assert said in result.generator.bottleneck
    assert bool(said) == bool(result.generator.bottleneck)


@pytest.mark.parametrize("kind", ["interrupted", "aborted", "target_lost", "crashed"])
def test_a_run_that_did_not_end_is_no_pass(tmp_path: Path, kind: str) -> None:
    result = judge_directory(path_of_users(3).note(5, kind, "why").store(tmp_path))  # type: ignore[arg-type]
    assert result.verdict is (Verdict.FAIL if kind == "aborted" else Verdict.UNKNOWN)
    assert result.doubts[0].endswith(": why")


def test_what_happened_last_in_a_lab_that_was_killed_breaks_no_level_but_those_of_tolerance_0(tmp_path: Path) -> None:
    """Its own server dies with it, and what is under way fails."""
    for lose, verdict in ((0, Verdict.UNKNOWN), (1, Verdict.FAIL)):
        run = MadeRun().arrive(0).ask(0, 1, lose=lose)
        for number in range(10):
            run.operation(0, "ask", 2 + number / 10, 0.01, "info", "disconnected")
        assert judge_directory(run.store(tmp_path / f"whole-{lose}")).verdict is Verdict.FAIL
        result = judge_directory(run.store(tmp_path / f"killed-{lose}", ended=False))
        assert result.verdict is verdict
        broken = {level.level.quantity for level in result.levels if level.status is Status.BROKEN}
        assert broken == ({"violations", "violations.delivery"} if lose else set())


def test_a_damaged_history_is_judged_as_far_as_it_goes_and_is_no_pass(tmp_path: Path) -> None:
    path = path_of(path_of_users(3).store(tmp_path), 1)
    with path.open("ab") as file:
        file.write(b"\x00" * 12)
    result = judge_directory(tmp_path)
    assert result.verdict is Verdict.UNKNOWN
    assert result.operations == 15
    assert "damaged" in result.doubts[0]
    whole = path.read_bytes()
    for place in (0, 3, 5, 9, 20, 500, len(whole) // 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        result = judge_directory(tmp_path)
        assert (result.verdict, result.operations) == (Verdict.UNKNOWN, 0), place
        assert not any(finding.counts for finding in result.findings)
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


def test_the_worst_served_is_compared_with_the_middle_and_who_floods_waits_for_themselves(tmp_path: Path) -> None:
    run = MadeRun("flooding_user", users=5)
    for user in range(5):
        run.arrive(user).ask(user, 1, 0.2 if user != 4 else 0.6).ask(user, 3, 0.2 if user != 4 else 0.6)
    for number in range(50):
        run.ask(0, 10 + number, 5.0)
    assert measured(judge_directory(run.store(tmp_path)), "worst_served") == pytest.approx(3, rel=0.02)


def test_of_two_users_the_slow_one_is_compared_with_the_other(tmp_path: Path) -> None:
    run = MadeRun("golden_path", users=2).arrive(0).ask(0, 1, 2.5).arrive(1).ask(1, 1, 0.1)
    assert measured(judge_directory(run.store(tmp_path)), "left_behind") == pytest.approx(25, rel=0.02)


@pytest.mark.parametrize(("slow", "status"), [(0.9, Status.MET), (2.5, Status.BROKEN)])
def test_one_slow_user_of_many_is_seen_in_every_load(tmp_path: Path, slow: float, status: Status) -> None:
    run = MadeRun("golden_path", users=30)
    for user in range(30):
        run.arrive(user).ask(user, 1, slow if user == 7 else 0.05)
    result = judge_directory(run.store(tmp_path))
    assert named(result.levels, "left-behind").status is status


def test_nobody_is_compared_with_themselves(tmp_path: Path) -> None:
    result = judge_directory(MadeRun("golden_path_1").arrive(0).ask(0, 1, 3.0).store(tmp_path))
    assert named(result.left_out, "left-behind").why == "there is nobody to compare with"


@pytest.mark.parametrize("scenario", ["intruders", "cancel_storm", "reconnect_storm"])
def test_a_run_without_what_it_is_about_is_unknown(tmp_path: Path, scenario: str) -> None:
    result = judge_directory(path_of_users(1, scenario, levels=()).store(tmp_path))
    assert result.verdict is Verdict.UNKNOWN
    assert result.doubts[0].startswith(f"what {scenario} is about never happened: ")


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
