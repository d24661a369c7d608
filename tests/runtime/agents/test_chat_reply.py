"""A model's answer, put together from the chunks that endpoints of several makes send."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest

from goldenpath.runtime.agents.chat_reply import Arguments, Piece, Reply, Text, Thought, decode_chunk


def delta(finish_reason: str | None = None, **fields: Any) -> str:
    return json.dumps({"id": "x", "choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]})


def fragment(index: int | None, identity: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    entry = {"index": index, "id": identity, "function": function}
    return {key: value for key, value in entry.items() if value is not None}


def assembled(*chunks: str) -> tuple[Reply, list[Piece]]:
    own = itertools.count(1)
    reply = Reply(lambda given: given or f"own-{next(own)}")
    pieces = [piece for chunk in chunks for piece in reply.take(decode_chunk(chunk))]
    return reply, pieces


def test_text_comes_as_it_is_sent_and_empty_deltas_are_nothing() -> None:
    reply, pieces = assembled(
        delta(role="assistant", content=""),
        delta(content="Hel"),
        delta(content="lo"),
        delta(content=None),
        delta("stop"),
    )
    assert pieces == [Text("Hel"), Text("lo")]
    assert (reply.text, reply.calls, reply.finish_reason) == ("Hello", [], "stop")


def test_a_refusal_is_text() -> None:
    assert assembled(delta(refusal="I will not."))[1] == [Text("I will not.")]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_found_where_endpoints_put_it(field: str) -> None:
    assert assembled(delta(**{field: "hmm"}), delta(content="so"))[1] == [Thought("hmm"), Text("so")]


def test_reasoning_that_is_given_twice_is_taken_once() -> None:
    assert assembled(delta(reasoning_content="hmm", reasoning="hmm"))[1] == [Thought("hmm")]


def test_reasoning_that_is_no_text_is_ignored() -> None:
    assert assembled(delta(reasoning={"summary": "hmm"}))[1] == []


def test_a_call_in_fragments_is_one_call() -> None:
    reply, pieces = assembled(
        delta(tool_calls=[fragment(0, "a", "f", "")]),
        delta(tool_calls=[fragment(0, arguments='{"x"')]),
        delta(tool_calls=[fragment(0, arguments=":1}")]),
        delta("tool_calls"),
    )
    assert [(call.id, call.name, call.arguments) for call in reply.calls] == [("a", "f", '{"x":1}')]
    assert [piece.delta for piece in pieces if isinstance(piece, Arguments)] == ["", '{"x"', ":1}"]


def test_fragments_of_several_calls_may_come_mixed() -> None:
    reply, _ = assembled(
        delta(tool_calls=[fragment(0, "a", "f"), fragment(1, "b", "g")]),
        delta(tool_calls=[fragment(1, arguments="[2]")]),
        delta(tool_calls=[fragment(0, arguments="[1]")]),
    )
    assert [(call.id, call.name, call.arguments) for call in reply.calls] == [("a", "f", "[1]"), ("b", "g", "[2]")]


def test_whole_calls_that_share_an_index_are_told_apart_by_their_ids() -> None:
    reply, _ = assembled(
        delta(tool_calls=[fragment(0, "a", "f", "{}")]),
        delta(tool_calls=[fragment(0, "b", "g", "{}")]),
    )
    assert [(call.id, call.name) for call in reply.calls] == [("a", "f"), ("b", "g")]


def test_whole_calls_without_any_index_are_told_apart_by_their_place() -> None:
    reply, _ = assembled(delta(tool_calls=[fragment(None, "a", "f", "{}"), fragment(None, "b", "g", "{}")]))
    assert [(call.id, call.name) for call in reply.calls] == [("a", "f"), ("b", "g")]


def test_a_call_without_an_id_gets_one_and_repeated_names_change_nothing() -> None:
    reply, _ = assembled(
        delta(tool_calls=[fragment(0, name="f", arguments="[")]),
        delta(tool_calls=[fragment(0, name="f", arguments="]")]),
    )
    assert [(call.id, call.name, call.arguments) for call in reply.calls] == [("own-1", "f", "[]")]


def test_arguments_that_are_an_object_become_its_json() -> None:
    reply, _ = assembled(delta(tool_calls=[fragment(0, "a", "f", {"x": 1})]))
    assert reply.calls[0].arguments == '{"x":1}'


def test_a_call_that_has_no_name_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="without a name"):
        assembled(delta(tool_calls=[fragment(0, "a", arguments="{}")]))


def test_only_the_first_choice_counts() -> None:
    chunk = json.dumps({"choices": [{"delta": {"content": "one"}}, {"delta": {"content": "two"}}]})
    assert assembled(chunk)[1] == [Text("one")]


@pytest.mark.parametrize(
    "chunk",
    [
        "",
        "{",
        "[]",
        '{"choices":3}',
        '{"choices":[{"delta":{"content":3}}]}',
        '{"choices":[{"delta":{"tool_calls":{}}}]}',
    ],
)
def test_what_is_no_chunk_is_refused(chunk: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_chunk(chunk)


def test_usage_becomes_agui_token_counts() -> None:
    reply, _ = assembled(
        json.dumps(
            {
                "model": "m-1",
                "choices": [],
                "usage": {
                    "prompt_tokens": 12,
                    "completion_tokens": 34,
                    "total_tokens": 46,
                    "prompt_tokens_details": {"cached_tokens": 8},
                    "completion_tokens_details": {"reasoning_tokens": 5},
                },
            }
        )
    )
    assert reply.token_usage() == {
        "model": "m-1",
        "inputTokens": 12,
        "outputTokens": 34,
        "totalTokens": 46,
        "cachedInputTokens": 8,
        "reasoningTokens": 5,
    }


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": "3"}, {"total_tokens": -1}, {"total_tokens": 2**53}]
)
def test_counts_that_are_missing_or_wrong_are_left_out(usage: dict[str, Any] | None) -> None:
    reply, _ = assembled(json.dumps({"model": "m-1", "choices": [], "usage": usage}))
    assert reply.token_usage() is None
