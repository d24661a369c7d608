from __future__ import annotations

from goldenpath.lab.checkers.accounting import Accounting
from goldenpath.lab.judge import judge
from goldenpath.lab.verdict import Verdict
from tests.lab.histories import FORMAT, Script, asked, find, kinds, whole_run


def test_every_operation_has_an_outcome() -> None:
    script = Script()
    op = asked(script)
    script.send(*whole_run())
    script.complete(op)
    finding = find(Accounting(), script.records)
    assert finding.verdict is Verdict.PASS
    assert finding.checked == 1


def test_an_operation_without_one_leaves_unknown_what_happened() -> None:
    script = Script()
    script.complete(script.invoke("login"))
    script.invoke("connect")
    (finding,) = judge(FORMAT, [Accounting()], script.records)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.broken == ("operations without an outcome: 1, the first is connect 2 of user 1; the history is cut")


def test_a_run_that_was_refused_for_certain_and_ran() -> None:
    for outcome, expected in (("fail", {"revived": 1}), ("info", {})):
        script = Script()
        script.open()
        op = script.ask()
        script.complete(op, outcome, "overloaded")  # type: ignore[arg-type]
        script.send(*whole_run())
        assert kinds(Accounting(), script) == expected


def test_a_run_whose_events_come_together_with_its_refusal() -> None:
    """Before whoever asked has read the refusal."""
    for outcome, expected in (("fail", {"revived": 1}), ("info", {})):
        script = Script()
        script.open()
        op = script.ask()
        script.send(*whole_run())
        script.complete(op, outcome, "overloaded")  # type: ignore[arg-type]
        assert kinds(Accounting(), script) == expected


def test_a_run_that_was_refused_and_asked_for_again() -> None:
    script = Script()
    script.open()
    script.complete(script.ask(), "fail", "overloaded")
    again = script.ask()
    script.send(*whole_run())
    script.complete(again)
    assert not kinds(Accounting(), script)


def test_a_run_that_counts_as_done_and_has_not_ended() -> None:
    script = Script()
    op = asked(script)
    script.send(*whole_run()[:-1])
    script.complete(op)
    assert kinds(Accounting(), script) == {"unfounded": 1}
