"""Bad input leaves nothing behind: a second equal round of everything does not make the server bigger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx
import psutil

from tests.gateway.mutations import Damage
from tests.gateway.rawsocket import BINARY, CONTINUATION, TEXT, command, frame, raw, upgrade, upgraded
from tests.gateway.test_bad_http import NOT_HTTP
from tests.gateway.test_bad_websocket import BROKEN
from tests.gateway.test_mutations import BODIES, COMMANDS
from tests.serverprocess import ServerProcess

GROWTH = 4 << 20
"""What a round may add, in bytes. Without its bounds the server keeps 25 MB of a single head that never ends."""
LIMIT = 1_048_576


async def bad_round(server: ServerProcess, token: str) -> None:
    """Some of everything that these tests know to be bad."""
    damage = Damage(1)
    for data in (*NOT_HTTP.values(), b"GET / HTTP/1.1\r\nX: " + b"x" * 25_000_000):
        async with raw(server) as socket:
            await socket.send(data)
            await socket.cut()
    for data in BROKEN.values():
        async with upgraded(server, token) as socket:
            await socket.send(data)
            await socket.ended()
    for length in range(0, 400, 4):
        async with raw(server) as socket:
            await socket.send(upgrade(token)[:length])
    for _ in range(100):
        async with raw(server) as socket:
            await socket.send(upgrade("bad") + b"x" * 1000)
            await socket.cut()
    for pieces in (1, 64):
        async with upgraded(server, token) as socket:
            size = LIMIT // pieces
            await socket.send(
                frame(BINARY, b"x" * size, fin=False), frame(CONTINUATION, b"x" * size, fin=False) * pieces
            )
            await socket.ended()
        async with upgraded(server, token) as socket:  # cut in the middle
            await socket.send(frame(TEXT, b"x" * (LIMIT // 2), fin=False), frame(CONTINUATION, b"x" * 1000)[:-10])
    async with upgraded(server, token) as socket:
        for sent in [sent for sent in COMMANDS if sent["op"] != "run"] * 60:
            await socket.send(frame(TEXT, damage.of(sent)), command(id="marker", op="ping"))
            while (await socket.reply())["re"] != "marker":
                pass
    async with httpx.AsyncClient(base_url=server.url, verify=False) as client:
        for path, sent in BODIES * 20:
            await client.post(path, content=damage.of(sent))
        for _ in range(5):
            await client.post("/v1/auth/login", content=json.dumps({"email": "x" * LIMIT}).encode())


async def test_a_second_round_of_bad_input_does_not_grow_the_server(
    start_server: Callable[..., ServerProcess], long_run: bool
) -> None:
    server = start_server()
    token = server.tokens("somebody@example.org")["access_token"]
    process = psutil.Process(server.pid)
    for _ in range(2):  # the first fills caches, pools and the allocator's arenas
        await bad_round(server, token)
    before = process.memory_info().rss
    for _ in range(10 if long_run else 1):
        await bad_round(server, token)
    growth = process.memory_info().rss - before
    assert growth < GROWTH, f"{growth >> 10} KiB more"
    async with asyncio.timeout(20):
        while True:  # every connection is forgotten
            health = httpx.get(f"{server.url}/health", verify=False).json()
            if health["connections"]["connected"] == 0:
                break
    assert "Traceback" not in server.log()
