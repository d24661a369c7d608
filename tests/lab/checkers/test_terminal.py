from __future__ import annotations

from goldenpath.lab.checkers.terminal import GRACE, Terminal
from tests.lab.histories import Script, UnnumberedFormat, asked, event, kinds, whole_run


def test_a_run_ends_once() -> None:
    script = Script()
    op = asked(script)
    script.send(*whole_run())
    script.complete(op)
    assert not kinds(Terminal(), script)


def test_an_accepted_run_whose_end_never_comes() -> None:
    script = Script()
    op = asked(script)
    script.send(*whole_run()[:-1])
    script.wait(60)
    script.complete(op, "info", "timeout")
    assert kinds(Terminal(), script) == {"endless": 1}


def test_an_accepted_run_of_which_nothing_comes() -> None:
    script = Script()
    op = asked(script)
    script.complete(op, "info", "timeout")
    assert kinds(Terminal(), script) == {"endless": 1}


def test_a_run_that_was_not_accepted_need_not_end() -> None:
    script = Script()
    script.open()
    op = script.ask()
    script.complete(op, "info", "timeout")
    assert not kinds(Terminal(), script)


def test_whoever_left_cannot_see_the_end() -> None:
    script = Script()
    op = asked(script)
    script.send(*whole_run()[:-1])
    script.close(1)
    script.complete(op, "info", "timeout")
    assert not kinds(Terminal(), script)


def test_whoever_came_back_can() -> None:
    script = Script()
    op = asked(script)
    script.send(*whole_run()[:-1])
    script.close(1)
    again = script.open()
    attach = script.invoke("attach", connection=again, thread="t", epoch="e1", after=5)
    script.reply(attach, 5, connection=again)
    script.complete(op, "info", "timeout")
    assert kinds(Terminal(), script) == {"endless": 1}


def test_whoever_asked_between_two_connections_and_lost_the_second() -> None:
    script = Script()
    op = script.ask(connection=0)
    script.open()
    script.reply(op)
    script.send(*whole_run()[:2])
    script.close(1)
    script.complete(op, "info", "timeout")
    assert not kinds(Terminal(), script)


def test_another_viewer_who_leaves_changes_nothing() -> None:
    script = Script()
    op = asked(script)
    other = script.open(viewer=1)
    script.close(other)
    script.complete(op, "info", "timeout")
    assert kinds(Terminal(), script) == {"endless": 1}


def test_two_terminal_events() -> None:
    script = Script()
    asked(script)
    script.send(*whole_run(), event("RUN_ERROR", 7))
    assert kinds(Terminal(), script) == {"twice": 1}


def test_an_event_after_the_terminal_one() -> None:
    script = Script()
    asked(script)
    script.send(*whole_run())
    script.send(event("CUSTOM", 7))
    assert kinds(Terminal(), script) == {"late": 1}


def test_a_terminal_event_that_is_only_repeated_is_left_to_delivery() -> None:
    script = Script()
    asked(script)
    lines = whole_run()
    script.send(*lines, lines[-1])
    assert not kinds(Terminal(), script)


def test_the_next_run_is_not_late() -> None:
    script = Script()
    asked(script)
    script.send(*whole_run(), *whole_run(run="r2", after=6))
    assert not kinds(Terminal(), script)


def test_an_answer_of_its_own_that_is_cut_off_by_the_target() -> None:
    format_ = UnnumberedFormat({})
    for ours, cut, expected in ((False, -1, {"endless": 1}), (True, -1, {}), (False, None, {})):
        script = Script()
        script.ask(connection=0)
        script.open(viewer=None)
        script.send(*whole_run(numbered=False)[:cut])
        script.close(1, ours=ours)
        assert kinds(Terminal(), script, format_) == expected


def test_what_a_fault_cuts_off_is_nobodys_fault() -> None:
    for after, expected in ((0.0, {}), (GRACE - 1, {}), (GRACE + 1, {"endless": 1})):
        script = Script()
        connection = script.open(viewer=None)
        op = script.ask(connection)
        script.send(*whole_run(numbered=False)[:-1])
        script.inject("reset@3", on=True)
        script.inject("reset@3", on=False)
        script.wait(after)
        script.close(connection)
        script.complete(op, "info", "disconnected")
        assert kinds(Terminal(), script) == expected


def test_a_run_that_still_goes_on_is_too_slow_and_not_endless() -> None:
    script = Script()
    op = asked(script)
    script.send(*whole_run()[:-1])
    script.complete(op, "info", "slow")
    assert not kinds(Terminal(), script)


def test_an_ask_that_waited_is_over_the_connection_that_it_was_sent_over() -> None:
    script = Script()
    op = script.ask(0)
    script.sent(op, script.open(viewer=7))
    script.reply(op)
    script.close(1)
    script.complete(op, "info", "timeout")
    assert not kinds(Terminal(), script)
