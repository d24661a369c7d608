"""A chat over a WebSocket, by a mapping: what goes over the wire, and whose turn it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server as Listener
from websockets.asyncio.server import ServerConnection, serve

from goldenpath.lab.records import Closed
from goldenpath.lab.targets import TargetSpec
from tests.lab.targets.play import Bench, play

Says = Callable[[ServerConnection, dict[str, Any]], Awaitable[None]]
READ = {"kind": "is", "delta": ["word"], "end": ["done"], "text": "text"}


@asynccontextmanager
async def chat(says: Says, **options: Any) -> AsyncIterator[tuple[str, list[ServerConnection]]]:
    """A chat over real sockets: a test says what it answers."""
    seen: list[ServerConnection] = []

    async def handle(connection: ServerConnection) -> None:
        seen.append(connection)
        async for message in connection:
            await says(connection, json.loads(message))

    listener: Listener
    async with serve(handle, "127.0.0.1", 0, **options) as listener:
        yield f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}/chat", seen


async def say(connection: ServerConnection, text: str, **more: Any) -> None:
    await connection.send(json.dumps({"is": "word", "text": text, **more}))
    await connection.send(json.dumps({"is": "done", **more}))


def spec(url: str, **options: Any) -> TargetSpec:
    return TargetSpec("websocket", {"url": url, "send": {"say": "{text}"}, "read": READ, **options})


async def test_placeholders_headers_and_subprotocols(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    async def says(connection: ServerConnection, message: dict[str, Any]) -> None:
        asked.append(message)
        await say(connection, "hello")

    async def talk(bench: Bench) -> None:
        user = bench.make_user(7)
        await user.connect()
        await user.ask("what is {run}, {user}?", thread="t", run="r")

    send = {"type": "ask", "of": [{"say": "{text}", "as": "u{user}"}], "room": "{thread}/{run}", "n": 1}
    async with chat(says, subprotocols=["chat.v2"]) as (url, seen):
        target = spec(
            f"{url}?user={{user}}", send=send, headers={"X-User": "{user}"}, subprotocols=["chat.v1", "chat.v2"]
        )
        await play(target, tmp_path, talk)
        request = seen[0].request
    assert request is not None
    assert request.path == "/chat?user=7"
    assert request.headers["X-User"] == "7"
    assert seen[0].subprotocol == "chat.v2"
    said = {"say": "what is {run}, {user}?", "as": "u7"}
    assert asked == [{"type": "ask", "of": [said], "room": "t/r", "n": 1}]


async def test_where_answers_do_not_say_whose_they_are_questions_wait_for_their_turn(tmp_path: Path) -> None:
    reached, together = asyncio.Event(), asyncio.Event()

    async def says(connection: ServerConnection, message: dict[str, Any]) -> None:
        reached.set()
        await together.wait()
        await say(connection, f"to {message['say']}")

    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)
        await user.connect()
        asking = [asyncio.ensure_future(user.ask(text, thread=text)) for text in "abc"]
        await reached.wait()
        assert len(bench.watch.asked) == 3
        together.set()
        await asyncio.gather(*asking)

    async with chat(says) as (url, _):
        findings, watch, _ = await play(spec(url), tmp_path, talk)
    assert watch.answers == ["to a", "to b", "to c"]
    assert not any(finding.counts for finding in findings)


async def test_where_answers_say_their_run_questions_go_at_once(tmp_path: Path) -> None:
    waiting: list[str] = []

    async def says(connection: ServerConnection, message: dict[str, Any]) -> None:
        waiting.append(message["run"])
        if len(waiting) == 3:
            for run in reversed(waiting):
                await say(connection, run, run=run)

    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)
        await user.connect()
        runs = await asyncio.gather(*(user.ask(text, thread=text, run=text) for text in "abc"))
        assert [run.run for run in runs] == ["a", "b", "c"]

    async with chat(says) as (url, _):
        target = spec(url, send={"say": "{text}", "run": "{run}"}, read={**READ, "run": "run"})
        findings, watch, _ = await play(target, tmp_path, talk)
    assert watch.answers == ["c", "b", "a"]
    assert not any(finding.counts for finding in findings)


async def test_an_answer_that_did_not_come_takes_the_connection_with_it(tmp_path: Path) -> None:
    """It may come yet, and could not be told from the next one."""

    async def says(connection: ServerConnection, message: dict[str, Any]) -> None:
        if message["say"] != "mute":
            await say(connection, "hello")

    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)
        await user.connect()
        await bench.gone(user.ask("mute", thread="t", patience=0.05))
        await bench.watch.closing.wait()
        assert not user.connected
        await user.connect()
        await user.ask("hello", thread="t")

    async with chat(says) as (url, _):
        _, watch, records = await play(spec(url), tmp_path, talk)
    assert [outcome for kind, outcome, _ in watch.outcomes if kind == "ask"] == ["info", "ok"]
    assert [record.ours for record in records if isinstance(record, Closed)] == [True, True]


async def test_what_another_user_said_is_a_leak(tmp_path: Path) -> None:
    """Answers that go to everybody, as a shared connection list sends them."""
    everybody: list[ServerConnection] = []

    async def says(connection: ServerConnection, message: dict[str, Any]) -> None:
        for each in everybody:
            await each.send(json.dumps({"is": "word", "text": message["say"]}))
        await connection.send(json.dumps({"is": "done"}))

    async def talk(bench: Bench) -> None:
        users = [bench.make_user(number) for number in range(2)]
        for user in users:
            await user.connect()
        await users[0].ask("{canary}", thread="t-0")
        await users[1].ask("{canary}", thread="t-1")

    async with chat(says) as (url, seen):
        everybody = seen
        findings, _, _ = await play(spec(url), tmp_path, talk)
    isolation = next(finding for finding in findings if finding.checker == "isolation")
    assert isolation.counts["leak"] >= 2
    assert "user 0" in isolation.violations[0].witness
    assert "user 1" in isolation.violations[0].witness
