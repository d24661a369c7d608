"""The openai agent against endpoints that are down, slow, hostile or merely different."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from goldenpath.runtime.agents.chat_endpoint import MAX_REPLY_BYTES
from goldenpath.runtime.agents.openai import MAX_DELTA, openai_agent
from goldenpath.wire import events as ev
from tests.runtime.agents.model_server import Endpoint, answering, chunk, head, raw_endpoint
from tests.runtime.agents.stage import Played, Stage, user_input

KEY = "sk-secret-0123456789"
DONE = b"data: [DONE]\n\n"


async def play(stage: Stage, endpoint: Endpoint | str, **options: Any) -> Played:
    """Ask an endpoint once."""
    base_url = endpoint if isinstance(endpoint, str) else endpoint.base_url
    stage.agents.add("gpt", openai_agent(base_url=base_url, model="m", api_key=KEY, **options))
    played = await stage.play("gpt", "hi", thread_id="t")
    assert KEY not in "".join(ev.encode(event).decode() for event in played)
    return played


async def test_the_key_goes_to_the_endpoint_and_nowhere_else(stage: Stage) -> None:
    async with raw_endpoint(answering(head(), chunk("stop", content="ok"), DONE)) as endpoint:
        await play(stage, f"{endpoint.base_url}/")
    (request,) = endpoint.heads
    assert request.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"authorization: bearer {KEY}\r\n" in request.lower()


# --- different --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_comes_before_the_answer(stage: Stage, field: str) -> None:
    parts = [chunk(**{field: "let me "}), chunk(**{field: "think"}), chunk(content="So: "), chunk("stop", content="4")]
    async with raw_endpoint(answering(head(), *parts, DONE)) as endpoint:
        played = await play(stage, endpoint)
    assert played.kinds == [
        "RUN_STARTED",
        "REASONING_START", "REASONING_MESSAGE_START", "REASONING_MESSAGE_CONTENT", "REASONING_MESSAGE_END",
        "REASONING_END",
        "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]  # fmt: skip
    assert "".join(event.delta for event in played.of(ev.ReasoningMessageContent)) == "let me think"
    assert played.text == "So: 4"


async def test_the_form_of_the_stream_may_differ(stage: Stage) -> None:
    """Line ends of every kind, comments, events in pieces, and no [DONE]."""
    stream = b": hello\r\n\r\n" + chunk(content="a").replace(b"\n", b"\r\n") + b"event: x\ndata:\n\n"
    stream += chunk(content="\u2028b").replace(b"\n", b"\r") + chunk("stop")
    pieces = [stream[start : start + 7] for start in range(0, len(stream), 7)]
    async with raw_endpoint(answering(head(), *pieces)) as endpoint:
        played = await play(stage, endpoint)
    assert played.text == "a\u2028b"
    assert played.finished.outcome == ev.SuccessOutcome()


async def test_a_call_id_that_the_thread_has_already_is_replaced(stage: Stage) -> None:
    """Some endpoints count their calls from 1 in every answer."""

    async def converse(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(head())
        if body["messages"][-1]["role"] == "tool" and len(body["messages"]) > 4:
            writer.write(chunk("stop", content="done") + DONE)
        else:
            call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "tick", "arguments": "{}"}}
            writer.write(chunk("tool_calls", tool_calls=[call]) + DONE)
        await writer.drain()

    def tick() -> str:
        """Ticks."""
        return "tock"

    async with raw_endpoint(converse) as endpoint:
        played = await play(stage, endpoint, tools=[tick])
    ids = [call.tool_call_id for call in played.of(ev.ToolCallStart)]
    assert len(ids) == len(set(ids)) == 2
    assert [result.tool_call_id for result in played.of(ev.ToolCallResult)] == ids
    assert [m["tool_call_id"] for m in endpoint.bodies[-1]["messages"] if m["role"] == "tool"] == ids


async def test_text_between_fragments_of_a_call_does_not_break_it(stage: Stage) -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "pick", "arguments": "["}}
    rest = {"index": 0, "function": {"arguments": "1]"}}
    parts = [chunk(tool_calls=[call]), chunk(content="wait"), chunk("tool_calls", tool_calls=[rest])]
    async with raw_endpoint(answering(head(), *parts, DONE)) as endpoint:
        played = await play(stage, endpoint, max_rounds=1)
    assert "".join(event.delta for event in played.of(ev.ToolCallArgs)) == "[1]"
    assert played.text == "wait"


async def test_a_delta_larger_than_an_event_may_be_is_divided(stage: Stage) -> None:
    text = "ü" * (20 * MAX_DELTA)
    async with raw_endpoint(answering(head(), chunk("stop", content=text), DONE)) as endpoint:
        played = await play(stage, endpoint)
    assert played.text == text
    assert len(played.deltas) == 20


# --- down, slow, hostile ----------------------------------------------------------------------------------------------


async def test_nobody_listens(stage: Stage) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        played = await play(stage, f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
    assert played.error.code == "upstream_unavailable"
    assert "127.0.0.1" not in played.error.message


@pytest.mark.parametrize(
    "stream",
    [
        b"\x00\xff garbage \r\n\r\n",
        b"",
        head("application/json") + b'{"choices":[]}',
        head() + b"data: {oops\n\n",
        head() + b'data: {"choices":"none"}\n\n',
        head() + b"data: " + b"[" * 100_000 + b"\n\n",
        head() + chunk(content="half"),
        head() + chunk(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}]),
        head("text/event-stream", "200 OK", "Content-Encoding: gzip") + b"\x1f\x8b",
        head("text/html", "302 Found", "Location: http://127.0.0.1:9/"),
        head("text/html", "500 Oops") + b"<html>" + b"x" * 200_000,
    ],
    ids=["garbage", "nothing", "json", "no json", "no chunk", "deep", "cut", "nameless", "gzip", "redirect", "html"],
)
async def test_nonsense_ends_the_run_with_upstream_unavailable(stage: Stage, stream: bytes) -> None:
    async with raw_endpoint(answering(stream)) as endpoint:
        played = await play(stage, endpoint)
    assert played.error.code == "upstream_unavailable"


async def test_an_error_inside_the_stream_shows_its_code_only(stage: Stage) -> None:
    error = {"error": {"message": f"key {KEY} exhausted", "code": "quota", "type": KEY}}
    async with raw_endpoint(
        answering(head(), chunk(content="so"), f"data: {json.dumps(error)}\n\n".encode())
    ) as endpoint:
        played = await play(stage, endpoint)
    assert (played.error.code, played.text) == ("upstream_unavailable", "so")
    assert "quota" in played.error.message


async def test_an_error_whose_code_quotes_the_key_is_not_shown(stage: Stage) -> None:
    body = json.dumps({"error": {"code": f"invalid-{KEY}", "type": "invalid_api_key"}}).encode()
    async with raw_endpoint(answering(head("application/json", "401 Unauthorized"), body)) as endpoint:
        played = await play(stage, endpoint)
    assert played.error.code == "not_configured"
    assert "invalid_api_key" in played.error.message


async def test_a_line_without_end_is_not_kept_for_ever(stage: Stage) -> None:
    async def converse(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(head() + b"data: ")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with raw_endpoint(converse) as endpoint:
        played = await play(stage, endpoint)
        await asyncio.wait_for(endpoint.closed.wait(), 5)
    assert played.error.code == "upstream_unavailable"
    assert f"more than {MAX_REPLY_BYTES} bytes" in played.error.message


async def hang(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    """Never answers."""
    await writer.drain()
    await asyncio.Event().wait()


async def start_and_hang(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    """Starts to answer, and never goes on."""
    writer.write(head() + chunk(content="so far"))
    await writer.drain()
    await asyncio.Event().wait()


async def trickle(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    """Is never silent, and never done."""
    writer.write(head())
    while True:
        writer.write(b": still thinking\n\n")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("converse", [hang, start_and_hang])
async def test_a_silent_endpoint_is_given_up(stage: Stage, converse: Any) -> None:
    async with raw_endpoint(converse) as endpoint:
        played = await play(stage, endpoint, idle_timeout=0.2)
        await asyncio.wait_for(endpoint.closed.wait(), 5)
    assert played.error.code == "timeout"


@pytest.mark.parametrize("converse", [hang, trickle])
async def test_nothing_outlives_the_run(stage: Stage, converse: Any) -> None:
    async with raw_endpoint(converse) as endpoint:
        agent = openai_agent(base_url=endpoint.base_url, model="m")
        stage.agents.add("gpt", agent, timeout=0.3)
        played = await stage.play("gpt", "hi")
        await asyncio.wait_for(endpoint.closed.wait(), 5)
    assert played.error.code == "timeout"


@pytest.mark.parametrize("converse", [hang, start_and_hang, trickle])
async def test_a_cancel_closes_the_stream_at_once(stage: Stage, converse: Any) -> None:
    async with raw_endpoint(converse) as endpoint, asyncio.timeout(10):
        stage.agents.add("gpt", openai_agent(base_url=endpoint.base_url, model="m"))
        async with stage.playing("gpt", "t", user_input("hi")) as events:
            await endpoint.asked.wait()
            await stage.cancel("t")
            played = Played([event async for event in events])
        await asyncio.wait_for(endpoint.closed.wait(), 1)
    assert played.finished.outcome == ev.CancelledOutcome()


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["base_url", "model"])
async def test_what_is_not_set_is_named(stage: Stage, missing: str) -> None:
    configuration: dict[str, Any] = {"base_url": "http://127.0.0.1:9/v1", "model": "m", missing: None}
    stage.agents.add("gpt", openai_agent(**configuration))
    played = await stage.play("gpt", "hi")
    assert played.error.code == "not_configured"
    assert f"GOLDENPATH_OPENAI_{missing.upper()}" in played.error.message


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "ftp://127.0.0.1/"},
        {"base_url": "127.0.0.1:8000/v1"},
        {"base_url": "http:///v1"},
        {"api_key": "two words"},
        {"api_key": "schlüssel"},
        {"api_key": "line\r\nX-Other: 1"},
        {"api_key": ""},
        {"max_rounds": 0},
        {"idle_timeout": 0},
        {"idle_timeout": float("nan")},
    ],
)
def test_what_cannot_work_is_refused_when_the_agent_is_made(wrong: dict[str, Any]) -> None:
    configuration = {"base_url": "http://127.0.0.1:9/v1", "model": "m", **wrong}
    with pytest.raises(ValueError, match=next(iter(wrong))) as caught:
        openai_agent(**configuration)
    assert str(wrong.get("api_key") or "-none-") not in str(caught.value)


def test_two_tools_may_not_have_one_name() -> None:
    def tick() -> str:
        """Ticks."""
        return "tock"

    with pytest.raises(ValueError, match="same name"):
        openai_agent(base_url=None, model=None, tools=[tick, tick])
