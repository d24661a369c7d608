"""AG-UI as its clients speak it: the conversation goes along, and each answer has a connection of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from goldenpath.lab.canary import Canaries
from goldenpath.lab.records import Closed, Opened
from goldenpath.lab.targets import TargetSpec, agui
from tests.lab.targets.play import NONCE, Bench, play
from tests.lab.targets.reflecting import reflecting


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def answer(run: dict[str, Any], text: str, *more: dict[str, Any]) -> bytes:
    ids = {"threadId": run["threadId"], "runId": run["runId"]}
    message = f"answer-to-{run['runId']}"
    return sse(
        {"type": "RUN_STARTED", **ids},
        *more,
        {"type": "TEXT_MESSAGE_START", "messageId": message, "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": message, "delta": text},
        {"type": "TEXT_MESSAGE_END", "messageId": message},
        {"type": "RUN_FINISHED", **ids},
    )


class Server:
    """Somebody's AG-UI endpoint over real sockets: notes what it is sent; a test says what it answers."""

    def __init__(self, says: Callable[[dict[str, Any], web.StreamResponse], Awaitable[None]]) -> None:
        self.given: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._says = says

    async def _post(self, request: web.Request) -> web.StreamResponse:
        self.given.append(await request.json())
        self.headers.append(dict(request.headers))
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await self._says(self.given[-1], stream)
        return stream

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/run", self._post)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert runner.addresses
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/run"
        await runner.cleanup()


async def test_the_client_holds_the_conversation_and_the_state(tmp_path: Path) -> None:
    async def says(run: dict[str, Any], stream: web.StreamResponse) -> None:
        state = {"type": "STATE_SNAPSHOT", "snapshot": {"n": 1}}
        patch = {"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/n", "value": 2}]}
        await stream.write(answer(run, f"answer {len(run['messages'])}", state, patch))

    async def talk(bench: Bench) -> None:
        user = bench.make_user(7)
        for number in range(2):
            await user.ask(f"question {number}", thread="t")
        await user.ask("another", thread="u")

    server = Server(says)
    async with server.served() as url:
        await play(TargetSpec("agui", {"url": url, "headers": {"X-User": "u{user}"}}), tmp_path, talk)
    first, second, other = server.given
    assert first["protocolVersion"] == "1.0"
    assert first["state"] == first["forwardedProps"] == {}
    assert first["tools"] == first["context"] == []
    assert [message["content"] for message in first["messages"]] == ["question 0"]
    assert [(message["role"], message["content"]) for message in second["messages"]] == [
        ("user", "question 0"),
        ("assistant", "answer 1"),
        ("user", "question 1"),
    ]
    assert second["state"] == {"n": 2}
    assert [message["content"] for message in other["messages"]] == ["another"]
    assert {headers["X-User"] for headers in server.headers} == {"u7"}


@pytest.mark.parametrize(
    ("begun", "code"),
    [
        (b"data: garbage\n\n", "garbage"),
        (sse({"type": "RUN_STARTED", "threadId": "bad", "runId": "bad"}), "disconnected"),
    ],
    ids=["garbage", "an end before the run's"],
)
async def test_what_is_wrong_with_one_answer_is_nothing_to_another(begun: bytes, code: str, tmp_path: Path) -> None:
    wrong = asyncio.Event()

    async def says(run: dict[str, Any], stream: web.StreamResponse) -> None:
        if run["threadId"] == "bad":
            await stream.write(begun)
            return
        await wrong.wait()
        await stream.write(answer(run, "fine"))

    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)
        good = asyncio.ensure_future(user.ask("a", thread="good"))
        await bench.gone(user.ask("b", thread="bad", run="bad"))
        wrong.set()
        assert (await good).outcome == "success"

    server = Server(says)
    async with server.served() as url:
        _, watch, _ = await play(TargetSpec("agui", {"url": url}), tmp_path, talk)
    assert sorted(watch.outcomes) == [("ask", "info", code), ("ask", "ok", "")]


async def test_the_words_of_a_status_are_searched_for_what_others_said(tmp_path: Path) -> None:
    foreign = Canaries(NONCE).make(1, 1).encode()

    async def talk(bench: Bench) -> None:
        await bench.gone(bench.make_user(0).ask("a", thread="t"))

    async with reflecting(lambda _: b"HTTP/1.1 200 Served " + foreign + b"\r\n\r\n") as port:
        findings, _, _ = await play(TargetSpec("agui", {"url": f"http://127.0.0.1:{port}/run"}), tmp_path, talk)
    isolation = next(finding for finding in findings if finding.checker == "isolation")
    assert "received in a status line what user 1 sent" in isolation.violations[0].witness


async def test_an_answer_that_is_given_up_is_closed_by_us(tmp_path: Path) -> None:
    async def says(run: dict[str, Any], stream: web.StreamResponse) -> None:
        await stream.write(answer(run, "first")[:80])
        await asyncio.Event().wait()

    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)
        await bench.gone(user.ask("a", thread="t", patience=0.05))

    server = Server(says)
    async with server.served() as url:
        _, watch, records = await play(TargetSpec("agui", {"url": url}), tmp_path, talk)
    assert watch.outcomes == [("ask", "info", "timeout")]
    assert [record.ours for record in records if isinstance(record, Closed)] == [True]
    (opened,) = [record for record in records if isinstance(record, Opened)]
    assert opened.op == watch.asked[0].op


async def test_a_stream_that_stays_after_its_run_is_closed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agui, "LINGERING", 0.05)

    async def says(run: dict[str, Any], stream: web.StreamResponse) -> None:
        await stream.write(answer(run, "fine"))
        await asyncio.Event().wait()

    async def talk(bench: Bench) -> None:
        await bench.make_user(0).ask("a", thread="t")
        await bench.watch.closing.wait()

    server = Server(says)
    async with server.served() as url:
        _, watch, records = await play(TargetSpec("agui", {"url": url}), tmp_path, talk)
    assert watch.outcomes == [("ask", "ok", "")]
    assert [record.ours for record in records if isinstance(record, Closed)] == [True]


async def test_who_does_not_read_gets_nothing_until_they_do(tmp_path: Path) -> None:
    async def says(run: dict[str, Any], stream: web.StreamResponse) -> None:
        await stream.write(answer(run, "fine"))

    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)
        user.pause(reading=False)
        await bench.gone(user.ask("a", thread="t", patience=0.1))
        assert bench.watch.types == []
        user.pause(reading=True)
        await user.ask("b", thread="t")

    server = Server(says)
    async with server.served() as url:
        _, watch, _ = await play(TargetSpec("agui", {"url": url}), tmp_path, talk)
    assert watch.outcomes == [("ask", "info", "timeout"), ("ask", "ok", "")]
