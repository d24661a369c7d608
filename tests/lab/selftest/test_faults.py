from __future__ import annotations

from goldenpath.lab.checkers import standard_checkers, whole_checkers
from goldenpath.lab.selftest.cases import CASES
from goldenpath.lab.selftest.faults import FAULTS, RIGHT
from goldenpath.lab.selftest.score import LEVELS
from tests.lab.histories import CANARIES, FORMAT


def test_there_are_faults_for_every_checker() -> None:
    checkers = {checker.name for checker in [*standard_checkers(FORMAT, CANARIES), *whole_checkers()]}
    assert {fault.checker for fault in FAULTS.values()} == checkers | {LEVELS}


def test_every_fault_says_what_is_wrong_and_where_it_shows() -> None:
    assert len(FAULTS) >= 25
    for sentence in [*(fault.sentence for fault in FAULTS.values()), *(each.sentence for each in RIGHT.values())]:
        assert sentence.endswith("."), sentence
    assert {fault.scenario for fault in FAULTS.values()} <= CASES.keys()
    assert {scenario for each in RIGHT.values() for scenario in each.scenarios} <= CASES.keys()


def test_a_fault_that_a_level_shows_has_one_in_its_scenario() -> None:
    for fault in FAULTS.values():
        if fault.checker == LEVELS:
            assert fault.kind in {level.name for level in CASES[fault.scenario].levels}


def test_what_is_right_is_not_named_as_a_fault() -> None:
    assert not FAULTS.keys() & RIGHT.keys()


def test_a_fault_strikes_once_in_so_many_times_wherever_its_seed_puts_it() -> None:
    places = []
    for seed in range(20):
        server = FAULTS["dropped_event"].server(CASES["path"].settings, seed)
        struck = [server.strikes(10) for _ in range(30)]  # type: ignore[attr-defined]
        assert [sum(struck[begin : begin + 10]) for begin in (0, 10, 20)] == [1, 1, 1]
        places.append(struck.index(True))
    assert len(set(places)) > 3
