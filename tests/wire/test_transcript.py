from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from goldenpath.wire import events as ev
from goldenpath.wire.messages import (
    AssistantMessage,
    FunctionCall,
    Message,
    ReasoningMessage,
    ToolCall,
    UserMessage,
    decode_message,
)
from goldenpath.wire.transcript import Transcript
from tests.wire.naive_transcript import as_json, fold
from tests.wire.streams import HISTORIES, STREAMS


def folded(history: list[Message], stream: list[ev.Event]) -> Transcript:
    transcript = Transcript(history)
    for event in stream:
        transcript.apply(event)
    return transcript


def chat(*deltas: str, message_id: str = "m1") -> list[ev.Event]:
    return [
        ev.TextMessageStart(message_id=message_id),
        *(ev.TextMessageContent(message_id=message_id, delta=delta) for delta in deltas),
        ev.TextMessageEnd(message_id=message_id),
    ]


@given(HISTORIES, STREAMS)
@settings(max_examples=400)
def test_it_builds_what_the_plain_model_builds(history: list[Message], stream: list[ev.Event]) -> None:
    assert [as_json(message) for message in folded(history, stream).messages] == fold(history, stream)


@given(HISTORIES, STREAMS, st.data())
def test_looking_on_the_way_changes_nothing(
    history: list[Message], stream: list[ev.Event], data: st.DataObject
) -> None:
    looks = data.draw(st.lists(st.booleans(), min_size=len(stream), max_size=len(stream)))
    looked_at = Transcript(history)
    for event, look in zip(stream, looks, strict=True):
        looked_at.apply(event)
        if look:
            assert len(looked_at.messages) == len(looked_at)
    assert looked_at.messages == folded(history, stream).messages


@given(HISTORIES, STREAMS, st.integers(0, 25))
def test_a_cut_and_a_new_start_from_stored_messages_end_the_same(
    history: list[Message], stream: list[ev.Event], cut: int
) -> None:
    first = folded(history, stream[:cut])
    stored = [decode_message(ev.encode(message)) for message in first.messages]
    assert folded(stored, stream[cut:]).messages == folded(history, stream).messages


@given(HISTORIES, STREAMS)
def test_messages_that_were_handed_out_never_change(history: list[Message], stream: list[ev.Event]) -> None:
    transcript = Transcript(history)
    seen: list[tuple[list[Message], list[bytes]]] = []
    for event in stream:
        transcript.apply(event)
        messages = transcript.messages
        seen.append((messages, [ev.encode(message) for message in messages]))
    for messages, encoded in seen:
        assert [ev.encode(message) for message in messages] == encoded


@given(HISTORIES, STREAMS, st.data())
def test_writing_the_dirty_tail_keeps_a_copy_complete(
    history: list[Message], stream: list[ev.Event], data: st.DataObject
) -> None:
    transcript = Transcript(history)
    copy = list(history)
    for event in stream:
        transcript.apply(event)
        if data.draw(st.booleans()):
            if transcript.is_dirty:
                copy[transcript.dirty_from :] = transcript.tail(transcript.dirty_from)
                transcript.mark_clean()
            assert copy == transcript.messages
            assert transcript.dirty_from == len(transcript)


@given(HISTORIES, STREAMS)
def test_ids_are_those_of_the_messages(history: list[Message], stream: list[ev.Event]) -> None:
    transcript = folded(history, stream)
    ids = [message.id for message in transcript.messages]
    assert transcript.ids == set(ids)
    assert len(ids) == len(set(ids)) == len(transcript)


@given(HISTORIES, STREAMS)
def test_every_message_reads_back_as_it_was_written(history: list[Message], stream: list[ev.Event]) -> None:
    for message in folded(history, stream).messages:
        assert decode_message(ev.encode(message)) == message


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters='"\\'))))
def test_the_size_of_a_plain_text_is_exact(deltas: list[str]) -> None:
    transcript = folded([], chat(*deltas))
    assert transcript.size_bytes == len(ev.encode(transcript.messages[0]))


@given(st.lists(st.text(), min_size=1), st.data())
def test_a_cut_text_is_a_prefix_of_the_whole(deltas: list[str], data: st.DataObject) -> None:
    stream = chat(*deltas)
    cut = data.draw(st.integers(1, len(stream)))
    (part,) = folded([], stream[:cut]).messages
    assert isinstance(part, AssistantMessage)
    assert "".join(deltas).startswith(part.content or "")
    assert part.content == "".join(deltas[: cut - 1])


