"""Any JSON messages as frames, by a mapping."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from goldenpath.lab.canary import Canaries
from goldenpath.lab.checkers import standard_checkers
from goldenpath.lab.formats import make_format
from goldenpath.lab.frames import Decoder, FormatError
from goldenpath.lab.judge import judge
from goldenpath.lab.records import Complete, Invoke, Opened, Received, Record

SIMPLE = {"kind": "is", "delta": ["word", "all"], "end": ["done", "all"], "text": "text", "error": ["bad"]}
NUMBERED = {**SIMPLE, "seq": "no"}


def frames(decoder: Decoder, *messages: dict[str, Any]) -> list[tuple[str, str | None, str | None]]:
    return [
        (frame.event.type, frame.thread_id, frame.run_id)
        for message in messages
        for frame in decoder.feed(msgspec.json.encode(message))
        if frame.event is not None
    ]


def types(decoder: Decoder, *messages: dict[str, Any]) -> list[str]:
    return [kind for kind, _, _ in frames(decoder, *messages)]


def word(text: str = "x", **more: Any) -> dict[str, Any]:
    return {"is": "word", "text": text, **more}


def done(**more: Any) -> dict[str, Any]:
    return {"is": "done", **more}


def test_what_the_wire_leaves_out_is_filled_in() -> None:
    decoder = make_format("mapping", SIMPLE).decoder()
    decoder.asked("t", "r")
    assert frames(decoder, word(), word(), done()) == [
        (kind, "t", "r")
        for kind in (
            "RUN_STARTED",
            "TEXT_MESSAGE_START",
            "TEXT_MESSAGE_CONTENT",
            "TEXT_MESSAGE_CONTENT",
            "TEXT_MESSAGE_END",
            "RUN_FINISHED",
        )
    ]


def test_one_message_may_be_the_whole_answer() -> None:
    decoder = make_format("mapping", SIMPLE).decoder()
    decoder.asked("t", "r")
    assert types(decoder, {"is": "all", "text": "x"})[-1] == "RUN_FINISHED"


def test_an_error_ends_the_answer_with_its_code() -> None:
    decoder = make_format("mapping", {**SIMPLE, "code": "why.code"}).decoder()
    decoder.asked("t", "r")
    frame = decoder.feed(b'{"is": "bad", "why": {"code": 42}}')[-1]
    assert frame.event is not None
    assert (frame.event.type, frame.event.code) == ("RUN_ERROR", "42")


def test_answers_belong_to_the_questions_in_their_order() -> None:
    decoder = make_format("mapping", SIMPLE).decoder()
    decoder.asked("t", "r1")
    decoder.asked("u", "r2")
    assert [run for _, _, run in frames(decoder, word(), done())] == ["r1"] * 5
    assert {(thread, run) for _, thread, run in frames(decoder, word(), done())} == {("u", "r2")}


def test_what_comes_after_the_end_belongs_to_the_run_that_ended() -> None:
    decoder = make_format("mapping", SIMPLE).decoder()
    decoder.asked("t", "r")
    frames(decoder, word(), done())
    assert frames(decoder, word())[-1] == ("TEXT_MESSAGE_CONTENT", "t", "r")
    assert "RUN_STARTED" not in types(decoder, word())


def test_what_nobody_asked_for_belongs_to_no_thread() -> None:
    decoder = make_format("mapping", SIMPLE).decoder()
    assert {thread for _, thread, _ in frames(decoder, word())} == {""}


def test_answers_that_say_their_run_may_come_at_once() -> None:
    decoder = make_format("mapping", {**SIMPLE, "run": "of.run", "thread": "of.thread"}).decoder()
    decoder.asked("t", "r1")
    decoder.asked("t", "r2")
    one, two = ({"run": run, "thread": "t"} for run in ("r1", "r2"))
    seen = frames(decoder, word(of=two), word(of=one), done(of=two), done(of=one))
    assert [run for kind, _, run in seen if kind in ("RUN_STARTED", "RUN_FINISHED")] == ["r2", "r1", "r2", "r1"]


def test_a_start_that_the_wire_has_is_not_filled_in() -> None:
    decoder = make_format("mapping", {**SIMPLE, "start": ["go"]}).decoder()
    decoder.asked("t", "r")
    assert types(decoder, word()) == ["TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"]
    assert types(decoder, {"is": "go"}) == ["RUN_STARTED"]


def test_a_path_leads_through_lists() -> None:
    decoder = make_format("mapping", {**SIMPLE, "text": "choices.0.delta"}).decoder()
    decoder.asked("t", "r")
    frame = decoder.feed(b'{"is": "word", "choices": [{"delta": "hi"}]}')[-1]
    assert frame.event is not None
    assert frame.event.delta == "hi"


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"hello", "malformed"),
        (b"[]", "is is missing"),
        (b'{"is": "wrod"}', "'wrod' is a kind that the mapping does not name"),
        (b'{"is": "word"}', "text is missing"),
        (b'{"is": "word", "text": 5}', "text is no text"),
        (b'{"is": "word", "text": "x", "no": "1"}', "no is no number"),
        (b'{"is": "word", "text": "x"}', "no is missing|text is missing"),
    ],
)
def test_what_the_mapping_does_not_describe_is_garbage(message: bytes, why: str) -> None:
    decoder = make_format("mapping", NUMBERED).decoder()
    decoder.asked("t", "r")
    with pytest.raises(FormatError, match=why):
        decoder.feed(message)


# --- numbers, as the checkers see them --------------------------------------------------------------------------------


def judged(options: dict[str, Any], *answers: list[dict[str, Any]]) -> dict[str, int]:
    """What is found where these are the answers to one question after another, in two threads by turns."""
    records: list[Record] = [Opened(0, 0, 1, -1)]
    for number, answer in enumerate(answers, 1):
        op = Invoke(number, number, 0, "ask", number, 1, f"t{number % 2}", f"r{number}", "hi")
        records.append(op)
        records += [Received(number, 0, 1, msgspec.json.encode(message)) for message in answer]
        records.append(Complete(number, number, "ok"))
    format_ = make_format("mapping", options)
    findings = judge(format_, standard_checkers(format_, Canaries("n")), records)
    return {kind: count for finding in findings for kind, count in finding.counts.items()}


RIGHT = [[word(no=1), word(no=2), done(no=3)], [word(no=4), done(no=5)], [word(no=6), done(no=7)]]


def test_numbers_that_go_up_by_one_over_a_connection_are_right() -> None:
    assert judged(NUMBERED, *RIGHT) == {}


def test_a_message_that_is_ignored_has_a_number_too() -> None:
    ping = {"is": "ping", "no": 2}
    assert judged({**NUMBERED, "ignore": ["ping"]}, [word(no=1), ping, done(no=3)]) == {}


def test_a_message_that_is_lost_between_two_answers_is_missed() -> None:
    assert judged(NUMBERED, RIGHT[0], [word(no=5), done(no=6)]) == {"lost": 1}


def test_a_message_that_comes_twice_is_told() -> None:
    assert judged(NUMBERED, [word(no=1), word(no=2), word(no=2), done(no=3)])["duplicate"] == 1


def test_messages_that_change_places_are_told() -> None:
    assert judged(NUMBERED, [word(no=1), word(no=3), word(no=2), done(no=4)])["reordered"] == 1


def test_numbers_may_begin_anew_with_each_run_and_at_another_number() -> None:
    options = {**NUMBERED, "seq_of": "run", "seq_first": 0}
    runs = [[word(no=0), word(no=1), done(no=2)] for _ in range(4)]
    assert judged(options, *runs) == {}
    assert judged(options, *runs, [word(no=1), done(no=2)]) == {"lost": 1}


def test_without_numbers_a_second_end_is_still_wrong() -> None:
    assert judged(SIMPLE, [word(), done()]) == {}
    assert judged(SIMPLE, [word(), done(), done()]) != {}
