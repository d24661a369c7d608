from __future__ import annotations

import pytest

from goldenpath.lab.checkers.snapshot import Snapshot
from goldenpath.lab.records import Invoke
from tests.lab.histories import CANARIES, Script, asked, event, find, kinds, whole_run


def _question(script: Script) -> str:
    return next(record.text for record in script.records if isinstance(record, Invoke))


def _snapshot(script: Script, seq: int, *answers: object) -> None:
    """The reader comes back, and a gap is announced and filled."""
    script.close(1)
    connection = script.open()
    attach = script.invoke("attach", connection=connection, thread="t", epoch="e1", after=3)
    messages = [{"id": "q", "role": "user", "content": _question(script)}]
    messages += [{"id": "a", "role": "assistant", "content": answer} for answer in answers]  # type: ignore[dict-item]
    script.reply(attach, seq, connection=connection, gap=True)
    script.send(event("MESSAGES_SNAPSHOT", seq, run=None, messages=messages), connection=connection)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["hello"], {}),
        (["earlier", [{"type": "text", "text": "hello"}]], {}),
        (["hell"], {"stale": 1}),
        ([], {"stale": 1}),
    ],
)
def test_a_snapshot_holds_the_answer_that_had_been_read(answers: list[object], expected: dict[str, int]) -> None:
    script = Script()
    asked(script)
    script.send(*whole_run())
    _snapshot(script, 6, *answers)
    assert kinds(Snapshot(CANARIES), script) == expected


@pytest.mark.parametrize(("answer", "expected"), [("hel", {}), ("hello", {}), ("he", {"stale": 1})])
def test_and_of_an_answer_that_was_cut_off_as_much_as_had_been_read(answer: str, expected: dict[str, int]) -> None:
    script = Script()
    asked(script)
    script.send(*whole_run()[:3])
    _snapshot(script, 5, answer)
    assert kinds(Snapshot(CANARIES), script) == expected


def test_the_witness_names_the_user_and_the_run() -> None:
    script = Script()
    asked(script)
    script.send(*whole_run())
    _snapshot(script, 6, "nothing")
    (violation,) = find(Snapshot(CANARIES), script.records).violations
    assert violation.witness == ("user 1, thread 't': the snapshot at 6 lacks what had been read of run 'r1': 'hello'")


def test_without_a_gap_there_is_nothing_to_say() -> None:
    script = Script()
    asked(script)
    script.send(*whole_run())
    assert find(Snapshot(CANARIES), script.records).checked == 0


def test_a_snapshot_holds_what_was_asked_and_nothing_else() -> None:
    for text, expected in (("", {"stale": 1}), ("?", {"stale": 1, "invented": 1})):
        script = Script()
        op = asked(script)
        script.send(*whole_run())
        attach = script.invoke("attach", connection=script.open(), thread="t", epoch="e1", after=3)
        script.reply(attach, 6, connection=2, gap=True)
        messages = [{"role": "user", "content": text}] if text else []
        messages.append({"role": "assistant", "content": "hello"})
        script.send(event("MESSAGES_SNAPSHOT", 6, run=None, messages=messages), connection=2)
        assert op.text
        assert kinds(Snapshot(CANARIES), script) == expected
