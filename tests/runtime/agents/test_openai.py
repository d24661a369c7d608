"""The openai agent against an independent mock of several providers."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import msgspec
import pytest

from goldenpath import Run
from goldenpath.runtime.agents.openai import openai_agent
from goldenpath.runtime.agents.tools import ToolError
from goldenpath.wire import events as ev
from goldenpath.wire.messages import AssistantMessage, Context, Tool, ToolMessage
from tests.runtime.agents.model_server import DIALECTS, ModelServer
from tests.runtime.agents.stage import Played, Stage

KEY = "sk-secret-0123456789"


@pytest.fixture(scope="module")
def running_model() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.close()


@pytest.fixture
def model(running_model: ModelServer) -> ModelServer:
    """The mock, with an empty record."""
    running_model.reset()
    return running_model


def add_agent(stage: Stage, model: ModelServer, dialect: str = "openai", **options: Any) -> None:
    agent = openai_agent(base_url=model.base_url(dialect), model="gpt-test", api_key=KEY, **options)
    stage.agents.add("gpt", agent)


def said(text: str) -> dict[str, Any]:
    return {"type": "reply", "text": text}


def called(*calls: tuple[str, dict[str, Any]], text: str | None = None) -> dict[str, Any]:
    tool_calls = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return {"type": "reply", "text": text, "tool_calls": tool_calls}


def weather(city: Annotated[str, msgspec.Meta(description="where")], unit: Literal["C", "F"] = "C") -> str:
    """The weather of a city."""
    return f"21 {unit} in {city}"


PICK = Tool(name="pick", description="Lets the user pick.", parameters={"type": "object", "properties": {}})


def assert_no_key(played: Played) -> None:
    assert KEY not in "".join(ev.encode(event).decode() for event in played)


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_is_streamed(stage: Stage, model: ModelServer, dialect: str) -> None:
    add_agent(stage, model, dialect)
    model.will(said("Hello, Wörld! How are you today?"))
    played = await stage.play("gpt", "hi")
    assert played.text == "Hello, Wörld! How are you today?"
    assert len(played.deltas) > 1
    assert played.finished.outcome == ev.SuccessOutcome()


async def test_the_whole_conversation_is_sent(stage: Stage, model: ModelServer) -> None:
    add_agent(stage, model, system_prompt="Be brief.", options={"temperature": 0, "stream_options": None})
    model.will(said("one"), said("two"))
    await stage.play("gpt", "first", thread_id="t")
    await stage.play("gpt", "second", thread_id="t", context=[Context("page", "/cart")])
    body = model.requests()[-1]["body"]
    assert body == {
        "model": "gpt-test",
        "stream": True,
        "temperature": 0,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "system", "content": "Context from the application:\npage: /cart"},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "one"},
            {"role": "user", "content": "second"},
        ],
    }


async def test_token_counts_are_reported(stage: Stage, model: ModelServer) -> None:
    add_agent(stage, model)
    played = await stage.play("gpt", "How much is this?")
    (usage,) = usage_of(played)
    assert usage["inputTokens"] > 0
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]


def usage_of(played: Played) -> list[dict[str, Any]]:
    return played.finished.usage or []


# --- tools ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", sorted(DIALECTS.keys() - {"perplexity"}))
async def test_the_agents_own_tool_is_called_and_its_result_goes_back(
    stage: Stage, model: ModelServer, dialect: str
) -> None:
    add_agent(stage, model, dialect, tools=[weather])
    model.will(called(("weather", {"city": "Paris", "unit": "F"})), said("It is warm."))
    played = await stage.play("gpt", "What is the weather in Paris?", thread_id="t")
    assert [kind for kind in played.kinds if kind != "CUSTOM"] == [
        "RUN_STARTED", "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT",
        "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_FINISHED",
    ]  # fmt: skip
    (call,) = played.of(ev.ToolCallStart)
    (result,) = played.of(ev.ToolCallResult)
    assert (call.tool_call_name, result.tool_call_id) == ("weather", call.tool_call_id)
    assert json.loads("".join(args.delta for args in played.of(ev.ToolCallArgs))) == {"city": "Paris", "unit": "F"}
    assert result.content == "21 F in Paris"
    assert played.text == "It is warm."
    asked, answered = (request["body"]["messages"] for request in model.requests())
    assert answered[: len(asked)] == asked
    assistant, tool = answered[len(asked) :]
    assert assistant["tool_calls"][0]["id"] == tool["tool_call_id"] == call.tool_call_id
    assert tool["content"] == "21 F in Paris"


async def test_a_model_that_decides_itself_calls_a_tool_by_its_schema(stage: Stage, model: ModelServer) -> None:
    add_agent(stage, model, tools=[weather])
    played = await stage.play("gpt", "What is the weather?")
    (result,) = played.of(ev.ToolCallResult)
    assert str(result.content).startswith("21 C in ") or str(result.content).startswith("21 F in ")
    assert played.text != ""
    offered = model.requests()[0]["body"]["tools"][0]["function"]
    assert offered == {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "where"},
                "unit": {"enum": ["C", "F"], "default": "C"},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    }


async def test_calls_of_one_answer_belong_to_one_message(stage: Stage, model: ModelServer) -> None:
    add_agent(stage, model, tools=[weather])
    model.will(called(("weather", {"city": "Rome"}), ("weather", {"city": "Oslo"}), text="Let me see."), said("Done."))
    await stage.play("gpt", "Rome or Oslo?", thread_id="t")
    history = await stage.history("t")
    _, calling, rome, oslo, done = history
    assert isinstance(calling, AssistantMessage)
    assert (calling.content, len(calling.tool_calls or ())) == ("Let me see.", 2)
    assert isinstance(rome, ToolMessage)
    assert isinstance(oslo, ToolMessage)
    assert isinstance(done, AssistantMessage)
    assert {rome.content, oslo.content} == {"21 C in Rome", "21 C in Oslo"}
    assert done.content == "Done."


async def test_an_async_tool_may_use_the_run_and_a_plain_one_runs_in_a_thread(stage: Stage, model: ModelServer) -> None:
    threads: list[str] = []

    async def whoami(run: Run) -> dict[str, str]:
        """Who asks."""
        await run.custom("app.asked", True)
        return {"user": run.context.user_id}

    def where() -> list[str]:
        """Which thread."""
        threads.append(threading.current_thread().name)
        return ["here"]

    add_agent(stage, model, tools=[whoami, where])
    model.will(called(("whoami", {}), ("where", {})), said("ok"))
    played = await stage.play("gpt", "who and where?")
    assert [result.content for result in played.of(ev.ToolCallResult)] == ['{"user":"user-alice"}', '["here"]']
    assert [event.name for event in played.of(ev.Custom) if event.name == "app.asked"] == ["app.asked"]
    assert threads != [threading.main_thread().name]


async def test_what_the_model_gets_wrong_it_is_told(stage: Stage, model: ModelServer) -> None:
    def fussy(city: str) -> str:
        """Refuses."""
        raise ToolError(f"no city called {city}")

    add_agent(stage, model, tools=[weather, fussy])
    model.will(
        called(("weather", {"city": 3}), ("weather", {"town": "x"}), ("nothing", {}), ("fussy", {"city": "Atlantis"})),
        said("I see."),
    )
    played = await stage.play("gpt", "go")
    told = [str(result.content) for result in played.of(ev.ToolCallResult)]
    assert told[0] == "Wrong arguments: Expected `str`, got `int` - at `$.city`"
    assert told[1].startswith("Wrong arguments: ")
    assert told[2:] == ["There is no tool 'nothing'.", "Error: no city called Atlantis"]
    assert played.text == "I see."


async def test_arguments_that_are_not_json_are_told_and_do_not_spoil_the_thread(
    stage: Stage, model: ModelServer
) -> None:
    add_agent(stage, model, tools=[weather])
    model.will({"type": "tool_fault", "kind": "malformed_arguments"}, said("Sorry."))
    played = await stage.play("gpt", "weather in Rome?", thread_id="t")
    assert [str(result.content)[:16] for result in played.of(ev.ToolCallResult)] == ["Wrong arguments:"]
    assert played.finished.outcome == ev.SuccessOutcome()
    for request in model.requests()[1:]:
        for message in request["body"]["messages"]:
            for call in message.get("tool_calls", ()):
                json.loads(call["function"]["arguments"])


async def test_a_tool_that_raises_ends_the_run_as_the_agents_fault(stage: Stage, model: ModelServer) -> None:
    def broken() -> str:
        """Broken."""
        raise ZeroDivisionError("secret detail")

    add_agent(stage, model, tools=[broken])
    model.will(called(("broken", {})))
    played = await stage.play("gpt", "go")
    assert played.error.code == "agent_error"
    assert "secret detail" not in played.error.message


async def test_a_model_that_never_stops_calling_is_stopped(stage: Stage, model: ModelServer) -> None:
    add_agent(stage, model, tools=[weather], max_rounds=3)
    model.will({**called(("weather", {"city": "Rome"})), "times": None})
    played = await stage.play("gpt", "go")
    assert played.error.code == "agent_error"
    assert "more than 3 times" in played.error.message
    assert len(model.requests()) == 3


async def test_a_tool_of_the_client_is_left_to_the_client(stage: Stage, model: ModelServer) -> None:
    add_agent(stage, model)
    model.will(called(("pick", {"of": ["red", "blue"]})), said("Red it is."))
    asked = await stage.play("gpt", "which colour?", thread_id="t", tools=[PICK])
    (call,) = asked.of(ev.ToolCallStart)
    assert asked.finished.outcome == ev.SuccessOutcome([call.tool_call_id])
    assert asked.of(ev.ToolCallResult) == []
    assert model.requests()[0]["body"]["tools"][0]["function"]["name"] == "pick"

    answer = ToolMessage(id="m", tool_call_id=call.tool_call_id, content="red")
    answered = await stage.play("gpt", answer, thread_id="t", tools=[PICK])
    assert answered.text == "Red it is."
    assert [message["role"] for message in model.requests()[1]["body"]["messages"]] == ["user", "assistant", "tool"]


async def test_own_tools_are_answered_beside_one_that_is_the_clients(stage: Stage, model: ModelServer) -> None:
    add_agent(stage, model, tools=[weather])
    model.will(called(("weather", {"city": "Rome"}), ("pick", {})), said("Fine."))
    asked = await stage.play("gpt", "go", thread_id="t", tools=[PICK, Tool(name="weather", description="")])
    own, clients = asked.of(ev.ToolCallStart)
    assert [result.tool_call_id for result in asked.of(ev.ToolCallResult)] == [own.tool_call_id]
    assert asked.finished.outcome == ev.SuccessOutcome([clients.tool_call_id])
    assert [tool["function"]["name"] for tool in model.requests()[0]["body"]["tools"]] == ["weather", "pick"]

    answer = ToolMessage(id="m", tool_call_id=clients.tool_call_id, content="yes")
    answered = await stage.play("gpt", answer, thread_id="t", tools=[PICK])
    assert answered.text == "Fine."
    sent = model.requests()[1]["body"]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool"]


async def test_a_call_that_was_never_answered_does_not_spoil_the_thread(stage: Stage, model: ModelServer) -> None:
    add_agent(stage, model)
    model.will(called(("pick", {})), said("As you like."))
    await stage.play("gpt", "which colour?", thread_id="t", tools=[PICK])
    played = await stage.play("gpt", "never mind", thread_id="t", tools=[PICK])
    assert played.text == "As you like."
    roles = [message["role"] for message in model.requests()[1]["body"]["messages"]]
    assert roles == ["user", "assistant", "tool", "user"]


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "bad_request"),
        (401, "not_configured"),
        (403, "not_configured"),
        (404, "not_configured"),
        (408, "timeout"),
        (413, "bad_request"),
        (422, "bad_request"),
        (429, "upstream_unavailable"),
        (500, "upstream_unavailable"),
        (503, "upstream_unavailable"),
        (504, "timeout"),
    ],
)
async def test_a_refusal_ends_the_run_with_its_code(stage: Stage, model: ModelServer, status: int, code: str) -> None:
    add_agent(stage, model)
    model.will({"type": "fail", "status": status, "message": f"bad key {KEY}", "code": "some_code"})
    played = await stage.play("gpt", "hi")
    assert played.error.code == code
    assert f"({status}, some_code)" in played.error.message
    assert_no_key(played)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "disconnect"}, "upstream_unavailable"),
        ({"kind": "truncate"}, "upstream_unavailable"),
        ({"kind": "malformed"}, "upstream_unavailable"),
        ({"kind": "stall", "stall_seconds": 5}, "timeout"),
    ],
)
async def test_a_stream_that_breaks_ends_the_run_and_keeps_what_came(
    stage: Stage, model: ModelServer, fault: dict[str, Any], code: str
) -> None:
    add_agent(stage, model, idle_timeout=0.3)
    model.will(said("one two three four five six"), {"type": "stream_fault", "after_chunks": 3, **fault})
    played = await stage.play("gpt", "hi", thread_id="t")
    assert played.error.code == code
    assert "one two three".startswith(played.text.strip())
    assert played.text != ""
    history = await stage.history("t")
    assert isinstance(history[-1], AssistantMessage)
    assert history[-1].content == played.text


async def test_a_slow_first_token_is_waited_for(stage: Stage, model: ModelServer) -> None:
    add_agent(stage, model, idle_timeout=5)
    model.will({"type": "slow_first_token", "seconds": 0.3}, said("at last"))
    assert (await stage.play("gpt", "hi")).text == "at last"


async def test_runs_at_the_same_time_share_nothing(stage: Stage, model: ModelServer) -> None:
    add_agent(stage, model, tools=[weather])
    cities = [f"City{number}" for number in range(2)]
    played = await asyncio.gather(*(stage.play("gpt", f"The weather in {city}?") for city in cities))
    sent = {json.dumps(request["body"]["messages"]) for request in model.requests()}
    for city in cities:
        assert sum(city in messages for messages in sent) == 2
    assert all(run.finished.outcome == ev.SuccessOutcome() for run in played)


# --- in a server ------------------------------------------------------------------------------------------------------


def test_the_agent_is_offered_once_it_is_configured(start_server: Callable[..., Any], model: ModelServer) -> None:
    server = start_server(
        GOLDENPATH_OPENAI_BASE_URL=model.base_url(), GOLDENPATH_OPENAI_MODEL="gpt-test", GOLDENPATH_OPENAI_API_KEY=KEY
    )
    for _ in range(500):  # the server looks once whether anybody is there
        if httpx.get(f"{server.url}/health").json()["dependencies"][-1]["verdict"] == "ok":
            break
    model.will(said("Hello from far away."))
    token = server.tokens("gpt@example.org")["access_token"]
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=20) as user:
        assert "openai" in {agent["name"] for agent in user.get("/v1/agents").json()["agents"]}
        message = {"id": "u", "role": "user", "content": "hi"}
        body = {"threadId": "t", "runId": "r", "protocolVersion": "1.0", "messages": [message]}
        stream = user.post("/v1/agents/openai/run", json=body).text
        (_, answer) = user.get("/v1/threads/t/messages").json()["messages"]
    assert answer["content"] == "Hello from far away."
    assert KEY not in stream + server.log()


# --- the manual -------------------------------------------------------------------------------------------------------

MANUAL = Path(__file__).parents[3] / "docs/agents/openai.md"


async def test_the_manuals_example_is_an_agent_that_works(stage: Stage, model: ModelServer) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(example.replace("http://127.0.0.1:11434/v1", model.base_url()), names)
    (agent,) = names["app"].agents
    stage.agents.add(agent.name, agent.function)
    model.will(called(("weather", {"city": "Atlantis"}), ("my_threads", {})), said("Hm."))
    played = await stage.play("gpt", "hi", thread_id="t")
    assert [result.content for result in played.of(ev.ToolCallResult)] == ["Error: there is no such city", '["t"]']
    assert played.text == "Hm."


def test_the_manual_has_every_argument() -> None:
    described = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", MANUAL.read_text(), re.MULTILINE))))
    assert set(inspect.signature(openai_agent).parameters) <= described
