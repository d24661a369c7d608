"""Traces of a real app, through the SDK's exporter in memory: which spans there are, below which, and what they say."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from goldenpath import App, Run, Settings
from goldenpath.runtime.agents.openai import openai_agent
from goldenpath.runtime.settings import SettingsError
from goldenpath.wire.errors import RequestError
from tests.runtime.agents.model_server import ModelServer
from tests.runtime.agents.stage import ALICE, Stage, user_input

QUESTION = "what only the user and the model may know"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}"


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.close()


class Traced:
    """An app whose spans are kept."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        chosen = Settings(environment="testing", data_dir=str(folder), otel_traces=True, **settings)
        self.app = App(chosen, tracer_provider=provider)
        self.stage: Stage

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Traced]:
        async with self.app.lifespan():
            server = self.app.build()
            await server.recovery.done.wait()
            self.stage = Stage(self.app, server)
            yield self

    def spans(self) -> dict[str, ReadableSpan]:
        """Those that ended, by name; a name is there once."""
        spans = self.exporter.get_finished_spans()
        found = {span.name: span for span in spans}
        assert len(found) == len(spans), [span.name for span in spans]
        return found


def parent_of(span: ReadableSpan, spans: dict[str, ReadableSpan]) -> str | None:
    """The name of the span that it is below."""
    if span.parent is None:
        return None
    return next(name for name, other in spans.items() if other.context.span_id == span.parent.span_id)


