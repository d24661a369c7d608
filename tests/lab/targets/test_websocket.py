"""A chat over a WebSocket, by a mapping: what goes over the wire, and whose turn it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import Server as Listener
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from goldenpath.lab.canary import Canaries
from goldenpath.lab.operations import OperationError
from goldenpath.lab.records import Closed
from goldenpath.lab.targets import TargetSpec
from tests.lab.targets.play import NONCE, Bench, play
from tests.lab.targets.reflecting import reflecting

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


async def test_a_heartbeat_is_answered_and_is_no_event(tmp_path: Path) -> None:
    """The chat goes on only when its ping was answered, and numbers what it sends."""
    pong = asyncio.Event()
    answers: list[dict[str, Any]] = []

    async def says(connection: ServerConnection, message: dict[str, Any]) -> None:
        if message.get("is") == "pong":
            answers.append(message)
            pong.set()
            return
        await connection.send(json.dumps({"is": "ping", "at": {"n": 1}, "no": 1}))
        asyncio.get_running_loop().create_task(hear(connection))

    async def hear(connection: ServerConnection) -> None:
        await pong.wait()
        await connection.send(json.dumps({"is": "word", "text": "hello", "no": 2}))
        await connection.send(json.dumps({"is": "done", "no": 3}))

    async def talk(bench: Bench) -> None:
        user = bench.make_user(3)
        await user.connect()
        await user.ask("are you there?", thread="t")

    beat = {"kinds": ["ping", "beat"], "answer": {"is": "pong", "who": "u{user}"}, "repeat": ["at", "missing"]}
    async with chat(says) as (url, _):
        target = spec(url, read={**READ, "seq": "no"}, heartbeat=beat)
        findings, watch, _ = await play(target, tmp_path, talk)
    assert answers == [{"is": "pong", "who": "u3", "at": {"n": 1}}]
    assert watch.answers == ["hello"]
    assert not any(finding.counts for finding in findings)


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


@pytest.mark.parametrize(
    ("headers", "body", "place"),
    [
        ("", '{{"token": "tok-of-0", "recent": [{{"text": "{0}"}}]}}', "the answer to the login"),
        ("", '{{"token": "tok-of-0", "{0}": 1}}', "the answer to the login"),
        ("X-Recent: {0}\r\n", '{{"token": "tok-of-0"}}', "a header"),
    ],
    ids=["value", "name", "header"],
)
async def test_what_a_login_says_of_others_is_a_leak_and_its_token_is_not_kept(
    headers: str, body: str, place: str, tmp_path: Path
) -> None:
    foreign = Canaries(NONCE).make(1, 1)
    said, more = body.format(foreign).encode(), headers.format(foreign).encode()
    answer = b"HTTP/1.1 200 OK\r\n" + more + b"Content-Length: %d\r\n\r\n" % len(said) + said

    async def talk(bench: Bench) -> None:
        await bench.make_user(0).login()

    async with reflecting(lambda _: answer) as port:
        login = {"url": f"http://127.0.0.1:{port}/login", "token": "token"}
        findings, _, _ = await play(spec(f"ws://127.0.0.1:{port}/chat", login=login), tmp_path, talk)
    isolation = next(finding for finding in findings if finding.checker == "isolation")
    assert f"received in {place} what user 1 sent" in isolation.violations[0].witness
    assert b"tok-of-0" not in (tmp_path / "history-0.bin").read_bytes()


async def test_iterations_that_overlap_share_one_connection_and_take_turns_on_it(tmp_path: Path) -> None:
    """Each connects where it is not connected, as the golden path does: a viewer has one connection all the same."""

    async def says(connection: ServerConnection, message: dict[str, Any]) -> None:
        await say(connection, message["say"])

    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)

        async def iterate(name: str) -> None:
            await user.connect()
            await user.ask(f"{{canary}} {name}", thread=name, answer=f"{{canary}} {name}")

        await asyncio.gather(*(iterate(name) for name in "abcd"))

    async with chat(says) as (url, seen):
        findings, watch, _ = await play(spec(url, echo=True), tmp_path, talk)
        assert len(seen) == 1
    assert [outcome for _, outcome, _ in watch.outcomes] == ["ok"] * 5
    assert not any(finding.counts for finding in findings)


@pytest.mark.parametrize("says_run", [False, True])
async def test_who_loses_the_connection_comes_back_and_asks_what_was_not_sent(says_run: bool, tmp_path: Path) -> None:
    """What was under way is unknown; what waits for its turn, or is asked meanwhile, goes over the new connection."""
    heard: list[str] = []

    async def says(connection: ServerConnection, message: dict[str, Any]) -> None:
        heard.append(message["say"].split()[-1])
        if heard == ["first"]:
            connection.transport.abort()
        else:
            await say(connection, message["say"], **({"run": message["run"]} if says_run else {}))

    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)
        await user.connect()

        async def ask(name: str) -> None:
            await bench.gone(user.ask(f"{{canary}} {name}", thread=name, answer=f"{{canary}} {name}"))

        asking = [asyncio.ensure_future(ask("first"))]
        if not says_run:
            asking.append(asyncio.ensure_future(ask("second")))
        await bench.watch.closing.wait()
        await asyncio.gather(*asking, ask("third"))
        await ask("fourth")

    options: dict[str, Any] = {"echo": True}
    if says_run:
        options |= {"send": {"say": "{text}", "run": "{run}"}, "read": {**READ, "run": "run"}}
    async with chat(says) as (url, seen):
        findings, watch, _ = await play(spec(url, **options), tmp_path, talk)
        assert len(seen) == 2
    assert heard == ["first", *([] if says_run else ["second"]), "third", "fourth"]
    asks = [(outcome, code) for kind, outcome, code in watch.outcomes if kind == "ask"]
    assert asks == [("info", "disconnected"), *[("ok", "")] * (len(heard) - 1)]
    assert not any(finding.counts for finding in findings)


async def test_who_gives_up_before_their_turn_leaves_the_connection_to_the_others(tmp_path: Path) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def says(connection: ServerConnection, message: dict[str, Any]) -> None:
        reached.set()
        await go_on.wait()
        await say(connection, "hello")

    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)
        await user.connect()
        first = asyncio.ensure_future(user.ask("first", thread="t"))
        await reached.wait()
        await bench.gone(user.ask("second", thread="t", patience=0.05))
        assert user.connected
        go_on.set()
        await first

    async with chat(says) as (url, _):
        _, watch, _ = await play(spec(url), tmp_path, talk)
    assert watch.outcomes[1:] == [("ask", "info", "timeout"), ("ask", "ok", "")]


async def test_patience_counts_from_the_last_that_came_and_is_not_endless(tmp_path: Path) -> None:
    """The one answers slowly, for longer than the patience; the other never ends, however long."""

    async def says(connection: ServerConnection, message: dict[str, Any]) -> None:
        for _ in range(6 if message["say"] == "slowly" else 40):
            await connection.send(json.dumps({"is": "word", "text": "on"}))
            await asyncio.sleep(0.1)
        await connection.send(json.dumps({"is": "done"}))

    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)
        await user.connect()
        await user.ask("slowly", thread="t", patience=0.5)
        await bench.gone(user.ask("for ever", thread="t", patience=0.5))

    async with chat(says) as (url, _):
        findings, watch, _ = await play(spec(url), tmp_path, talk)
    assert [each for each in watch.outcomes if each[0] == "ask"] == [("ask", "ok", ""), ("ask", "info", "slow")]
    assert not any(finding.counts for finding in findings)


@pytest.mark.parametrize("pieces", [1, 70])
async def test_a_message_that_is_too_large_is_not_taken_and_named(pieces: int, tmp_path: Path) -> None:
    """In one frame, or in a message of many that has no end."""

    async def says(connection: ServerConnection, message: dict[str, Any]) -> None:
        piece = "x" * (70 * 1024**2 // pieces)
        with suppress(ConnectionClosed):
            await connection.send(piece if pieces == 1 else (piece for _ in range(10 * pieces)))

    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)
        await user.connect()
        with pytest.raises(OperationError, match="more than 64 MiB"):
            await user.ask("what?", thread="t")

    async with chat(says) as (url, _):
        findings, _, records = await play(spec(url), tmp_path, talk)
    closed = next(record for record in records if isinstance(record, Closed))
    assert (closed.ours, closed.code) == (True, 1009)
    assert [finding.counts for finding in findings if finding.counts] == [{"malformed": 1}]
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.bin")) < 1024**2
