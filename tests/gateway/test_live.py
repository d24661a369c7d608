"""docs/protocol.md, `/v1/admin/live`: under every server, for operators alone."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psutil
import pytest

from tests.gateway.rawsocket import RawSocket, frame, raw, upgrade
from tests.gateway.test_upgrade import check_problem, refusal
from tests.gateway.users import User, program
from tests.serverprocess import ServerProcess
from tests.wsclient import Frame, WsClient, connected

OPS = "ops@example.org"
SECRET = "a word that nobody may read here"


def operator_token(site: ServerProcess, *permissions: str) -> str:
    token: str = site.tokens(OPS, permissions=["operator", *permissions])["access_token"]
    return token


def live_url(site: ServerProcess) -> str:
    return site.ws_url.replace("/v1/ws", "/v1/admin/live")


@asynccontextmanager
async def looking(site: ServerProcess, token: str) -> AsyncIterator[WsClient]:
    """As a browser looks."""
    async with connected(live_url(site), None, subprotocols=["goldenpath.v1", f"bearer.{token}"]) as socket:
        assert socket.connection.subprotocol == "goldenpath.v1"
        await socket.wait(lambda each: each.get("type") == "snapshot")
        yield socket


def admin(site: ServerProcess, token: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=site.url, headers=headers, timeout=20, trust_env=False, verify=site.verify)


def newest(socket: WsClient, section: str) -> Any:
    found = [each["sections"][section] for each in socket.frames if section in each.get("sections", ())]
    return found[-1]


async def test_an_operator_sees_samples_and_sections(site: ServerProcess) -> None:
    async with looking(site, operator_token(site)) as socket:
        assert [each["type"] for each in socket.frames[:3]] == ["welcome", "history", "snapshot"]
        later = await socket.wait(lambda each: each["type"] == "snapshot", len(socket.frames))
        assert later["sample"]["time"] >= socket.frames[2]["sample"]["time"]
        assert newest(socket, "service")["state"] == "ready"


async def test_nobody_else_is_let_in(site: ServerProcess, user: User) -> None:
    check_problem(await refusal(live_url(site), None), 401, "unauthorized")
    check_problem(await refusal(live_url(site), "garbage"), 401, "unauthorized")
    check_problem(await refusal(live_url(site), user.token), 403, "forbidden")
    stranger = {"additional_headers": {"Origin": "https://evil.example.org"}}
    check_problem(await refusal(live_url(site), operator_token(site), **stranger), 403, "forbidden")


async def test_load_shows_with_names_that_tell_nothing_and_without_a_word_of_it(
    site: ServerProcess, new_user: Callable[..., User]
) -> None:
    user = new_user()
    async with looking(site, operator_token(site)) as socket, user.connect() as talking:
        steps: list[Frame] = [
            {"do": "tool", "name": "search", "args": {"q": SECRET}, "result": SECRET},
            {"do": "say", "text": SECRET},
        ]
        reply = await talking.script(*steps, thread_id="thread-of-mine", run_id="run-of-mine")
        await talking.ended(reply["thread_id"], reply["run_id"])
        async with admin(site, operator_token(site, "operator:identities")) as ops:
            theirs = (await ops.get("/v1/admin/runs", params={"owner": user.id})).json()
        (number,) = [run["number"] for run in theirs["ended"]]

        def ended(each: dict[str, Any]) -> list[dict[str, Any]]:
            runs = each.get("sections", {}).get("runs", {}).get("ended", [])
            return [run for run in runs if run["number"] == number]

        await socket.wait(lambda each: bool(ended(each)))
        (run,) = ended({"sections": {"runs": newest(socket, "runs")}})
        owner = run["owner"]
        async with admin(site, operator_token(site)) as ops:
            mine = (await ops.get("/v1/admin/runs", params={"owner": owner, "limit": 5})).json()
            timeline = (await ops.get(f"/v1/admin/runs/{number}")).json()
            assert (await ops.get("/v1/admin/runs/999999999")).json()["code"] == "not_found"
            assert (await ops.get("/v1/admin/runs", params={"limit": 0})).json()["code"] == "bad_request"
        assert number in [run["number"] for run in mine["ended"]]
        assert {run["owner"] for run in mine["ended"]} == {owner}
        assert [step["name"] for step in timeline["steps"]] == ["search"]
        assert {"accepted", "has its place", "engine made", "ended"} <= {each["what"] for each in timeline["moments"]}
        for text in (json.dumps(socket.frames[1:]), json.dumps(mine), json.dumps(timeline)):
            for secret in (SECRET, user.id, "thread-of-mine", "run-of-mine", user.email):
                assert secret not in text


async def test_who_may_see_identities_finds_the_run(site: ServerProcess, new_user: Callable[..., User]) -> None:
    user = new_user()
    await user.run("t1", "r1", program({"do": "say", "text": SECRET}), agent="scripted")
    async with admin(site, operator_token(site, "operator:identities")) as ops:
        ended = (await ops.get("/v1/admin/runs", params={"owner": user.id})).json()["ended"]
        timeline = (await ops.get(f"/v1/admin/runs/{ended[0]['number']}")).text
    found = json.loads(timeline)
    assert (found["run"]["owner"], found["thread_id"], found["run_id"]) == (user.id, "t1", "r1")
    assert SECRET not in timeline


async def test_a_newer_token_keeps_the_view_and_a_lesser_one_does_not(site: ServerProcess) -> None:
    async with looking(site, operator_token(site)) as socket:
        assert (await socket.call("refresh", token=operator_token(site)))["ok"]
        lesser = site.tokens(OPS, permissions=[])["access_token"]
        assert (await socket.call("refresh", token=lesser))["error"]["code"] == "forbidden"
        other = site.tokens("other@example.org", permissions=["operator"])["access_token"]
        assert (await socket.call("refresh", token=other))["error"]["code"] == "forbidden"


async def test_logging_out_ends_the_view(site: ServerProcess) -> None:
    token = operator_token(site)
    async with looking(site, token) as socket, admin(site, token) as ops:
        assert (await ops.post("/v1/auth/logout")).status_code == 204
        assert (await socket.closed())[0] == 4401


async def test_where_users_have_taken_all_connections_operators_still_get_in(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server(GOLDENPATH_MAX_CONNECTIONS="1")
    user = User(server)
    async with user.connect() as only:
        await only.welcome()
        check_problem(await refusal(server.ws_url, user.token), 503, "overloaded")
        async with looking(server, operator_token(server)) as socket:
            await socket.wait(lambda each: each.get("sample", {}).get("connections", 0) == 2)
    await user.http.aclose()


async def test_a_drain_closes_the_view_with_going_away(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server()
    async with looking(server, operator_token(server)) as socket:
        server.signal(signal.SIGTERM)
        assert (await socket.closed())[0] == 1001
    assert server.wait() == 0


async def test_a_viewer_that_never_reads_is_skipped_costs_no_memory_and_is_cut(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server(GOLDENPATH_WRITE_TIMEOUT="2")
    token = operator_token(server)
    async with raw(server, receive_buffer=4096) as slow, admin(server, token) as ops:
        await slow.send(upgrade(token, path="/v1/admin/live"))
        assert (await slow.answer()).status == 101
        before = psutil.Process(server.pid).memory_info().rss
        pings = frame(1, b"\n".join(json.dumps({"id": "x" * 100, "op": "ping"}).encode() for _ in range(100)))
        flood = asyncio.create_task(send_all(slow, [pings] * 5_000))
        async with asyncio.timeout(30):
            while "goldenpath_operator_page_viewers 0.0" not in (await ops.get("/metrics")).text:
                await asyncio.sleep(0.1)
        flood.cancel()
        assert psutil.Process(server.pid).memory_info().rss - before < 16 << 20
        figures = (await ops.get("/metrics")).text
    skipped = next(line for line in figures.splitlines() if line.startswith("goldenpath_operator_page_skipped_total"))
    assert float(skipped.split()[1]) >= 1


async def send_all(socket: RawSocket, parts: list[bytes]) -> None:
    for part in parts:
        await socket.send(part)


@pytest.mark.parametrize("path", ["/v1/admin", "/v1/admin/other", "/v1/admin/live/"])
async def test_there_is_no_socket_beside_it(site: ServerProcess, path: str) -> None:
    refused = await refusal(site.ws_url.replace("/v1/ws", path), operator_token(site))
    assert refused.status_code in (403, 404)
