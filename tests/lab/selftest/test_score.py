"""The score of the lab cannot lie: what was not seen, or by the wrong checker, or of nobody, is missed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from goldenpath.lab.checker import Finding, Violation
from goldenpath.lab.selftest.cases import CASES
from goldenpath.lab.selftest.faults import FAULTS, Fault
from goldenpath.lab.selftest.reference import ReferenceServer
from goldenpath.lab.selftest.score import PATIENCE, Trial, assess, run_selftest, score
from goldenpath.lab.selftest.trial import try_out
from goldenpath.lab.summary import ScenarioResult

NOTHING = Fault("nothing", "Nothing is wrong.", "path", "delivery", "lost", ReferenceServer)
ONE_OF_EACH = (
    "shared_context",
    "no_token_needed",
    "dropped_event",
    "unclosed_message",
    "lost_run",
    "resume_skips",
    "stale_snapshot",
    "cancels_another",
    "history_lags",
    "refused_and_done",
    "first_come_first_served",
    "blocking_call",
)


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> ScenarioResult:
    """A run of a server in which nothing is wrong."""
    return asyncio.run(try_out("clean", CASES["path"], 1, PATIENCE, tmp_path_factory.mktemp("runs") / "clean"))


def _with(result: ScenarioResult, checker: str, kind: str, witness: str) -> ScenarioResult:
    violation = Violation(checker=checker, kind=kind, at=1.0, user=3, witness=witness)
    finding = Finding(checker=checker, checked=1, counts={kind: 1}, violations=[violation])
    others = [each for each in result.findings if each.checker != checker]
    return msgspec.structs.replace(result, findings=(*others, finding))


def test_a_fault_that_does_nothing_is_missed(nothing: ScenarioResult) -> None:
    trial = assess(NOTHING, "nothing", 1, nothing)
    assert not trial.caught
    assert trial.why == "not seen by delivery/lost or anybody else"
    whole = score([NOTHING], [trial])
    assert (whole.faults, whole.caught, whole.missed, whole.exit_code) == (1, 0, ("nothing",), 2)


def test_a_fault_that_the_wrong_checker_sees_is_missed(nothing: ScenarioResult) -> None:
    for checker, kind in (("resume", "lost"), ("delivery", "duplicate")):
        trial = assess(NOTHING, "nothing", 1, _with(nothing, checker, kind, "user 3: something"))
        assert not trial.caught
        assert trial.why == f"not seen by delivery/lost, only by {checker}/{kind}"


def test_a_witness_that_names_nobody_is_none(nothing: ScenarioResult) -> None:
    for witness, caught in (("user 3, thread 't': 4 never came", True), ("something got lost", False)):
        trial = assess(NOTHING, "nothing", 1, _with(nothing, "delivery", "lost", witness))
        assert trial.caught is caught
        assert trial.witness == (witness if caught else "")


def test_whatever_is_found_where_nothing_is_wrong_is_a_false_alarm(nothing: ScenarioResult) -> None:
    assert assess(None, "clean", 1, nothing).caught
    alarm = assess(None, "clean", 1, _with(nothing, "order", "unopened", "user 3: something"))
    assert not alarm.caught
    assert alarm.why == "order/unopened: user 3: something"
    broken = Finding(checker="order", checked=9, broken="KeyError in events: 3")
    assert not assess(None, "clean", 1, msgspec.structs.replace(nothing, findings=(broken,))).caught
    assert not assess(None, "clean", 1, msgspec.structs.replace(nothing, doubts=("the target was lost",))).caught


def test_a_run_in_which_the_lab_could_not_keep_up_says_nothing(nothing: ScenarioResult) -> None:
    busy = msgspec.structs.replace(
        nothing,
        generator=msgspec.structs.replace(nothing.generator, bottleneck="too busy"),
        doubts=("invalid: the lab was the bottleneck: too busy",),
    )
    trial = assess(None, "clean", 1, busy)
    assert (trial.caught, trial.invalid) == (False, True)
    whole = score([NOTHING], [_trial("nothing", caught=True), trial])
    assert (whole.caught, whole.false_alarms, whole.invalid, whole.exit_code) == (1, 0, 1, 2)
    caught = assess(NOTHING, "nothing", 1, _with(busy, "delivery", "lost", "user 3: 4 never came"))
    assert (caught.caught, caught.invalid) == (True, False)


def _trial(fault: str, *, caught: bool, expected: str = "delivery/lost") -> Trial:
    return Trial(fault=fault, scenario="path", seed=1, expected=expected, caught=caught)


def test_the_score() -> None:
    right = _trial("clean", caught=True, expected="")
    alarm = _trial("clean", caught=False, expected="")
    seen, missed = _trial("nothing", caught=True), _trial("nothing", caught=False)
    for trials, caught, alarms, exit_code in (
        ([seen, seen, right], 1, 0, 0),
        ([seen, missed, right], 0, 0, 1),  # with one seed of two
        ([seen, alarm], 1, 1, 1),
        ([seen], 1, 0, 2),  # nobody knows whether it cries wolf
        ([right], 0, 0, 1),  # not tried is not caught
    ):
        whole = score([NOTHING], trials)
        assert (whole.caught, whole.false_alarms, whole.exit_code) == (caught, alarms, exit_code)
        assert whole.runs == len(trials)
    assert score([], [right]).exit_code == 2


async def test_the_lab_sees_what_is_wrong_and_nothing_where_nothing_is(tmp_path: Path, long_run: bool) -> None:
    faults, seeds = (None, (1, 2, 3)) if long_run else (ONE_OF_EACH, (1,))
    whole = await run_selftest(faults, seeds, keep=tmp_path)
    assert not whole.failures
    assert whole.exit_code == 0
    assert whole.caught == whole.faults == len(FAULTS if faults is None else faults)
    assert all(each.witness for each in whole.table)
