from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.wire import events as ev
from goldenpath.wire.chunks import Chunk, Chunks


def expanded(*stream: Chunk) -> list[ev.Event]:
    chunks = Chunks()
    return [event for chunk in stream for event in chunks.expand(chunk)] + list(chunks.close())


@given(st.lists(st.text(), min_size=1))
def test_one_message_in_chunks_is_its_start_its_deltas_and_its_end(deltas: list[str]) -> None:
    first, *rest = deltas
    stream = [ev.TextMessageChunk(message_id="m", role="user", name="Ann", delta=first)]
    stream += [ev.TextMessageChunk(delta=delta) for delta in rest]
    assert expanded(*stream) == [
        ev.TextMessageStart(message_id="m", role="user", name="Ann"),
        *(ev.TextMessageContent(message_id="m", delta=delta) for delta in deltas),
        ev.TextMessageEnd(message_id="m"),
    ]


def test_a_chunk_of_another_message_ends_the_one_before() -> None:
    kinds = [
        type(event) for event in expanded(ev.TextMessageChunk(message_id="m1"), ev.TextMessageChunk(message_id="m2"))
    ]
    assert kinds == [ev.TextMessageStart, ev.TextMessageEnd, ev.TextMessageStart, ev.TextMessageEnd]


def test_two_subagents_write_their_messages_at_the_same_time() -> None:
    assert expanded(
        ev.TextMessageChunk(message_id="m1", subagent_run_id="a"),
        ev.TextMessageChunk(message_id="m2", subagent_run_id="b"),
        ev.TextMessageChunk(delta="1", subagent_run_id="a"),
        ev.TextMessageChunk(delta="2", subagent_run_id="b"),
    ) == [
        ev.TextMessageStart(message_id="m1", subagent_run_id="a"),
        ev.TextMessageStart(message_id="m2", subagent_run_id="b"),
        ev.TextMessageContent(message_id="m1", delta="1", subagent_run_id="a"),
        ev.TextMessageContent(message_id="m2", delta="2", subagent_run_id="b"),
        ev.TextMessageEnd(message_id="m1", subagent_run_id="a"),
        ev.TextMessageEnd(message_id="m2", subagent_run_id="b"),
    ]


def test_a_chunk_without_owner_continues_the_only_one_there_is() -> None:
    stream = expanded(ev.TextMessageChunk(message_id="m", subagent_run_id="a"), ev.TextMessageChunk(delta="x"))
    assert stream[1] == ev.TextMessageContent(message_id="m", delta="x", subagent_run_id="a")


@pytest.mark.parametrize(
    "chunk",
    [
        ev.TextMessageChunk(delta="x"),
        ev.ReasoningMessageChunk(delta="x"),
        ev.ToolCallChunk(tool_call_id="c", delta="x"),
    ],
)
def test_a_chunk_that_neither_opens_nor_continues_stands_for_nothing(chunk: Chunk) -> None:
    assert expanded(chunk) == []


def test_metadata_stays_off_the_message_that_a_chunk_ends() -> None:
    stream = expanded(
        ev.TextMessageChunk(message_id="m1"), ev.TextMessageChunk(message_id="m2", delta="x", metadata={"a": 1})
    )
    assert [event.metadata for event in stream] == [None, None, {"a": 1}, {"a": 1}, None]


def test_metadata_without_text_travels_on_an_empty_delta() -> None:
    stream = expanded(ev.TextMessageChunk(message_id="m"), ev.TextMessageChunk(metadata={"a": 1}))
    assert stream[1] == ev.TextMessageContent(message_id="m", delta="", metadata={"a": 1})
