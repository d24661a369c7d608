"""The language of the scripted agent: what is a program, and which step is to blame when it is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.agents import program as p
from goldenpath.wire.errors import RequestError


def refusal(program: Any) -> str:
    """Why `program` is refused."""
    with pytest.raises(RequestError) as caught:
        p.parse(program if isinstance(program, str) else json.dumps(program))
    assert caught.value.code == "bad_request"
    return caught.value.message


def nested(depth: int, innermost: dict[str, Any]) -> dict[str, Any]:
    step = innermost
    for level in range(depth - 1):
        step = {"do": "step", "name": f"s{level}", "steps": [step]}
    return step


def test_every_step_has_its_own_word() -> None:
    assert len(set(p.STEPS)) == len(p.STEPS)
    assert {"say", "deltas", "tool", "interrupt", "parallel", "block", "ignore_cancel"} <= set(p.STEPS)


@pytest.mark.parametrize("text", ["", "hello", "[]", "3", "null", '{"steps":', "\ud800"])
def test_a_message_that_is_no_json_object_is_no_program(text: str) -> None:
    assert refusal(text).startswith("scripted: not a program: ")


@pytest.mark.parametrize(
    ("step", "place"),
    [
        ({"do": "say"}, "$.steps[1]"),
        ({"do": "sya", "text": "x"}, "$.steps[1].do"),
        ({"text": "x"}, "$.steps[1]"),
        ({"do": "say", "text": "x", "speed": 1}, "$.steps[1]"),
        ({"do": "sleep", "ms": -1}, "$.steps[1].ms"),
        ({"do": "sleep", "ms": 600_001}, "$.steps[1].ms"),
        ({"do": "sleep", "ms": True}, "$.steps[1].ms"),
        ({"do": "sleep", "ms": 1.5}, "$.steps[1].ms"),
        ({"do": "sleep", "ms": [3, 1]}, "$.steps[1].ms"),
        ({"do": "sleep", "ms": [1, 2, 3]}, "$.steps[1].ms"),
        ({"do": "block", "ms": 60_001}, "$.steps[1].ms"),
        ({"do": "block", "ms": 1, "where": "process"}, "$.steps[1].where"),
        ({"do": "deltas", "count": 1_000_001}, "$.steps[1].count"),
        ({"do": "deltas", "count": 1, "size": 0}, "$.steps[1].size"),
        ({"do": "deltas", "count": 1, "size": (4 << 20) + 1}, "$.steps[1].size"),
        ({"do": "deltas", "count": 1, "fill": ""}, "$.steps[1].fill"),
        ({"do": "error", "message": "x", "code": "no_such_code"}, "$.steps[1].code"),
        ({"do": "choose", "of": []}, "$.steps[1].of"),
        ({"do": "parallel", "branches": [[]] * 101}, "$.steps[1].branches"),
        ({"do": "emit", "event": {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}}, "$.steps[1].event"),
        ({"do": "emit", "event": {"type": "TEXT_MESSAGE_CHUNK", "delta": "x"}}, "$.steps[1].event"),
        ({"do": "emit", "event": {"type": "NO_SUCH"}}, "$.steps[1].event.type"),
        ({"do": "repeat", "times": 1, "steps": [{"do": "say", "text": 3}]}, "$.steps[1].steps[0].text"),
        ({"do": "parallel", "branches": [[], [{"do": "sleep", "ms": -5}]]}, "$.steps[1].branches[1][0].ms"),
        ({"do": "choose", "of": [[{"do": "sleep", "ms": -5}]]}, "$.steps[1].of[0][0].ms"),
    ],
)
def test_the_message_names_the_step_that_is_wrong(step: dict[str, Any], place: str) -> None:
    assert f"`{place}`" in refusal({"steps": [{"do": "say", "text": "fine"}, step]})


def test_an_unknown_step_is_answered_with_the_known_ones() -> None:
    assert "known are say, reason, deltas" in refusal({"steps": [{"do": "fly"}]})


def test_unknown_fields_of_the_program_are_refused() -> None:
    assert "`step`" in refusal({"steps": [], "step": []})


def test_the_steps_of_an_answer_are_checked_like_the_others() -> None:
    assert "`$.then[0].ms`" in refusal({"steps": [], "then": [{"do": "sleep", "ms": -1}]})


def test_steps_lie_at_most_eight_deep() -> None:
    p.parse(json.dumps({"steps": [nested(8, {"do": "say", "text": "x"})]}))
    message = refusal({"steps": [nested(9, {"do": "say", "text": "x"})]})
    assert "more than 8 deep" in message


def test_repetitions_count_as_steps() -> None:
    inner = {"do": "repeat", "times": 999, "steps": [{"do": "say", "text": "x"}]}
    p.parse(json.dumps({"steps": [{"do": "repeat", "times": 99, "steps": [inner]}]}))
    assert "at most 100000" in refusal({"steps": [{"do": "repeat", "times": [1, 101], "steps": [inner]}]})


def test_only_the_longest_choice_counts() -> None:
    branch = [{"do": "repeat", "times": 90_000, "steps": [{"do": "say", "text": "x"}]}]
    p.parse(json.dumps({"steps": [{"do": "choose", "of": [branch, branch, branch]}]}))
    assert "at most 100000" in refusal({"steps": [{"do": "parallel", "branches": [branch, branch]}]})


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([*p.STEPS, "do", "steps"]),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                        st.sampled_from(["do", "steps", "ms", "count", "size", "event", "branches", "of", "text"]),
                        inner, max_size=5)))  # fmt: skip
def test_whatever_the_message_holds_the_answer_is_a_program_or_a_typed_refusal(value: Any) -> None:
    for candidate in (value, {"steps": value}, {"steps": [value]}):
        try:
            program = p.parse(json.dumps(candidate))
        except RequestError as error:
            refused: str | None = error.code
        else:
            refused = None
            assert isinstance(program, p.Program)
        assert refused in (None, "bad_request")
