from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.lab.checkers.fairness import FairShare, jain
from tests.lab.histories import Script, find, kinds


def flooded(*, calm: float = 0.1, under: float = 0.1, failing: int = 0, runs: int = 4) -> Script:
    """Users 1 to 3 run before, under and after a flood of user 0, whose own runs take long."""
    script = Script()

    def phase(seconds: float, failed: int = 0) -> None:
        for turn in range(runs):
            for user in range(4):
                op = script.invoke("ask", user, run=f"{user}-{turn}")
                script.wait(10 * seconds if user == 0 else seconds)
                fails = user == 1 and turn < failed
                script.complete(op, "fail" if fails else "ok", "overloaded" if fails else "")

    phase(calm)
    script.note("flood_begun", "0")
    phase(under, failing)
    script.note("flood_ended", "0")
    phase(calm)
    return script


def test_a_flood_that_costs_the_others_nothing() -> None:
    finding = find(FairShare(), flooded().records)
    assert not finding.counts
    assert finding.checked


def test_a_flood_that_makes_the_others_wait() -> None:
    assert kinds(FairShare(), flooded(under=0.19)) == {}
    assert kinds(FairShare(), flooded(under=0.22)) == {"slowed": 1}
    assert kinds(FairShare(slowdown=1.5), flooded(under=0.19)) == {"slowed": 1}


def test_whoever_floods_has_no_slowdown_to_complain_of() -> None:
    script = Script()
    for flood in (False, True):
        if flood:
            script.note("flood_begun", "0")
        for user, seconds in ((0, 5.0 if flood else 0.1), (1, 0.1)) * 3:
            op = script.invoke("ask", user)
            script.wait(seconds)
            script.complete(op)
    checker = FairShare()
    find(checker, script.records)
    fair = checker.fairness()
    assert fair.worst is not None
    assert fair.worst[0] == 1
    assert fair.slowdown == pytest.approx(1.0)
    assert fair.jain is None


def test_a_flood_that_leaves_somebody_nothing() -> None:
    assert kinds(FairShare(), flooded(failing=2)) == {}
    assert kinds(FairShare(), flooded(failing=3)) == {"starved": 1}


def test_too_few_runs_say_nothing() -> None:
    finding = find(FairShare(), flooded(under=1.0, runs=1).records)
    assert (finding.checked, finding.optional) == (0, True)


def test_without_a_flood_users_of_the_same_workload_are_compared_where_a_bound_is_given() -> None:
    def history(slow: float) -> Script:
        script = Script()
        for user, seconds in ((1, 0.1), (2, 0.1), (3, slow)):
            for _ in range(3):
                op = script.invoke("ask", user)
                script.wait(seconds - 0.001)
                script.complete(op)
        return script

    assert kinds(FairShare(least_jain=0.9), history(0.15)) == {}
    assert kinds(FairShare(least_jain=0.9), history(1.0)) == {"unequal": 1}
    assert find(FairShare(), history(1.0).records).checked == 0
    checker = FairShare()
    find(checker, history(0.1).records)
    assert checker.fairness().jain == pytest.approx(1.0)


def test_jains_index_of_the_paper() -> None:
    assert jain([50, 30, 50]) == pytest.approx(130**2 / (3 * 5900))
    assert jain([1, 0, 0, 0]) == pytest.approx(0.25)
    assert jain([1]) is None
    assert jain([0, 0]) is None


@given(st.lists(st.floats(0.01, 1_000), min_size=2, max_size=50), st.floats(0.01, 100))
def test_jains_index_lies_between_one_share_and_all_and_knows_no_unit(shares: list[float], unit: float) -> None:
    index = jain(shares)
    assert index is not None
    assert 1 / len(shares) <= index * (1 + 1e-9)
    assert index <= 1 + 1e-9
    assert jain([share * unit for share in shares]) == pytest.approx(index)
