from __future__ import annotations

import pytest

from goldenpath.lab.checkers.recovery import Recovered, Recovery
from goldenpath.lab.judge import judge
from goldenpath.lab.records import Complete, Invoke, Record
from tests.lab.histories import FORMAT, Script, find

FAULT = "kill@10"


def faulted(slow_until: float, *, load_until: float = 30.0, failing: bool = False, before: bool = True) -> list[Record]:
    """Ten runs a second of 50 ms each, a fault from 10 to 12, and slow or failing runs from 10 until `slow_until`."""
    script = Script()
    records: list[Record] = []
    for number in range(int(load_until * 10)):
        start = number / 10
        if start < 10 and not before:
            continue
        bad = 10 <= start < slow_until
        records.append(Invoke(start, number, 1, "ask", start))
        end = start + (1.0 if bad else 0.05)
        records.append(Complete(end, number, "fail" if bad and failing else "ok"))
    script.now = 10.0
    script.inject(FAULT, on=True)
    script.now = 12.0
    script.inject(FAULT, on=False)
    return sorted([*records, *script.records], key=lambda record: record.at)


def recovery(records: list[Record]) -> Recovery:
    checker = Recovered()
    find(checker, records)
    (one,) = checker.recoveries
    return one


@pytest.mark.parametrize("failing", [False, True])
def test_the_time_until_runs_are_as_fast_as_before(failing: bool) -> None:
    seconds = recovery(faulted(15.0, failing=failing)).seconds
    assert seconds == pytest.approx(3.0, abs=0.11)


def test_a_target_that_is_as_before_at_once() -> None:
    assert recovery(faulted(11.9)).seconds == pytest.approx(0.0)
    assert recovery(faulted(10.0)).seconds == pytest.approx(0.0)


def test_a_target_that_never_is() -> None:
    (finding,) = judge(FORMAT, [Recovered()], faulted(30.0))
    assert finding.counts == {"unrecovered": 1}
    assert recovery(faulted(30.0)).seconds is None
    assert find(Recovered(), faulted(29.0)).counts == {}


def test_good_moments_between_bad_ones_are_no_recovery() -> None:
    records = faulted(13.0)
    for index, record in enumerate(records):
        if isinstance(record, Complete) and 14.5 <= record.at < 15.5:
            records[index] = Complete(record.at, record.op, "info", "timeout")
    seconds = recovery(records).seconds
    assert seconds == pytest.approx(3.4, abs=0.11)


def test_one_slow_run_of_many_is_no_fault() -> None:
    records = faulted(10.0)
    index = next(i for i, record in enumerate(records) if isinstance(record, Complete) and record.at > 13)
    records[index] = Complete(records[index].at, records[index].op, "fail")  # type: ignore[union-attr]
    assert recovery(records).seconds == pytest.approx(0.0)


def test_nobody_can_tell_without_runs_before_or_after() -> None:
    for records in (faulted(15.0, before=False), faulted(15.0, load_until=12.0)):
        finding = find(Recovered(), records)
        assert (finding.checked, finding.counts) == (0, {})
    assert recovery(faulted(15.0, before=False)).usual is None
    assert recovery(faulted(15.0, load_until=12.0)).runs == 0


def test_a_flood_is_no_fault_to_recover_from() -> None:
    script = Script()
    script.inject("flood:1", on=True)
    script.inject("flood:1", on=False)
    checker = Recovered()
    find(checker, script.records)
    assert not checker.recoveries


def test_what_is_no_injected_fault_is_measured_alike() -> None:
    checker = Recovered()
    find(checker, [record for record in faulted(15.0) if isinstance(record, Invoke | Complete)])
    spike = checker.after("spike", 10.0, 12.0)
    assert spike.seconds == pytest.approx(3.0, abs=0.11)
    assert spike.usual == pytest.approx(0.05)
