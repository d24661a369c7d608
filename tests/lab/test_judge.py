"""A judge and its checkers: one that breaks, several judges, and a history that is read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import ClassVar

from goldenpath.lab.checker import Checker, Finding, Violation
from goldenpath.lab.checkers import standard_checkers, whole_checkers
from goldenpath.lab.history import HistoryError, HistoryWriter, path_of, read_history
from goldenpath.lab.judge import judge
from goldenpath.lab.records import Complete, Invoke, Record
from goldenpath.lab.stream import SeenRun, Stream
from goldenpath.lab.verdict import Verdict, worst
from tests.lab.histories import CANARIES, FORMAT, Script, asked, event, whole_run


class Breaking(Checker):
    """Breaks when the first run ends."""

    name: ClassVar[str] = "breaking"

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        self.checked += 1
        raise KeyError(run.run)


class Counting(Checker):
    """Counts everything."""

    name: ClassVar[str] = "counting"

    def invoked(self, op: Invoke) -> None:
        self.checked += 1

    def completed(self, op: Invoke, record: Complete) -> None:
        self.checked += 1

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        self.checked += 1

    def finish(self, at: float) -> None:
        self.checked += 1


def overall(findings: Iterable[Finding]) -> Verdict:
    return worst(finding.verdict for finding in findings if finding.exercised)


def several_users(users: int = 4) -> list[Record]:
    """Users who all go through the same, each with something wrong of their own."""
    script = Script()
    for user in range(users):
        connection = user + 1
        op = asked(script, user=user)
        lines = whole_run()
        if user == 1:
            del lines[3]
        if user == 2:
            lines.append(event("RUN_ERROR", 7))
        for line in lines:
            script.send(line, connection=connection, user=user)
        script.complete(op)
    return script.records


def checkers() -> list[Checker]:
    return [*standard_checkers(FORMAT, CANARIES), *whole_checkers()]


def test_a_checker_that_breaks_is_unknown_and_the_others_go_on() -> None:
    records = several_users()
    broken, counted, *_ = judge(FORMAT, [Breaking(), Counting(), *checkers()], records)
    alone, *_ = judge(FORMAT, [Counting()], records)
    assert broken.verdict is Verdict.UNKNOWN
    assert broken.broken == "KeyError in ended: 'r1'"
    assert broken.checked == 1
    assert counted == alone
    assert counted.verdict is Verdict.PASS


def test_a_history_is_judged_twice_alike() -> None:
    records = several_users()
    first = judge(FORMAT, checkers(), records)
    assert judge(FORMAT, checkers(), records) == first
    assert {finding.checker for finding in first if finding.counts} == {"delivery", "terminal"}


def owner(record: Record) -> int | None:
    if isinstance(record, Complete):
        return record.op - 1  # in these histories each user has one operation
    return getattr(record, "user", None)


def found(findings: Iterable[Finding]) -> tuple[Counter[str], list[str]]:
    """How many things were looked at, and every witness."""
    checked: Counter[str] = Counter()
    for each in findings:
        checked[each.checker] += each.checked
    return checked, sorted(violation.witness for each in findings for violation in each.violations)


def test_a_stored_history_of_several_workers_says_what_its_workers_saw(tmp_path: Path) -> None:
    records = several_users()
    live = []
    for worker in range(2):
        own = [record for record in records if (owner(record) or 0) % 2 == worker]
        live.append(judge(FORMAT, standard_checkers(FORMAT, CANARIES), own))
        with HistoryWriter(path_of(tmp_path, worker + 1), "run") as writer:
            for record in own:
                writer.write(record)
    assert list(read_history(tmp_path)) == records
    read_again = judge(FORMAT, standard_checkers(FORMAT, CANARIES), read_history(tmp_path))
    assert found(read_again) == found([finding for findings in live for finding in findings])


def test_a_history_that_was_cut_is_unknown_and_shows_no_faults_of_the_target(tmp_path: Path) -> None:
    script = Script()
    op = asked(script)
    for line in whole_run():
        script.send(line)
    script.complete(op)
    path = path_of(tmp_path, 1)
    with HistoryWriter(path, "run") as writer:
        for record in script.records:
            writer.write(record)
    whole = path.read_bytes()
    verdicts = set()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        read: list[Record] = []
        with suppress(HistoryError) if size < len(whole) else nullcontext():
            read.extend(read_history(tmp_path))
        findings = judge(FORMAT, checkers(), read)
        assert not any(finding.counts for finding in findings), size
        verdicts.add(overall(findings))
    assert verdicts == {Verdict.UNKNOWN, Verdict.PASS}
    assert overall(findings) is Verdict.PASS


def finding(name: str = "x", *, violations: int = 0, broken: str = "") -> Finding:
    witnessed = [
        Violation(checker=name, kind="lost", at=1.0, user=1, witness=f"{number}") for number in range(violations)
    ]
    counts = {"lost": violations} if violations else {}
    return Finding(checker=name, checked=1, counts=counts, violations=witnessed, broken=broken)


def test_an_optional_checker_with_nothing_to_look_at_has_no_say() -> None:
    idle = Finding(checker="cancel", checked=0, optional=True)
    assert overall([finding(), idle]) is Verdict.PASS
    assert overall([finding(), Finding(checker="order", checked=0)]) is Verdict.UNKNOWN
    assert overall([finding(), Finding(checker="cancel", checked=0, optional=True, broken="why")]) is Verdict.UNKNOWN
    assert overall([idle]) is Verdict.UNKNOWN
    assert overall([finding(), finding("y", violations=1), finding("z", broken="why")]) is Verdict.FAIL
