from __future__ import annotations

import json

import pytest

from goldenpath.lab.checkers import history
from goldenpath.lab.checkers.history import History
from goldenpath.lab.records import Invoke
from tests.lab.histories import CANARIES, FORMAT, Script, UnnumberedFormat, asked, find, kinds, whole_run

Said = tuple[str, str, str]


def talked(outcome: str = "success") -> tuple[Script, Said, Said]:
    """One run has ended: its question and its answer as the history should hold them."""
    script = Script()
    op = asked(script)
    script.send(*whole_run(outcome=outcome))
    script.complete(op)
    return script, ("q1", "user", op.text), ("m-r1", "assistant", "hello")


def read(script: Script, *messages: Said) -> dict[str, int]:
    op = script.invoke("history", thread="t")
    script.messages(op, *messages)
    script.complete(op)
    return kinds(History(FORMAT, CANARIES), script)


def test_the_history_holds_the_question_and_the_answer() -> None:
    script, question, answer = talked()
    assert not read(script, question, answer)


def test_an_answer_that_is_missing_or_another() -> None:
    for answers in ([], [("m-r1", "assistant", "hell")], [("m-r1", "user", "hello")]):
        script, question, _ = talked()
        assert read(script, question, *answers) == {"missing": 1}


def test_a_question_that_is_missing() -> None:
    script, _, answer = talked()
    assert read(script, answer) == {"missing": 1}


def test_an_answer_in_several_messages() -> None:
    script, question, _ = talked()
    assert not read(script, question, ("a", "assistant", "hel"), ("b", "assistant", "lo"))


def test_a_message_twice() -> None:
    script, question, answer = talked()
    assert read(script, question, answer, answer) == {"duplicate": 1}
    for name in ("q1", "q2"):
        script, question, answer = talked()
        assert read(script, question, (name, *question[1:]), answer) == {"duplicate": 1}


def test_equal_answers_to_different_questions_are_no_duplicates() -> None:
    script, question, answer = talked()
    assert not read(script, question, answer, ("m-r2", "assistant", "hello"))


def test_answers_in_another_order_than_they_were_given() -> None:
    script, question, answer = talked()
    op = script.ask(run="r2")
    script.send(*whole_run(["world"], run="r2", after=6))
    script.complete(op)
    second = [("q2", "user", op.text), ("m-r2", "assistant", "world")]
    assert read(script, *second, question, answer) == {"reordered": 1}
    script.records = script.records[:-3]
    assert not read(script, question, answer, *second)


def test_a_run_that_ended_since_the_history_was_asked_for_may_be_missing() -> None:
    script = Script()
    script.open()
    reading = script.invoke("history", thread="t")
    op = script.ask()
    script.reply(op)
    script.send(*whole_run())
    script.messages(reading)
    assert not kinds(History(FORMAT, CANARIES), script)


@pytest.mark.parametrize("outcome", ["cancelled", "interrupt"])
def test_the_text_of_a_run_that_was_cut_short_stays_where_the_contract_says_so(outcome: str) -> None:
    script, question, _ = talked(outcome)
    assert read(script, question) == {"missing": 1}
    if outcome == "cancelled":
        assert not kinds(History(UnnumberedFormat({}), CANARIES), script, UnnumberedFormat({}))


def test_what_cannot_be_read() -> None:
    script, *_ = talked()
    op = script.invoke("history", thread="t")
    script.answer(op, b"<html>")
    assert kinds(History(FORMAT, CANARIES), script) == {"malformed": 1}


def test_a_refused_reading_says_nothing() -> None:
    script, *_ = talked()
    op: Invoke = script.invoke("history", thread="t")
    script.answer(op, b"{}", 503)
    assert find(History(FORMAT, CANARIES), script.records).checked == 0


def test_what_is_forgotten_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it was known as its history began to be read, and of a thread as long as all that is remembered."""
    monkeypatch.setattr(history, "_REMEMBERED", 5_000)
    script = Script()
    connection = script.open()
    reading = None
    for number in range(40):
        op = script.ask(connection, run=f"r{number}", answer="hello")
        script.reply(op, 6 * number, connection=connection)
        script.send(*whole_run(run=op.run, after=6 * number), connection=connection)
        script.complete(op)
        if number == 20:
            reading = script.invoke("history", thread="t")
    assert reading is not None
    script.answer(reading, b'{"messages":[]}')
    script.complete(reading)
    assert not kinds(History(FORMAT, CANARIES), script)

    op = script.invoke("history", thread="t")
    script.answer(op, b'{"messages":[]}')
    script.complete(op)
    assert 2 <= kinds(History(FORMAT, CANARIES), script)["missing"] < 2 * 10


def test_what_nobody_said_is_invented() -> None:
    for more, expected in (
        (("x", "user", "never asked"), {"invented": 1}),
        (("x", "assistant", "never said"), {"invented": 1}),
        (("x", "assistant", ""), {}),
        (("x", "tool", "a result"), {}),
    ):
        script, question, answer = talked()
        assert read(script, question, answer, more) == expected


def test_nothing_is_invented_where_a_run_may_have_said_it() -> None:
    script, question, answer = talked()
    script.ask(run="r2")
    assert not read(script, question, answer, ("x", "assistant", "on its way"))
    script, question, answer = talked()
    script.complete(script.ask(run="r2"), "info", "timeout")
    assert not read(script, question, answer, ("x", "assistant", "after all"))


def test_a_history_that_says_that_it_is_another_threads() -> None:
    script, question, answer = talked()
    op = script.invoke("history", thread="t")
    messages = [{"id": name, "role": role, "content": text} for name, role, text in (question, answer)]
    script.answer(op, json.dumps({"thread_id": "another", "messages": messages}).encode())
    assert kinds(History(FORMAT, CANARIES), script) == {"misplaced": 1}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"threads":[{"thread_id":"t"}],"next_cursor":null}', {}),
        (b'{"threads":[{"thread_id":"u"}],"next_cursor":"more"}', {}),
        (b'{"threads":[{"thread_id":"u"}],"next_cursor":null}', {"unlisted": 1}),
        (b'{"threads":[]}', {"unlisted": 1}),
        (b'{"error":"boom"}', {"malformed": 1}),
    ],
)
def test_a_list_holds_the_threads_that_there_are(body: bytes, expected: dict[str, int]) -> None:
    script, _, _ = talked()
    op = script.invoke("threads")
    script.answer(op, body)
    assert kinds(History(FORMAT, CANARIES), script) == expected
