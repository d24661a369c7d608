from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.agents.echo import deltas
from goldenpath.wire import events as ev
from goldenpath.wire.messages import SystemMessage, UserMessage
from tests.runtime.agents.stage import Stage


@given(st.text())
def test_joined_deltas_equal_the_text_and_none_has_more_than_eight_characters(text: str) -> None:
    pieces = deltas(text)
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= 8 for piece in pieces)
    # The same counted as JavaScript does, in UTF-16 units.
    assert all(len(piece.encode("utf-16-le", "surrogatepass")) <= 16 for piece in pieces)


async def test_echo_says_the_last_user_message_in_one_message(stage: Stage) -> None:
    played = await stage.play("echo", "first", "Grüße, 世界! 👩‍🚀")
    assert played.kinds == [
        "RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_FINISHED",
    ]  # fmt: skip
    assert played.text == "Grüße, 世界! 👩‍🚀"
    assert played.finished.outcome == ev.SuccessOutcome()


async def test_an_empty_message_is_echoed_as_an_empty_one(stage: Stage) -> None:
    played = await stage.play("echo", "")
    assert played.kinds == ["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_END", "RUN_FINISHED"]


async def test_the_text_parts_of_a_message_are_echoed(stage: Stage) -> None:
    message = UserMessage(
        [{"type": "text", "text": "see "}, {"type": "image"}, {"type": "text", "text": "this"}], id="u"
    )
    assert (await stage.play("echo", message)).text == "see this"


async def test_without_a_user_message_there_is_nothing_to_echo(stage: Stage) -> None:
    played = await stage.play("echo", SystemMessage("be brief", id="s"))
    assert played.error.code == "bad_request"
    assert played.kinds == ["RUN_STARTED", "RUN_ERROR"]


@pytest.mark.parametrize("props", [None, {}, {"delay_ms": 0}, {"delay_ms": 0.5}, {"other": 1}, [1], "x"])
async def test_a_delay_may_be_absent_or_small(stage: Stage, props: Any) -> None:
    assert (await stage.play("echo", "hello", forwarded_props=props)).text == "hello"


@pytest.mark.parametrize("delay", [-1, 1000.5, 1001, "5", True, None, [], float(2**80)])
async def test_any_other_delay_is_refused_before_anything_is_said(stage: Stage, delay: Any) -> None:
    played = await stage.play("echo", "hello", forwarded_props={"delay_ms": delay})
    assert played.error.code == "bad_request"
    assert "delay_ms" in played.error.message
    assert played.kinds == ["RUN_STARTED", "RUN_ERROR"]


async def test_the_delay_comes_before_each_delta(stage: Stage) -> None:
    started = time.monotonic()
    played = await stage.play("echo", "x" * 24, forwarded_props={"delay_ms": 30})
    assert played.deltas == ["x" * 8] * 3
    assert time.monotonic() - started >= 0.09
