"""AG-UI's events as frames."""

from __future__ import annotations

import pytest

from goldenpath.lab.formats import make_format
from goldenpath.lab.frames import FormatError


def test_events_belong_to_the_run_that_started_last() -> None:
    decoder = make_format("agui", {}).decoder()
    decoder.asked("t", "r")
    frames = decoder.feed(
        b'data: {"type": "RUN_STARTED", "threadId": "T", "runId": "R"}\n\n'
        b'data: {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "hi"}\n\n'
        b'data: {"type": "SOMETHING_NEW", "field": [1]}\n\n'
    )
    assert [(frame.thread_id, frame.run_id, frame.seq) for frame in frames] == [("T", "R", 0)] * 3
    assert [frame.event.type for frame in frames if frame.event] == [
        "RUN_STARTED",
        "TEXT_MESSAGE_CONTENT",
        "SOMETHING_NEW",
    ]


def test_a_run_that_fails_before_it_starts_is_the_one_that_was_asked_for() -> None:
    decoder = make_format("agui", {}).decoder()
    decoder.asked("t", "r")
    (frame,) = decoder.feed(b'data: {"type": "RUN_ERROR", "message": "no", "code": "c"}\n\n')
    assert (frame.thread_id, frame.run_id) == ("t", "r")


@pytest.mark.parametrize("data", [b"hello", b"[1]", b'{"delta": "no type"}', b'{"type": 7}', b'"\xff"', b"[DONE]"])
def test_what_is_no_event_is_garbage(data: bytes) -> None:
    with pytest.raises(FormatError):
        make_format("agui", {}).decoder().feed(b"data: " + data + b"\n\n")


def test_there_are_no_options() -> None:
    with pytest.raises(ValueError, match="no options, but was given colour"):
        make_format("agui", {"colour": 1})