def test_a_tool_call_without_a_parent_makes_a_message_with_the_calls_id() -> None:
    transcript = folded(
        [],
        [
            *chat("Let me look."),
            ev.ToolCallStart(tool_call_id="c1", tool_call_name="search"),
            ev.ToolCallArgs(tool_call_id="c1", delta='{"q":'),
            ev.ToolCallArgs(tool_call_id="c1", delta="1}"),
            ev.ToolCallEnd(tool_call_id="c1"),
        ],
    )
    call = ToolCall(id="c1", function=FunctionCall(name="search", arguments='{"q":1}'))
    assert transcript.messages == [
        AssistantMessage(id="m1", content="Let me look."),
        AssistantMessage(id="c1", tool_calls=[call]),
    ]


def test_a_tool_result_stands_right_after_the_message_that_called() -> None:
    transcript = folded(
        [],
        [
            ev.ToolCallStart(tool_call_id="c1", tool_call_name="f", parent_message_id="m1"),
            ev.ToolCallStart(tool_call_id="c2", tool_call_name="f", parent_message_id="m1"),
            *chat("later", message_id="m2"),
            ev.ToolCallResult(message_id="r2", tool_call_id="c2", content="two"),
            ev.ToolCallResult(message_id="r1", tool_call_id="c1", content="one"),
        ],
    )
    assert [message.id for message in transcript.messages] == ["m1", "r2", "r1", "m2"]


def test_text_that_comes_after_a_tool_call_joins_the_message_of_the_call() -> None:
    transcript = folded(
        [], [ev.ToolCallStart(tool_call_id="c1", tool_call_name="f", parent_message_id="m1"), *chat("so")]
    )
    (message,) = transcript.messages
    assert isinstance(message, AssistantMessage)
    assert (message.content, [call.id for call in message.tool_calls or ()]) == ("so", ["c1"])


def test_events_for_messages_that_never_started_are_ignored() -> None:
    assert (
        folded([], [ev.TextMessageContent(message_id="m9", delta="x"), ev.ToolCallEnd(tool_call_id="c9")]).messages
        == []
    )


def test_chunks_build_the_message_that_their_long_forms_build() -> None:
    chunks: list[ev.Event] = [
        ev.TextMessageChunk(message_id="m1", role="assistant", delta="a"),
        ev.TextMessageChunk(delta="b"),
        ev.ToolCallChunk(tool_call_id="c1", tool_call_name="f", parent_message_id="m1", delta="{"),
        ev.ToolCallChunk(delta="}"),
        ev.ReasoningMessageChunk(message_id="m2", delta="hm"),
        ev.ReasoningMessageChunk(delta="m"),
    ]
    call = ToolCall(id="c1", function=FunctionCall(name="f", arguments="{}"))
    assert folded([], chunks).messages == [
        AssistantMessage(id="m1", content="ab", tool_calls=[call]),
        ReasoningMessage(id="m2", content="hmm"),
    ]


def test_a_snapshot_that_only_drops_the_last_messages_is_a_change() -> None:
    history: list[Message] = [UserMessage(id="m1", content="a"), UserMessage(id="m2", content="b")]
    transcript = Transcript(history)
    transcript.apply(ev.MessagesSnapshot(messages=history[:1]))
    assert (transcript.is_dirty, transcript.dirty_from, transcript.tail(1)) == (True, 1, [])


def test_a_snapshot_without_reasoning_keeps_the_reasoning_there_is() -> None:
    transcript = Transcript([UserMessage(id="m1", content="a"), ReasoningMessage(id="m2", content="hm")])
    transcript.apply(ev.MessagesSnapshot(messages=[UserMessage(id="m3", content="b")]))
    assert [message.id for message in transcript.messages] == ["m2", "m3"]


def test_the_cost_of_a_delta_does_not_grow_with_the_text() -> None:
    def seconds(deltas: int) -> float:
        delta = ev.TextMessageContent(message_id="m1", delta="12345678")
        transcript = folded([], [ev.TextMessageStart(message_id="m1")])
        start = time.process_time()
        for _ in range(deltas):
            transcript.apply(delta)
        return time.process_time() - start

    # Quadratic cost would make the second 400 times the first; the margin is for a noisy machine.
    assert min(seconds(100_000) for _ in range(3)) < 100 * min(seconds(5_000) for _ in range(3))


def test_a_patch_that_makes_too_much_of_an_activity_is_left_out() -> None:
    transcript = Transcript(max_document_bytes=1000)
    transcript.apply(ev.ActivitySnapshot("act", "plan", {"a": 1}))
    handed_out = transcript.messages
    bomb = [{"op": "copy", "from": "", "path": f"/k{number}"} for number in range(60)]
    for patch in (bomb, [{"op": "add", "path": "/b", "value": 2}]):
        transcript.apply(ev.ActivityDelta("act", "plan", patch))
    assert [message.content for message in transcript.messages] == [{"a": 1, "b": 2}]
    assert [message.content for message in handed_out] == [{"a": 1}]
    assert transcript.refused_patches == 1
    assert transcript.size_bytes == len(ev.encode(transcript.messages[0]))
