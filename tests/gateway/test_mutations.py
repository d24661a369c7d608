"""`goldenpath serve` against thousands of damaged commands and bodies: each gets a typed answer.

What is sent depends on the seed alone; a failure shows the seed and the text.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from goldenpath.wire.errors import ERRORS
from tests.gateway.mutations import Damage
from tests.gateway.rawsocket import TEXT, RawSocket, frame, upgraded
from tests.gateway.users import run_input
from tests.serverprocess import ServerProcess

MESSAGE = {"id": "m1", "role": "user", "content": "hello"}
COMMANDS: list[dict[str, Any]] = [
    {"id": 1, "op": "run", "agent": "echo", "thread_id": "t1", "run_id": "r1", "text": "hello", "on_busy": "enqueue"},
    {
        "id": "b",
        "op": "run",
        "agent": "echo",
        "input": {"threadId": "t1", "messages": [MESSAGE], "state": {"a": [1, {}]}},
    },
    {"id": 2, "op": "run", "agent": "scripted", "thread_id": "t2", "text": '{"steps":[{"do":"say","text":"x"}]}'},
    {"id": 3, "op": "attach", "thread_id": "t1", "after": {"epoch": "e", "seq": 3}},
    {"id": 4, "op": "detach", "thread_id": "t1"},
    {"id": 5, "op": "cancel", "thread_id": "t1", "run_id": "r1"},
    {"id": 6, "op": "refresh", "token": "a.b.c"},
    {"id": 7, "op": "ping"},
]
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/auth/register", {"email": "somebody@example.org", "password": "short"}),
    ("/v1/auth/refresh", {"refresh_token": "a.b.c"}),
    ("/v1/auth/simulate", {"email": "somebody@example.org", "permissions": ["chat"], "tier": "free"}),
    ("/v1/agents/echo/run", run_input("t1", "r1")),
    (
        "/v1/agents/echo/run",
        run_input(
            "t1", "r1", tools=[{"name": "n", "description": "d", "parameters": {}}], resume=[{"interruptId": "i"}]
        ),
    ),
]


@pytest.fixture(scope="module")
def rounds(long_run: bool) -> int:
    return 10 if long_run else 1


def check_error(error: dict[str, Any], sent: str) -> None:
    assert sorted(error) == ["code", "definite", "message", "retry_after", "retryable"], sent
    row = ERRORS[error["code"]]
    assert (error["retryable"], error["definite"]) == (row.retryable, row.definite), sent
    # Whatever was sent, it is the sender's mistake, not the server's.
    assert row.status < 500, (error, sent)
    assert "Traceback" not in error["message"]
    assert len(error["message"]) < 2000


async def answers(socket: RawSocket, line: bytes, marker: str) -> list[dict[str, Any]]:
    """Send a line, then a ping; the replies to the line."""
    await socket.send(frame(TEXT, line), frame(TEXT, json.dumps({"id": marker, "op": "ping"}).encode()))
    replies = []
    while (reply := await socket.reply())["re"] != marker:
        replies.append(reply)
    return replies


@pytest.mark.parametrize("seed", range(5))
async def test_every_damaged_command_gets_one_typed_reply(server: ServerProcess, rounds: int, seed: int) -> None:
    token = server.tokens(f"mutant-{seed}@example.org")["access_token"]
    damage = Damage(seed)
    codes: Counter[str] = Counter()
    async with upgraded(server, token) as socket:
        for number, sent in enumerate(itertools.islice(itertools.cycle(COMMANDS), 2000 * rounds)):
            line = damage.of(sent)
            replies = await answers(socket, line, f"marker-{number}")
            wanted = sum(bool(part.strip(b" \t\r\x0b\x0c")) for part in line.split(b"\n"))
            assert len(replies) == wanted, (seed, line)
            for reply in replies:
                codes["ok" if reply["ok"] else reply["error"]["code"]] += 1
                if not reply["ok"]:
                    check_error(reply["error"], f"seed {seed}: {line!r}")
    # The damage is neither so small nor so great that it reaches one branch alone.
    assert {"ok", "bad_frame", "bad_request", "not_found", "unauthorized"} <= set(codes), codes


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    yield body[len(body) // 2 :]


@pytest.mark.parametrize("seed", range(2))
async def test_every_damaged_body_gets_a_typed_answer(server: ServerProcess, rounds: int, seed: int) -> None:
    tokens = server.tokens(f"bodies-{seed}@example.org")
    headers = {"Authorization": f"Bearer {tokens['access_token']}", "X-Simulation-Key": "simulation-key-for-tests"}
    damage = Damage(100 + seed)
    statuses: Counter[int] = Counter()
    async with httpx.AsyncClient(base_url=server.url, headers=headers, verify=False, timeout=20) as client:
        for number, (path, sent) in enumerate(itertools.islice(itertools.cycle(BODIES), 1000 * rounds)):
            body = damage.of(sent)
            answer = await client.post(path, content=chunks(body) if number % 2 else body)
            statuses[answer.status_code] += 1
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json", (seed, path, body)
                problem = answer.json()
                assert problem["status"] == answer.status_code
                assert answer.status_code < 500, (seed, path, body, problem)
                assert "Traceback" not in answer.text
            elif path.endswith("/run"):
                assert b'"type":"RUN_FINISHED"' in answer.content or b'"type":"RUN_ERROR"' in answer.content
    assert {200, 400} <= set(statuses), statuses


async def test_damaged_frames_close_or_are_answered(server: ServerProcess, rounds: int) -> None:
    token = server.tokens("frames@example.org")["access_token"]
    damage = Damage(1000)
    whole = b"".join(frame(TEXT, json.dumps(sent).encode()) for sent in COMMANDS)
    for _ in range(150 * rounds):
        async with upgraded(server, token) as socket:
            await socket.send(damage.in_bytes(whole))
            socket.finish()
            async with asyncio.timeout(20):
                code = await socket.ended()
            assert code in (None, 1000, 1002, 1005, 1007, 1009, 4400), code
    async with upgraded(server, token) as socket:
        assert await answers(socket, b'{"id":1,"op":"ping"}', "end")
