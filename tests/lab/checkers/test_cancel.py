from __future__ import annotations

from goldenpath.lab.checker import Finding
from goldenpath.lab.checkers.cancel import Cancel
from goldenpath.lab.judge import judge
from goldenpath.lab.records import Invoke
from tests.lab.histories import FORMAT, Script, asked, event, whole_run


def judged(checker: Cancel, script: Script) -> Finding:
    """What it says, also where it says that it does not know."""
    (finding,) = judge(FORMAT, [checker], script.records)
    return finding


def kinds(checker: Cancel, script: Script) -> dict[str, int]:
    return judged(checker, script).counts


def cancelled(*named: str, silent: bool = False) -> tuple[Script, Invoke]:
    """A run is under way, then cancelled; the reply names these runs."""
    script = Script()
    ask = asked(script, answer=None)
    script.send(*whole_run()[:3])
    op = script.invoke("cancel", connection=1, thread="t", run="r1")
    script.send({"re": op.op, "ok": True} | ({} if silent else {"cancelled": list(named)}))
    script.complete(op)
    return script, ask


def test_a_cancelled_run_ends_as_cancelled() -> None:
    script, ask = cancelled("r1")
    script.send(*whole_run(outcome="cancelled")[3:])
    script.complete(ask)
    finding = judged(Cancel(), script)
    assert not finding.counts
    assert finding.checked


def test_a_run_that_the_target_said_it_cancelled_ends_otherwise() -> None:
    script, _ = cancelled("r1")
    script.send(*whole_run()[3:])
    assert kinds(Cancel(), script) == {"uncancelled": 1}


def test_a_cancel_that_came_too_late_changes_nothing_and_shows_nothing() -> None:
    for silent in (False, True):
        script, ask = cancelled(silent=silent)
        script.send(*whole_run()[3:])
        script.complete(ask)
        finding = judged(Cancel(), script)
        assert not finding.counts
        assert finding.broken == "of 1 cancels none stopped a run"


def test_a_run_goes_on_of_which_there_was_nothing_to_cancel() -> None:
    for step, count, expected in ((0.03, 30, {"denied": 1}), (0.001, 200, {}), (1.0, 4, {})):
        script, _ = cancelled()
        for seq in range(4, 4 + count):
            script.wait(step)
            script.send(event("TEXT_MESSAGE_CONTENT", seq, messageId="m-r1", delta="x"))
        assert kinds(Cancel(), script) == expected


def test_a_cancelled_run_goes_on() -> None:
    for silent in (False, True):
        for wait, expected in ((4.9, {}), (5.1, {"ignored": 1})):
            script, _ = cancelled("r1", silent=silent)
            script.wait(wait)
            script.send(event("CUSTOM", 4))
            script.send(event("CUSTOM", 5))
            assert kinds(Cancel(), script) == expected


def test_a_cancelled_run_whose_end_never_comes() -> None:
    for code, expected in (("timeout", {"ignored": 1}), ("disconnected", {})):
        script, ask = cancelled("r1")
        script.wait(60)
        script.complete(ask, "info", code)
        assert kinds(Cancel(), script) == expected


def test_the_bound_is_given() -> None:
    script, _ = cancelled("r1")
    script.wait(1.5)
    script.send(event("CUSTOM", 4))
    assert kinds(Cancel(within=1.0), script) == {"ignored": 1}
    assert not kinds(Cancel(within=2.0), script)


def test_a_run_that_nobody_cancelled_ends_as_cancelled() -> None:
    script, _ = cancelled("r1")
    script.send(*whole_run(outcome="cancelled")[3:])
    script.ask(run="r2")
    script.send(*whole_run(run="r2", after=6, outcome="cancelled"))
    assert kinds(Cancel(), script) == {"collateral": 1}


def test_the_reply_names_a_run_that_was_not_meant() -> None:
    script, _ = cancelled("r1", "r2")
    assert kinds(Cancel(), script) == {"collateral": 1}


def test_without_a_name_all_runs_of_the_thread_are_meant() -> None:
    script = Script()
    asked(script)
    script.ask(run="r2")
    script.ask(run="r3", thread="other")
    op = script.invoke("cancel", connection=1, thread="t")
    script.send({"re": op.op, "ok": True})
    script.complete(op)
    script.send(*whole_run(outcome="cancelled"), *whole_run(run="r2", after=6, outcome="cancelled"))
    assert not kinds(Cancel(), script)
    script.send(*whole_run(run="r3", thread="other", outcome="cancelled"))
    assert kinds(Cancel(), script) == {"collateral": 1}


def test_a_cancel_that_was_refused_asks_for_nothing() -> None:
    script = Script()
    asked(script)
    op = script.invoke("cancel", connection=1, thread="t", run="r1")
    script.send({"re": op.op, "ok": False, "error": {"code": "not_found"}})
    script.complete(op, "fail", "not_found")
    script.wait(10)
    script.send(*whole_run())
    assert not kinds(Cancel(), script)
