"""Rates hold on WebSocket and HTTP alike, for all of a user's connections together."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil

from tests.gateway.rawsocket import TEXT, frame, upgraded
from tests.gateway.test_floods import flooding
from tests.gateway.transports import Transport, faults, make_site
from tests.gateway.users import User, run_input
from tests.serverprocess import ServerProcess

SLOW = 0.5
"""A rate of so much a second: who is refused waits for 2 s at most."""


@asynccontextmanager
async def served(transport: Transport, folder: Path, **limits: object) -> AsyncIterator[User]:
    """A user of a server whose tier `free` has these limits."""
    env = {"GOLDENPATH_TIERS": json.dumps({"free": limits}), "GOLDENPATH_DRAIN_TIMEOUT": "0.1"}
    site = make_site(transport, folder / "data", **env).start()
    user = User(site)
    try:
        yield user
        assert not faults(site), site.log()
    finally:
        await user.http.aclose()
        site.kill()


def rate(burst: int, per_second: float = SLOW) -> dict[str, float]:
    return {"per_second": per_second, "burst": burst}


def counted(server: ServerProcess, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"goldenpath_rates_{name} "))


async def test_commands_over_the_rate_are_refused_and_taken_after_retry_after(
    transport: Transport, tmp_path: Path
) -> None:
    async with served(transport, tmp_path, commands=rate(3)) as user, user.connect() as socket:
        assert [(await socket.call(op="ping"))["ok"] for _ in range(3)] == [True] * 3
        refused = (await socket.call(op="ping"))["error"]
        assert (refused["code"], refused["retryable"], refused["definite"]) == ("rate_limited", True, True)
        assert 0 < refused["retry_after"] <= 1 / SLOW
        call = await user.http.get("/v1/auth/me")  # the other way in is no way round
        assert (call.status_code, call.json()["code"]) == (429, "rate_limited")
        assert int(call.headers["retry-after"]) >= call.json()["retry_after"] > 0
        await asyncio.sleep(call.json()["retry_after"])
        assert (await user.http.get("/v1/auth/me")).status_code == 200
        assert counted(user.server, "commands_refused_total") == 2


async def test_whoever_asks_for_what_only_operators_may_is_counted_too(transport: Transport, tmp_path: Path) -> None:
    async with served(transport, tmp_path, commands=rate(2)) as user:
        asked = [await user.http.get("/v1/admin/flags") for _ in range(3)]
        assert [answer.status_code for answer in asked] == [403, 403, 429]


async def test_runs_have_a_rate_of_their_own(transport: Transport, tmp_path: Path) -> None:
    async with served(transport, tmp_path, runs=rate(2)) as user, user.connect() as socket:
        await socket.run("hello", thread_id="t1")
        await user.run("t2", "r1")
        refused = await socket.call(op="run", agent="echo", text="hello", thread_id="t1")
        assert refused["error"]["code"] == "rate_limited"
        call = await user.http.post("/v1/agents/echo/run", json=run_input("t2", "r2"))
        assert (call.status_code, call.json()["code"]) == (429, "rate_limited")
        assert (await socket.call(op="ping"))["ok"]


async def test_bytes_have_a_rate_of_their_own(transport: Transport, tmp_path: Path) -> None:
    async with served(transport, tmp_path, bytes=rate(10_000, per_second=5_000.0)) as user, user.connect() as socket:
        await socket.run("x" * 9_000, thread_id="t1")
        refused = await socket.call(op="run", agent="echo", text="x" * 9_000, thread_id="t1")
        assert refused["error"]["code"] == "rate_limited"
        call = await user.http.post("/v1/agents/echo/run", json=run_input("t2", "r1", "x" * 9_000))
        assert call.json()["code"] == "rate_limited"
        await asyncio.sleep(call.json()["retry_after"])
        await user.run("t2", "r1", "x" * 9_000)


async def test_log_ins_with_one_e_mail_have_a_rate(transport: Transport, tmp_path: Path) -> None:
    site = make_site(transport, tmp_path / "data", GOLDENPATH_LOGIN_RATE=json.dumps(rate(2))).start()
    try:
        async with httpx.AsyncClient(base_url=site.url) as http:
            ann = {"email": "Ann@example.org", "password": "correct horse"}
            answers = [await http.post(f"/v1/auth/{call}", json=ann) for call in ("register", "login", "login")]
            assert [answer.status_code for answer in answers] == [201, 200, 429]
            assert answers[-1].json()["code"] == "rate_limited"
            unknown = [await http.post("/v1/auth/login", json={**ann, "email": "nobody@example.org"}) for _ in range(3)]
            assert [answer.status_code for answer in unknown] == [401, 401, 429]
            assert 0 < unknown[-1].json()["retry_after"] <= 1 / SLOW
    finally:
        site.kill()


async def test_an_address_that_guesses_is_not_looked_at_whatever_e_mails_it_tries(
    transport: Transport, tmp_path: Path
) -> None:
    site = make_site(transport, tmp_path / "data", GOLDENPATH_LOGIN_FAILURE_RATE=json.dumps(rate(3))).start()
    try:
        async with httpx.AsyncClient(base_url=site.url) as http:
            ann = {"email": "ann@example.org", "password": "correct horse"}
            calls = ["register", "login", "login", "register", "login"]
            answers = [await http.post(f"/v1/auth/{call}", json=ann) for call in calls]
            assert [answer.status_code for answer in answers] == [201, 200, 200, 409, 200]
            guesses = [{**ann, "email": f"guess-{number}@example.org"} for number in range(3)]
            answers = [await http.post("/v1/auth/login", json=guess) for guess in [*guesses, ann]]
            assert [answer.status_code for answer in answers] == [401, 401, 429, 429]
            assert 0 < answers[-1].json()["retry_after"] <= 1 / SLOW
            assert "goldenpath_rates_addresses_refused_total 2.0" in (await http.get("/metrics")).text
    finally:
        site.kill()


async def test_log_ins_that_the_server_has_no_room_for_are_refusals_and_no_failures(
    transport: Transport, tmp_path: Path
) -> None:
    rates = {"logins": rate(2)}
    site = make_site(transport, tmp_path / "data", GOLDENPATH_SERVER_RATES=json.dumps(rates)).start()
    try:
        async with httpx.AsyncClient(base_url=site.url) as http:
            guess = {"email": "nobody@example.org", "password": "correct horse"}
            answers = [await http.post("/v1/auth/login", json=guess) for _ in range(3)]
            assert [answer.json()["code"] for answer in answers] == ["unauthorized"] * 2 + ["overloaded"]
            metrics = (await http.get("/metrics")).text.splitlines()
        assert "goldenpath_login_refused_total 3.0" in metrics
        assert "goldenpath_login_failed_total 0.0" in metrics
    finally:
        site.kill()


async def test_a_flood_over_the_rate_costs_less_than_one_that_is_served(tmp_path: Path) -> None:
    """On several sockets, as fast as it can be sent: what is refused is not listened to for a moment."""
    message = frame(TEXT, b"\n".join([b'{"id":1,"op":"ping"}'] * 10_000))
    seconds = {}
    for name, limits in (("served", {}), ("refused", {"commands": rate(10)})):
        server = ServerProcess(tmp_path / name, GOLDENPATH_TIERS=json.dumps({"free": limits})).start()
        try:
            async with flooding(server, message, reads=True):
                process = psutil.Process(server.pid)
                began, before = time.monotonic(), process.cpu_times().user
                while time.monotonic() - began < 1.5:
                    await asyncio.sleep(0.1)
                seconds[name] = process.cpu_times().user - before
        finally:
            server.kill()
    assert seconds["refused"] < seconds["served"] / 2, seconds


async def test_a_client_that_leaves_while_it_is_not_listened_to_is_forgotten(tmp_path: Path) -> None:
    server = ServerProcess(
        tmp_path / "data", GOLDENPATH_TIERS=json.dumps({"free": {"commands": rate(1, per_second=0.01)}})
    ).start()
    user = User(server)
    try:
        async with upgraded(server, user.token) as socket:
            await socket.send(frame(TEXT, b"\n".join([b'{"id":1,"op":"ping"}'] * 100)))
            while b"rate_limited" not in (await socket.frame())[1]:
                pass
        async with asyncio.timeout(10):
            while httpx.get(f"{server.url}/health").json()["connections"]["connected"]:
                await asyncio.sleep(0.05)
        assert not faults(server), server.log()
    finally:
        await user.http.aclose()
        server.kill()
