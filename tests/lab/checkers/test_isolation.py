from __future__ import annotations

import json
from typing import Any

import pytest

from goldenpath.lab.checkers.isolation import Isolation
from goldenpath.lab.records import Received
from tests.lab.histories import CANARIES, FORMAT, Script, asked, event, find, kinds, whole_run

OWN = CANARIES.make(1, 1)
FOREIGN = CANARIES.make(2, 7)


def leaks(*lines: dict[str, Any]) -> dict[str, int]:
    script = Script()
    asked(script)
    script.send(*lines)
    return kinds(Isolation(CANARIES), script)


def test_ones_own_canary_may_come_back() -> None:
    assert not leaks(event("CUSTOM", 1, value=OWN))


def test_anothers_canary_may_not() -> None:
    assert leaks(event("CUSTOM", 1, value=f"{OWN} {FOREIGN}")) == {"leak": 1}


def test_a_canary_of_another_run_of_the_lab_is_nobodys() -> None:
    assert not leaks(event("CUSTOM", 1, value="canary-ffffffff-2.7."))


def test_the_witness_names_both_users_and_the_operation() -> None:
    script = Script()
    asked(script)
    script.send(event("CUSTOM", 1, value=FOREIGN))
    (violation,) = find(Isolation(CANARIES), script.records).violations
    assert violation.witness.startswith("user 1 received what user 2 sent in operation 7: ")
    assert FOREIGN in violation.witness


@pytest.mark.parametrize("size", [1, 8, 19])
def test_a_canary_that_comes_in_pieces_of_a_text(size: int) -> None:
    for canary, expected in ((FOREIGN, {"leak": 1}), (OWN, {})):
        text = f"{canary} and more"
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert kinds(Isolation(CANARIES), _said(pieces)) == expected


def _said(pieces: list[str]) -> Script:
    script = Script()
    asked(script, answer=None)
    for line in whole_run(pieces):
        script.send(line)
    return script


def test_pieces_of_a_run_that_never_ends_are_read_too() -> None:
    for canary, expected in ((FOREIGN, {"leak": 1}), (OWN, {})):
        script = Script()
        asked(script, answer=None)
        half = len(canary) // 2
        script.send(*whole_run([canary[:half], canary[half:]])[:4])
        assert kinds(Isolation(CANARIES), script) == expected


def test_a_canary_in_the_arguments_of_a_tool() -> None:
    half = len(FOREIGN) // 2
    lines = [
        event("RUN_STARTED", 1),
        event("TOOL_CALL_START", 2, toolCallId="c"),
        event("TOOL_CALL_ARGS", 3, toolCallId="c", delta=FOREIGN[:half]),
        event("TOOL_CALL_ARGS", 4, toolCallId="c", delta=FOREIGN[half:]),
        event("RUN_FINISHED", 5),
    ]
    assert leaks(*lines) == {"leak": 1}


@pytest.mark.parametrize("size", [1, 5, 40, 200])
def test_a_canary_that_is_cut_between_two_pieces_of_an_answer_is_found_once(size: int) -> None:
    for canary, expected in ((FOREIGN, {"leak": 1}), (OWN, {})):
        script = Script()
        script.open(viewer=None)
        payload = f"data: {json.dumps(event('CUSTOM', value=canary))}\n\n".encode()
        for at in range(0, len(payload), size):
            script.records.append(Received(script.now + at, 1, 1, payload[at : at + size]))
        assert kinds(Isolation(CANARIES), script) == expected


def test_pieces_of_different_connections_are_not_put_together() -> None:
    script = Script()
    for connection, piece in enumerate((FOREIGN[:10], FOREIGN[10:]), 1):
        script.open(viewer=None)
        script.records.append(Received(script.now, 1, connection, piece.encode()))
    assert not kinds(Isolation(CANARIES), script)


def test_events_of_a_thread_that_the_user_never_asked_for() -> None:
    assert leaks(event("CUSTOM", 1, thread="other")) == {"stray": 1}
    assert not leaks(event("CUSTOM", 1))


def test_events_of_a_run_that_the_user_never_started() -> None:
    assert leaks(event("RUN_STARTED", 1, run="r2")) == {"stray": 1}


def test_a_thread_with_more_runs_than_are_known_alarms_nobody() -> None:
    script = Script()
    asked(script)
    for number in range(1_001):
        script.ask(run=f"n{number}")
    script.send(*whole_run())
    assert not kinds(Isolation(CANARIES), script)


def test_a_leak_in_an_answer_over_http() -> None:
    for canary, expected in ((FOREIGN, {"leak": 1}), (OWN, {})):
        script = Script()
        op = script.invoke("history", thread="t")
        script.messages(op, ("1", "user", canary))
        script.complete(op)
        assert kinds(Isolation(CANARIES), script) == expected


def test_what_belongs_to_another_is_refused() -> None:
    for status, reply_ok, code, expected in (
        (404, False, "", {}),
        (200, False, "admitted", {"intrusion": 1}),
        (404, True, "admitted", {"intrusion": 1}),
        (404, False, "admitted", {"intrusion": 1}),
    ):
        script = Script()
        script.open()
        op = script.invoke("intrude", connection=1, thread="theirs", owner=2)
        script.answer(op, b"{}", status)
        script.send({"re": op.op, "ok": reply_ok, "error": {"code": "not_found"}})
        script.complete(op, "info" if code else "ok", code)
        assert kinds(Isolation(CANARIES), script) == expected


def test_every_command_of_an_intrusion_is_refused_also_late() -> None:
    for reply, expected in (
        ({"ok": True, "cancelled": ["theirs"]}, {"intrusion": 1}),
        ({"ok": True, "cancelled": []}, {}),
        ({"ok": False}, {}),
    ):
        script = Script()
        script.open()
        op = script.invoke("intrude", connection=1, thread="theirs", owner=2)
        script.send({"re": op.op, "ok": False})
        script.complete(op)
        script.send({"re": f"{op.op}:cancel", **reply})
        assert kinds(Isolation(CANARIES), script) == expected


def test_checked_counts_what_was_scanned() -> None:
    script = Script()
    asked(script)
    script.send(*whole_run())
    assert find(Isolation(CANARIES), script.records, FORMAT).checked == 3
