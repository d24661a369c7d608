"""What nobody waits for any more is not worked off: a user who floods the server and leaves has left."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack

import pytest

from goldenpath.runtime.turns import MAX_WAITING
from tests.gateway.rawsocket import HttpAnswer, raw
from tests.gateway.users import User, program, run_input
from tests.serverprocess import ServerProcess

CALLS = 100
BIG = "x" * 900_000


async def figure(user: User, name: str) -> int:
    found = re.search(rf"^goldenpath_turns_{name} (\S+)$", (await user.http.get("/metrics")).text, re.MULTILINE)
    assert found is not None
    return round(float(found[1]))


@pytest.mark.parametrize("call", ["messages", "events?after=1&epoch=another"])
async def test_calls_beyond_the_bound_are_refused_and_the_others_end_with_their_clients(
    user: User, site: ServerProcess, call: str
) -> None:
    for number in range(6):
        text = [{"id": f"big-{number}", "role": "user", "content": BIG}]
        body = run_input("t1", f"r{number}", program())
        body["messages"] = text + body["messages"]
        async with user.stream("POST", "/v1/agents/scripted/run", json=body) as stream:
            await stream.rest()
    before = await figure(user, "taken_total")
    head = f"GET /v1/threads/t1/{call} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n\r\n".encode()
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(raw(site)) for _ in range(CALLS)]
        for socket in sockets:
            await socket.send(head)
        answers = [asyncio.create_task(socket.answer()) for socket in sockets]
        try:
            refused = await first_refused(answers)
        finally:
            for task in answers:
                task.cancel()
            await asyncio.gather(*answers, return_exceptions=True)
    assert refused.headers["retry-after"] in {"1", "5"}  # the user's turns, or for the streams the connections
    async with asyncio.timeout(20):
        while await figure(user, "waiting") or await figure(user, "working"):
            await asyncio.sleep(0.01)
    taken = await figure(user, "taken_total") - before
    # Some had their turn while their clients were there; had those that waited then had theirs too, it were more.
    assert taken < MAX_WAITING, "the server worked for clients that had left"
    assert len(await user.get("/v1/threads/t1/messages")) > 0


async def first_refused(answers: list[asyncio.Task[HttpAnswer]]) -> HttpAnswer:
    for task in asyncio.as_completed(answers):
        answer = await task
        if answer.status == 429:
            return answer
        assert answer.status == 200
    raise AssertionError("none was refused")
