"""However many come at once, a limit of k connections lets exactly k in: those still on their way in count too."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.gateway.rawsocket import CLOSE, RawSocket, raw, upgrade
from tests.gateway.transports import Transport, faults, make_site
from tests.gateway.users import User, run_input
from tests.runtime.auth.key_server import AUDIENCE, KeyServer, SigningKey, serve_keys

ROOM = 3
LIMITS = {
    "all": ("GOLDENPATH_MAX_CONNECTIONS", "overloaded"),
    "user": ("GOLDENPATH_MAX_CONNECTIONS_PER_USER", "4429"),
    "address": ("GOLDENPATH_MAX_CONNECTIONS_PER_ADDRESS", "rate_limited"),
}
KEY = SigningKey.ec("key-1")


@pytest.fixture
def provider() -> Iterator[KeyServer]:
    """An identity provider that keeps whoever asks for its keys waiting."""
    with serve_keys() as server:
        yield server


def issued(provider: KeyServer, user: str) -> str:
    now = time.time()
    claims = {"iss": provider.issuer, "aud": AUDIENCE, "sub": user, "iat": now, "exp": now + 600, "jti": user}
    return KEY.sign({**claims, "email": f"{user}@example.org"})


async def outcome(socket: RawSocket) -> str:
    """How an upgrade ended: "in", or the code of the refusal."""
    answer = await socket.answer()
    if answer.status != 101:
        return str(answer.problem()["code"])
    opcode, payload = await socket.frame()
    if opcode == CLOSE:
        return str(int.from_bytes(payload[:2], "big"))
    assert b'"welcome"' in payload
    return "in"


@pytest.mark.parametrize("limit", LIMITS)
async def test_upgrades_that_wait_together_for_their_check_do_not_pass_a_limit_together(
    transport: Transport, provider: KeyServer, tmp_path_factory: pytest.TempPathFactory, limit: str
) -> None:
    setting, refusal = LIMITS[limit]
    issuer = {
        "issuer": provider.issuer,
        "audience": AUDIENCE,
        "jwks_url": provider.jwks_url,
        "algorithms": [KEY.algorithm],
    }
    env = {setting: str(ROOM), "GOLDENPATH_ISSUERS": json.dumps([issuer])}
    site = make_site(transport, tmp_path_factory.mktemp("limits") / "data", **env).start()
    provider.keys, provider.gate = [KEY.jwk()], threading.Event()
    try:
        async with AsyncExitStack() as stack:
            waiting = []
            for number in range(4 * ROOM):
                user = "ann" if limit == "user" else f"user-{number}"
                socket = await stack.enter_async_context(raw(site))
                await socket.send(upgrade(issued(provider, user)))
                waiting.append(socket)
            async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
                assert (await http.get("/livez")).status_code == 200  # the upgrades were sent before this was
            provider.gate.set()
            found = Counter(await asyncio.gather(*map(outcome, waiting)))
            assert found == {"in": ROOM, refusal: 3 * ROOM}
            assert not faults(site), site.log()
    finally:
        site.kill()


@pytest.fixture
async def user(transport: Transport, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[User]:
    """A user of a server that gives each user little room."""
    env = {LIMITS["user"][0]: str(ROOM), "GOLDENPATH_DRAIN_TIMEOUT": "0.1"}
    site = make_site(transport, tmp_path_factory.mktemp("room") / "data", **env).start()
    found = User(site)
    yield found
    await found.http.aclose()
    site.stop()
    assert not faults(site), site.log()


async def begin(stack: AsyncExitStack, user: User, number: int) -> str:
    """Start a run over SSE; "in", or the code of the refusal. The stream stays open until the stack ends."""
    body = run_input(f"t{number}", f"r{number}", "hello " * 20, forwardedProps={"delay_ms": 1000})
    answer = await stack.enter_async_context(user.http.stream("POST", "/v1/agents/echo/run", json=body))
    return "in" if answer.status_code == 200 else str(json.loads(await answer.aread())["code"])


async def test_whoever_gets_no_room_for_the_stream_has_started_no_run(user: User) -> None:
    async with AsyncExitStack() as stack:
        found = await asyncio.gather(*(begin(stack, user, number) for number in range(4 * ROOM)))
        assert Counter(found) == {"in": ROOM, "rate_limited": 3 * ROOM}
        threads = {thread["thread_id"] for thread in (await user.get("/v1/threads"))["threads"]}
        assert threads == {f"t{number}" for number, code in enumerate(found) if code == "in"}


async def test_a_request_that_fails_gives_its_room_back(user: User) -> None:
    for _ in range(2 * ROOM):
        assert (await user.http.get("/v1/threads/none/events")).status_code == 404
        body = run_input("t", "r")
        assert (await user.http.post("/v1/agents/nobody/run", json=body)).status_code == 404
    for number in range(2 * ROOM):
        await user.run("t", f"r{number}")