async def test_a_run_with_a_model_and_a_tool_is_one_trace(tmp_path: Path, model: ModelServer) -> None:
    traced = Traced(tmp_path)
    agent = openai_agent(base_url=model.base_url("openai"), model="gpt-test", tools=[weather], max_rounds=1)
    traced.app.agent("gpt")(agent)
    model.reset()
    model.will({"type": "reply", "text": None, "tool_calls": [{"name": "weather", "arguments": {"city": "Paris"}}]})
    async with traced.running():
        await traced.stage.play("gpt", QUESTION, thread_id="t1")
    spans = traced.spans()
    assert {name: parent_of(span, spans) for name, span in spans.items()} == {
        "request": None,
        "queue": "request",
        "invoke_agent gpt": "request",
        "chat gpt-test": "invoke_agent gpt",
        "execute_tool weather": "invoke_agent gpt",
    }
    assert len({span.context.trace_id for span in spans.values()}) == 1
    run, chat, tool = spans["invoke_agent gpt"], spans["chat gpt-test"], spans["execute_tool weather"]
    assert spans["request"].kind is SpanKind.SERVER
    assert chat.kind is SpanKind.CLIENT
    assert run.attributes is not None
    assert chat.attributes is not None
    assert run.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert run.attributes["gen_ai.agent.name"] == "gpt"
    assert run.attributes["gen_ai.conversation.id"] == "t1"
    assert chat.attributes["gen_ai.operation.name"] == "chat"
    assert chat.attributes["gen_ai.request.model"] == "gpt-test"
    assert chat.attributes["gen_ai.provider.name"] == "openai"
    assert chat.attributes["gen_ai.usage.input_tokens"] == run.attributes["gen_ai.usage.input_tokens"]
    assert dict(tool.attributes or {}) == {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather"}
    everything = "".join(span.to_json() for span in spans.values())
    for secret in (QUESTION, "Paris", ALICE.user_id, "alice@example.org"):
        assert secret not in everything


@pytest.mark.parametrize(
    ("version", "key", "other"),
    [("1.36", "gen_ai.system", "gen_ai.provider.name"), ("1.37", "gen_ai.provider.name", "gen_ai.system")],
)
async def test_the_conventions_are_those_of_the_version_that_was_chosen(
    tmp_path: Path, version: str, key: str, other: str
) -> None:
    traced = Traced(tmp_path, otel_genai=version)
    async with traced.running():
        await traced.stage.play("echo", "hello")
    attributes = traced.spans()["invoke_agent echo"].attributes
    assert attributes is not None
    assert key in attributes
    assert other not in attributes


async def test_what_fails_says_so_by_its_code_and_not_by_its_words(tmp_path: Path) -> None:
    traced = Traced(tmp_path)

    @traced.app.agent("fails")
    async def fails(run: Run) -> None:
        with run.dependency("crm:main"):
            raise RequestError("upstream_unavailable", "no answer to 'what Alice asked'")

    async with traced.running():
        await traced.stage.play("fails", "hello")
        with pytest.raises(RequestError, match="unknown_agent"):
            async with traced.stage.playing("nobody", "t2", user_input("hello")):
                pass
    finished = traced.exporter.get_finished_spans()
    told = {span.name: (span.attributes or {}).get("error.type") for span in finished if not span.status.is_ok}
    assert told == {
        "crm:main": "upstream_unavailable",
        "invoke_agent fails": "upstream_unavailable",
        "request": "unknown_agent",
    }
    assert {span.status.status_code for span in finished} == {StatusCode.ERROR, StatusCode.UNSET}
    assert "Alice" not in "".join(span.to_json() for span in finished)


async def test_a_run_that_is_stopped_in_the_queue_has_no_span_of_a_run(tmp_path: Path) -> None:
    traced = Traced(tmp_path)
    go = asyncio.Event()

    @traced.app.agent("waits")
    async def waits(run: Run) -> None:
        await run.text("here")
        await go.wait()

    async with traced.running(), traced.stage.playing("waits", "t1", user_input("one")) as first:
        async with asyncio.timeout(10):
            async for event in first:
                if type(event).__name__ == "TextMessageEnd":
                    break
        async with traced.stage.playing("waits", "t1", user_input("two")) as second:
            await traced.stage.cancel("t1")
            async with asyncio.timeout(10):
                _ = [event async for event in second]
    names = sorted(span.name for span in traced.exporter.get_finished_spans())
    assert names == ["invoke_agent waits", "queue", "queue", "request", "request"]


async def test_a_caller_over_http_that_has_a_trace_is_above_ours(tmp_path: Path) -> None:
    traced = Traced(tmp_path, simulation_key="k" * 32)
    async with traced.running():
        transport = httpx.ASGITransport(traced.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            key = {"X-Simulation-Key": "k" * 32}
            tokens = await client.post("/v1/auth/simulate", json={"email": "a@example.org"}, headers=key)
            assert tokens.status_code < 300, tokens.text
            body = {
                "threadId": "t", "runId": "r", "state": None, "tools": [], "context": [], "forwardedProps": None,
                "messages": [{"id": "m", "role": "user", "content": "hello"}],
            }  # fmt: skip
            done = await client.post(
                "/v1/agents/echo/run",
                json=body,
                headers={
                    "Authorization": f"Bearer {tokens.json()['access_token']}",
                    "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
                },
            )
            assert done.status_code == 200
    request = traced.spans()["request"]
    assert format(request.context.trace_id, "032x") == TRACE
    assert request.parent is not None
    assert format(request.parent.span_id, "016x") == "b7ad6b7169203331"


async def test_what_an_agent_traces_by_itself_lies_below_its_run(tmp_path: Path) -> None:
    traced = Traced(tmp_path)
    provider = traced.app._tracer_provider
    assert provider is not None

    @traced.app.agent("traces")
    def traces(run: Any) -> None:  # in a thread
        with provider.get_tracer("mine").start_as_current_span("of my own"):
            run.text("hello")

    async with traced.running():
        await traced.stage.play("traces", "hello")
    spans = traced.spans()
    assert parent_of(spans["of my own"], spans) == "invoke_agent traces"


async def test_where_nothing_is_traced_there_is_nothing_to_trace_with(tmp_path: Path) -> None:
    seen = []
    app = App(Settings(environment="testing", data_dir=str(tmp_path)))

    @app.agent("looks")
    async def looks(run: Run) -> None:
        seen.append(run.trace)

    async with app.lifespan():
        await Stage(app, app.build()).play("looks", "hello")
    assert seen == [None]


def test_traces_without_the_package_are_refused_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    app = App(Settings(environment="testing", data_dir=str(tmp_path), otel_traces=True))
    with pytest.raises(SettingsError, match=r"goldenpath\[otel\]"):
        app.build()
