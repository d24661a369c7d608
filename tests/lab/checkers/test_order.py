from __future__ import annotations

from typing import Any

import pytest

from goldenpath.lab.checkers.order import Order
from tests.lab.histories import FORMAT, Script, UnnumberedFormat, asked, event, kinds, whole_run


def order_of(*lines: dict[str, Any], seq: int = 0) -> dict[str, int]:
    """What is wrong with these events, numbered from `seq` on, each in a message of its own."""
    script = Script()
    asked(script, seq=seq)
    for number, line in enumerate(lines, seq + 1):
        script.send({**line, "seq": number})
    return kinds(Order(FORMAT), script)


STARTED = event("RUN_STARTED")
FINISHED = event("RUN_FINISHED")
OPEN = event("TEXT_MESSAGE_START", messageId="m")
PIECE = event("TEXT_MESSAGE_CONTENT", messageId="m", delta="x")
END = event("TEXT_MESSAGE_END", messageId="m")


def test_a_whole_run_is_in_order() -> None:
    assert not order_of(*whole_run())


def test_a_run_begins_with_run_started() -> None:
    assert order_of(OPEN, END, FINISHED) == {"unstarted": 1}
    assert not order_of(STARTED, OPEN, END, FINISHED)


def test_whoever_joins_in_the_middle_has_not_seen_the_start() -> None:
    assert not order_of(PIECE, END, FINISHED, seq=7)
    assert order_of(PIECE, END, FINISHED, event("TEXT_MESSAGE_START", run="r2", messageId="n"), seq=7) == {
        "unstarted": 1
    }


def test_whoever_joins_in_the_middle_still_sees_what_opens_twice() -> None:
    assert order_of(PIECE, OPEN, seq=7) == {"reopened": 1}


def test_run_started_comes_once() -> None:
    assert order_of(STARTED, STARTED, FINISHED) == {"restarted": 1}


@pytest.mark.parametrize(
    ("start", "piece", "end", "field"),
    [
        ("TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "messageId"),
        ("TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "toolCallId"),
        ("REASONING_START", None, "REASONING_END", "messageId"),
        ("REASONING_MESSAGE_START", "REASONING_MESSAGE_CONTENT", "REASONING_MESSAGE_END", "messageId"),
        ("STEP_STARTED", None, "STEP_FINISHED", "stepName"),
        ("SUBAGENT_STARTED", None, "SUBAGENT_ERROR", "subagentRunId"),
    ],
)
def test_what_opens_is_open_once_and_closed(start: str, piece: str | None, end: str, field: str) -> None:
    def of(kind: str, name: str = "a") -> dict[str, Any]:
        fields: dict[str, Any] = {field: name}
        return event(kind, **fields)

    assert not order_of(STARTED, of(start), of(end), of(start), of(end), FINISHED)
    assert not order_of(STARTED, of(start), of(start, "b"), of(end), of(end, "b"), FINISHED)
    assert order_of(STARTED, of(start), of(start), of(end), FINISHED) == {"reopened": 1}
    assert order_of(STARTED, of(end), FINISHED) == {"unopened": 1}
    assert order_of(STARTED, of(start), FINISHED) == {"unclosed": 1}
    assert not order_of(STARTED, of(start), event("RUN_ERROR"))
    if piece is not None:
        assert not order_of(STARTED, of(start), of(piece), of(end), FINISHED)
        assert order_of(STARTED, of(piece), of(end), FINISHED) == {"unopened": 1}
        assert order_of(STARTED, of(start), of(end), of(piece), of(end), FINISHED) == {"unopened": 1}


def test_what_has_no_start_and_end_may_come_anywhere() -> None:
    free = ("TEXT_MESSAGE_CHUNK", "STATE_SNAPSHOT", "CUSTOM", "THINKING_START", "THINKING_TEXT_MESSAGE_CONTENT", "NEW")
    assert not order_of(STARTED, *(event(kind) for kind in free), FINISHED)


def test_the_runs_of_a_thread_never_interleave() -> None:
    second = event("RUN_STARTED", run="r2"), event("RUN_FINISHED", run="r2")
    assert order_of(STARTED, *second, FINISHED) == {"interleaved": 2}
    assert not order_of(STARTED, FINISHED, *second)


def test_a_run_that_has_ended_does_not_come_again_after_another() -> None:
    second = event("RUN_STARTED", run="r2"), event("RUN_FINISHED", run="r2")
    assert order_of(STARTED, FINISHED, *second, OPEN) == {"interleaved": 1}


def test_what_came_before_is_left_to_delivery() -> None:
    script = Script()
    asked(script)
    lines = whole_run()
    script.send(*lines[:3], lines[1], *lines[2:], lines[0])
    assert not kinds(Order(FORMAT), script)


def test_reading_on_where_it_stood_forgets_nothing() -> None:
    script = Script()
    asked(script)
    lines = whole_run()
    script.send(*lines[:3])
    script.close(1)
    again = script.open()
    attach = script.invoke("attach", connection=again, thread="t", epoch="e1", after=3)
    script.reply(attach, 3, connection=again)
    script.send({**lines[1], "seq": 4}, connection=again)
    assert kinds(Order(FORMAT), script) == {"reopened": 1}


def test_after_a_gap_the_middle_of_a_run_may_come() -> None:
    script = Script()
    asked(script)
    script.send(*whole_run()[:2])
    attach = script.invoke("attach", connection=1, thread="t", epoch="e1", after=2)
    script.reply(attach, 40, gap=True)
    script.send(event("MESSAGES_SNAPSHOT", 40, run=None), event("TEXT_MESSAGE_CONTENT", 41, run="r9", messageId="m"))
    assert not kinds(Order(FORMAT), script)


def test_a_target_without_numbers_has_an_order_too() -> None:
    format_ = UnnumberedFormat({})
    script = Script()
    script.open(viewer=None)
    script.send(*whole_run(numbered=False))
    assert not kinds(Order(format_), script, format_)
    script.open(viewer=None)
    script.send(*whole_run(numbered=False)[1:], connection=2)
    assert kinds(Order(format_), script, format_) == {"unstarted": 1}


def test_an_event_that_names_another_run_or_thread_than_its_own() -> None:
    for fields, expected in (
        ({"runId": "r1", "threadId": "t"}, {}),
        ({"runId": "r2", "threadId": "t"}, {"misnamed": 1}),
        ({"runId": "r2", "threadId": "u"}, {"misnamed": 2}),
    ):
        script = Script()
        asked(script)
        script.send(event("RUN_STARTED", 1, **fields))
        assert kinds(Order(FORMAT), script) == expected


def test_an_event_of_no_run() -> None:
    script = Script()
    asked(script)
    script.send(*whole_run())
    script.send(event("TEXT_MESSAGE_CONTENT", 7, run=None, messageId="ghost", delta="junk"))
    assert kinds(Order(FORMAT), script) == {"ownerless": 1}
