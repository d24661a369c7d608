"""What an agent depends on is left alone while it is down: the model, its tools, and what the agent itself names."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

from goldenpath import Run, SyncRun
from goldenpath.runtime.agents.openai import openai_agent
from goldenpath.runtime.agents.tools import FunctionTool, ToolError
from goldenpath.runtime.breaker import BreakerStatistics
from goldenpath.wire import events as ev
from goldenpath.wire.errors import RequestError
from tests.runtime.agents.model_server import answering, chunk, head, raw_endpoint
from tests.runtime.agents.stage import Stage
from tests.runtime.runs import until

DONE = b"data: [DONE]\n\n"
MANUAL = Path(__file__).parents[3] / "docs" / "howto" / "degradation.md"
CLOSED = 5
"""So many calls a breaker looks at before it opens."""


def shared(stage: Stage, kind: str) -> BreakerStatistics:
    """The breaker that all share of the only dependency of this kind."""
    (view,) = (view for view in stage.server.breakers.snapshot() if view.dependency.startswith(f"{kind}:"))
    return view.breaker


async def ends(stage: Stage, agent: str, times: int = 1) -> list[ev.RunError]:
    """How runs of an agent that fails end."""
    return [(await stage.play(agent, "hi")).error for _ in range(times)]


async def test_an_endpoint_that_fails_is_not_asked_again_for_a_while(stage: Stage) -> None:
    async with raw_endpoint(answering(head(status="500 Oops"), b"{}")) as endpoint:
        stage.agents.add("gpt", openai_agent(base_url=endpoint.base_url, model="m"))
        *failed, refused = await ends(stage, "gpt", CLOSED + 1)
        assert len(endpoint.heads) == CLOSED
        assert {error.code for error in failed} == {"upstream_unavailable"}
        assert refused.code == "upstream_unavailable"
        assert "is not asked at present" in refused.message
        assert "127.0.0.1" not in refused.message


async def test_an_endpoint_that_answers_no_is_asked_again(stage: Stage) -> None:
    async with raw_endpoint(answering(head(status="401 Unauthorized"), b"{}")) as endpoint:
        stage.agents.add("gpt", openai_agent(base_url=endpoint.base_url, model="m", api_key="bad"))
        errors = await ends(stage, "gpt", 3 * CLOSED)
        assert {error.code for error in errors} == {"not_configured"}
        assert len(endpoint.heads) == 3 * CLOSED
        assert shared(stage, "model").failures == 0


async def test_a_cancelled_run_says_nothing_of_its_endpoint(stage: Stage) -> None:
    async def hang(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with raw_endpoint(hang) as endpoint:
        stage.agents.add("gpt", openai_agent(base_url=endpoint.base_url, model="m"))
        for number in range(CLOSED + 1):
            endpoint.asked.clear()
            playing = asyncio.create_task(stage.play("gpt", "hi", thread_id=f"t{number}"))
            await endpoint.asked.wait()
            await stage.cancel(f"t{number}")
            assert (await playing).finished.outcome is not None
        assert (shared(stage, "model").calls, shared(stage, "model").under_way) == (0, 0)


async def test_an_answer_counts_from_its_beginning(stage: Stage) -> None:
    begun = asyncio.Event()

    async def begin(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(head() + chunk(content="a"))
        await writer.drain()
        await begun.wait()
        writer.write(chunk("stop") + DONE)

    async with raw_endpoint(begin) as endpoint:
        stage.agents.add("gpt", openai_agent(base_url=endpoint.base_url, model="m"))
        playing = asyncio.create_task(stage.play("gpt", "hi"))
        await endpoint.asked.wait()
        await until(lambda: shared(stage, "model").calls)
        begun.set()
        assert (await playing).text == "a"
        assert (shared(stage, "model").calls, shared(stage, "model").failures) == (1, 0)


async def test_a_tool_that_raises_is_left_alone_and_one_that_explains_is_not(stage: Stage) -> None:
    called: list[str] = []

    def broken() -> str:
        called.append("broken")
        raise ConnectionError("internal host")

    def explains() -> str:
        called.append("explains")
        raise ToolError("there is no such city")

    tools = {"broken": FunctionTool(broken), "explains": FunctionTool(explains)}

    async def agent(run: Run) -> None:
        await run.text(await tools[run.user_text].call(run, "{}"))

    stage.agents.add("tools", agent)
    errors = [(await stage.play("tools", "broken")).error for _ in range(CLOSED + 2)]
    assert [error.code for error in errors] == ["agent_error"] * CLOSED + ["upstream_unavailable"] * 2
    assert called == ["broken"] * CLOSED
    for _ in range(CLOSED + 2):
        assert (await stage.play("tools", "explains")).text == "Error: there is no such city"


async def test_an_agent_may_name_what_it_depends_on_and_say_something_else(stage: Stage) -> None:
    called: list[str] = []

    async def never() -> None:
        raise TimeoutError

    async def agent(run: Run) -> None:
        try:
            with run.dependency("crm:main", what="the order system"):
                called.append("async")
                await never()
        except RequestError as error:
            await run.text(f"{error.message}, {error.retry_after}")
        except TimeoutError:
            await run.text("late")

    stage.agents.add("orders", agent)
    said = [(await stage.play("orders", "hi")).text for _ in range(CLOSED + 1)]
    assert said[:CLOSED] == ["late"] * CLOSED
    assert said[CLOSED].startswith("the order system failed")
    assert len(called) == CLOSED


async def test_so_may_an_agent_that_is_a_plain_function(stage: Stage) -> None:
    called: list[str] = []

    def agent(run: SyncRun) -> None:
        with run.dependency("crm:main") as call:
            call.answered()
            called.append("sync")
            raise ConnectionError

    stage.agents.add("orders", agent)
    errors = [(await stage.play("orders", "hi")).error for _ in range(CLOSED + 1)]
    assert [error.code for error in errors] == ["agent_error"] * CLOSED + ["upstream_unavailable"]
    assert len(called) == CLOSED


async def test_the_manuals_example_does_what_it_says(stage: Stage) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    names: dict[str, Any] = {"__name__": "example"}
    exec(example.replace("127.0.0.1:9000", f"127.0.0.1:{port}"), names)
    (agent,) = names["app"].agents
    stage.agents.add(agent.name, agent.function)
    errors = await ends(stage, "orders", CLOSED + 1)
    assert [error.code for error in errors] == ["agent_error"] * CLOSED + ["upstream_unavailable"]
    assert errors[CLOSED].message.startswith("the order system failed")
