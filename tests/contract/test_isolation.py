"""Nobody receives, lists, resumes, cancels or learns the existence of anything of another user."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio

from goldenpath import App
from goldenpath.runtime.gateway.http import HttpApi
from goldenpath.runtime.gateway.routes import Route, routes
from goldenpath.runtime.settings import Settings
from goldenpath.wire.commands import OPS
from tests.contract.conftest import Join
from tests.contract.history import History
from tests.contract.judge import judge
from tests.contract.witness import Json, Link, Witness
from tests.serverprocess import ServerProcess

# --- the same names -------------------------------------------------------------------------------------------------


async def test_a_hundred_users_with_the_same_names_see_only_their_own(
    site: ServerProcess, join: Join, history: History
) -> None:
    users = [await join(site, f"same{number:03}") for number in range(100)]
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for number, user in enumerate(users):
            group.create_task(_live_with_the_same_names(user, over_sse=number % 4 == 0))
    for user in users:
        own = (await user.get("/v1/threads")).json()["threads"]
        assert sorted(thread["thread_id"] for thread in own) == ["t", "u"]
        await user.audit(["t", "u"])
        for thread_id in ("t", "u"):
            assert user.marker in json.dumps(await user.messages(thread_id))
    judge(history).require(private=100 * 100, ended_once=600, messages=200, kept=200)


async def _live_with_the_same_names(user: Witness, *, over_sse: bool) -> None:
    """Runs, a cancel, repeats and resumes, all under names that everybody uses; ids of messages too."""

    def asked(run_id: str, text: str) -> Json:
        message = {"id": f"message-{run_id}", "role": "user", "content": text}
        return {"agent": "scripted", "run_id": run_id, "input": {"threadId": "t", "messages": [message]}}

    def program(*steps: Json) -> str:
        return json.dumps({"steps": [{"do": "say", "text": user.marker}, *steps]})

    async with user.link() as link, user.link() as second:
        if over_sse:
            await user.stream_run("t", "r1", user.marker)
            await link.ok("attach", thread_id="t", after={"seq": 0})
        else:
            await link.ok("run", **asked("r1", program({"do": "echo"}, {"do": "echo", "what": "input"})))
        await link.ended("t", "r1")
        await link.ok("run", **asked("r2", program({"do": "deltas", "count": 30, "delay_ms": 5})))
        await second.ok("attach", thread_id="t", after={"seq": 0})
        await link.ok("run", **asked("r2", "a repeat"))
        await link.run("never-ends", user.marker, "u", "r1")
        await link.saw("TEXT_MESSAGE_CONTENT", "u")
        await link.ok("cancel", thread_id="u", run_id="r1")
        await link.ended("u", "r1")
        await second.ended("t", "r2")
        await user.messages("t")
        await user.status("t", "r2")


# --- somebody else's ------------------------------------------------------------------------------------------------


def table(tmp_path: Path) -> dict[str, Route]:
    """Every HTTP call of the app, by name."""
    server = App(Settings(environment="testing", data_dir=str(tmp_path))).build()
    return {route.name: route for route in routes(HttpApi(server.gateway))}


OPEN = {"register", "login", "refresh", "simulate"}
"""Calls without a token: what they take are a password, a refresh token, a key."""
OWN = {"logout", "me", "agents", "threads", "run_agent"}
"""Calls that name nothing that anybody has: they are about who asks."""
PLAIN = {
    "/v1/ws", "/openapi.json", "/livez", "/readyz", "/health", "/metrics", "/", "/dashboard", "/assets/{path:path}",
}  # fmt: skip
"""Paths that are no calls."""


def test_every_path_and_operation_is_tried(tmp_path: Path) -> None:
    calls = table(tmp_path)
    named = {name for name, route in calls.items() if "{thread_id}" in route.path}
    assert set(calls) == OPEN | OWN | named, "a new call: say how it is tried as the wrong user"
    assert named == {"thread", "delete_thread", "messages", "ends", "events", "run", "cancel"}
    for name in named:
        left = calls[name].path.replace("{thread_id}", "").replace("{run_id}", "")
        assert "{" not in left, f"{name} has a parameter that these tests do not fill in"
    server = App(Settings(environment="testing", data_dir=str(tmp_path))).build()
    paths = {getattr(route, "path", None) for route in server.site.routes}
    # tests/gateway/test_admin.py tries those
    operators = {route.path for route in server.site.table if route.permission}
    assert paths == PLAIN | operators | {route.path for route in calls.values()}
    assert set(ATTEMPTS) == OPS, "a new operation: say how it is tried as the wrong user"


class Asked(NamedTuple):
    """A call and its answer. The date apart, both must be the same whatever others have."""

    call: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Scene(NamedTuple):
    """A victim who has something, somebody else, and the epoch of the victim's `secret-thread`."""

    other: Witness
    victim: Witness
    epoch: str


THREADS, RUNS = ("secret-thread", "other-thread"), ("secret-run", "other-run")


async def _ask_everything(user: Witness, calls: dict[str, Route], epoch: str) -> list[Asked]:
    """Every call that names a thread, with every name that could be somebody's, and every cursor."""
    answers = []
    for route in calls.values():
        if "{thread_id}" not in route.path:
            continue
        for thread_id, run_id in product(THREADS, RUNS if "{run_id}" in route.path else RUNS[:1]):
            path = route.path.format(thread_id=thread_id, run_id=run_id)
            for query, headers in (
                ("", {}),
                ("?after=0", {}),
                (f"?after=3&epoch={epoch}", {}),
                ("", {"Last-Event-ID": f"{epoch}.2"}),
                ("?limit=1", {}),
            ):
                answer = await user.http.request(route.method, path + query, headers=headers)
                answers.append(_asked(f"{route.method} {path}{query} {headers}", answer))
    lists = ("/v1/threads", "/v1/threads?limit=200", "/v1/agents")
    return answers + [_asked(path, await user.http.get(path)) for path in lists]


def _asked(call: str, answer: httpx.Response) -> Asked:
    headers = tuple(sorted((name, value) for name, value in answer.headers.items() if name != "date"))
    return Asked(call, answer.status_code, headers, answer.content)


@pytest_asyncio.fixture
async def scene(site: ServerProcess, join: Join, history: History, tmp_path: Path) -> AsyncIterator[Scene]:
    """The victim has threads with ended, running and waiting runs, of which nothing may move meanwhile."""
    other, victim = [await join(site, f"{tmp_path.name}-{who}") for who in ("other", "victim")]
    async with victim.link() as link:
        await link.play("echo", victim.marker, "secret-thread", "secret-run")
        reply = await link.run("never-ends", victim.marker, "secret-thread", "other-run")
        await link.saw("TEXT_MESSAGE_CONTENT", "secret-thread", "other-run")
        await link.run("echo", victim.marker, "secret-thread", "queued-run")
        await link.run("never-ends", victim.marker, "other-thread", "secret-run")
        await link.saw("TEXT_MESSAGE_CONTENT", "other-thread")
        yield Scene(other, victim, reply["epoch"])
        assert await victim.status("secret-thread", "other-run") == "running"
        assert await victim.status("other-thread", "secret-run") == "running"
        for thread_id in THREADS:
            await link.ok("cancel", thread_id=thread_id)
        for thread_id, run_id in (("secret-thread", "other-run"), ("secret-thread", "queued-run"),
                                  ("other-thread", "secret-run")):  # fmt: skip
            assert (await link.ended(thread_id, run_id))["outcome"]["type"] == "cancelled"
    await victim.audit(THREADS)
    judge(history).require(private=50, ended_once=4)


async def test_every_call_answers_for_another_users_names_as_for_what_never_existed(
    site: ServerProcess, join: Join, tmp_path: Path, scene: Scene
) -> None:
    calls = table(tmp_path)
    fresh = await join(site, f"{tmp_path.name}-fresh")
    never = await _ask_everything(fresh, calls, scene.epoch)
    # The same questions on a server where nobody has anything of these names.
    alone = ServerProcess(tmp_path / "alone").start()
    try:
        nobody = Witness(alone, History(), "nobody@example.org")
        async with nobody:
            expected = await _ask_everything(nobody, calls, scene.epoch)
    finally:
        alone.kill()
    agents = [answer for answer in never if answer.call == "/v1/agents"]
    assert [answer for answer in never if answer not in agents] == expected[:-1]
    asked = [answer for answer in never if "secret-thread" in answer.call]
    assert len(asked) > 30
    assert {answer.status for answer in asked} == {404}
    assert all(scene.victim.marker.encode() not in answer.body for answer in never)


async def test_asking_before_and_after_gives_the_same_bytes(
    site: ServerProcess, join: Join, tmp_path: Path, history: History
) -> None:
    calls = table(tmp_path)
    asker, victim = await join(site, "asker"), await join(site, "later-victim")
    async with asker.link() as spy, victim.link() as link:
        before = await _ask_everything(asker, calls, "someepoch")
        replies = await _attempt_everything(spy, "someepoch", 3)
        reply = await link.run("echo", victim.marker, "secret-thread", "secret-run")
        await link.run("never-ends", victim.marker, "other-thread", "other-run")
        await link.saw("TEXT_MESSAGE_CONTENT", "other-thread")
        assert await _ask_everything(asker, calls, "someepoch") == before
        assert await _attempt_everything(spy, "someepoch", 3) == replies
        assert await _attempt_everything(spy, reply["epoch"], 3) == replies
        await victim.delete("other-thread")
        assert await _ask_everything(asker, calls, reply["epoch"]) == [
            answer._replace(call=answer.call.replace("someepoch", reply["epoch"])) for answer in before
        ]
        assert await _attempt_everything(spy, reply["epoch"], 3) == replies
    judge(history).require(private=50)


ATTEMPTS: dict[str, list[Json]] = {
    "attach": [
        {}, {"after": {"seq": 0}}, {"after": {"seq": 3, "epoch": "EPOCH"}}, {"after": {"seq": 0, "epoch": "EPOCH"}},
    ],
    "detach": [{}],
    "cancel": [{}, {"run_id": "secret-run"}, {"run_id": "other-run"}],
    "run": [],  # names one's own thread, whatever the name: see below
    "refresh": [],  # takes a token, not a name: see below
    "ping": [],
}  # fmt: skip


async def _attempt_everything(link: Link, epoch: str, seq: int) -> list[bytes]:
    """Every operation on the names that could be somebody's; the replies without their ids."""
    replies = []
    for op, attempts in ATTEMPTS.items():
        for thread_id, fields in product(THREADS, attempts):
            given = json.loads(json.dumps(fields).replace("EPOCH", epoch))
            reply = await link.call(op, thread_id=thread_id, **given)
            del reply["re"]
            replies.append(json.dumps(reply).encode())
    return replies


async def test_every_operation_answers_for_another_users_names_as_for_what_never_existed(scene: Scene) -> None:
    async with scene.other.link() as link:
        replies = await _attempt_everything(link, scene.epoch, 3)
        assert len(replies) >= 16
        found = [json.loads(reply) for reply in replies]
        assert {reply["error"]["code"] for reply in found if not reply["ok"]} == {"not_found"}
        assert [reply for reply in found if reply["ok"]] == [{"ok": True}] * 2  # detach of what is not attached
        await link.ok("ping")
        assert link.events == []


async def test_a_run_under_another_users_names_is_ones_own(scene: Scene) -> None:
    other = scene.other
    async with other.link() as link:
        for on_busy in ("enqueue", "reject", "interrupt"):
            run_id = "secret-run" if on_busy == "enqueue" else f"secret-run-{on_busy}"
            reply = await link.run("echo", other.marker, "secret-thread", run_id, on_busy=on_busy)
            assert reply["epoch"] != scene.epoch
            await link.ended("secret-thread", run_id)
        assert link.events[0][1] == 1
    events = await other.stream_run("other-thread", "secret-run", other.marker)
    assert [event["runId"] for event in events if "runId" in event] == ["secret-run"] * 2
    assert (await other.delete("other-thread")).status_code == 204
    await other.audit(["secret-thread"])


async def test_a_socket_takes_no_token_of_another_user(scene: Scene) -> None:
    async with scene.other.link() as link:
        assert (await link.refused("refresh", token=scene.victim.token))["code"] == "forbidden"
        assert (await link.refused("refresh", token="nonsense"))["code"] == "unauthorized"
        assert (await link.refused("attach", thread_id="secret-thread"))["code"] == "not_found"
        await link.ok("refresh", token=scene.other.token)


async def test_leaving_ends_only_ones_own_session(site: ServerProcess, join: Join, scene: Scene) -> None:
    leaver = await join(site, f"{scene.victim.name.partition('@')[0]}-leaver")
    assert (await leaver.post("/v1/auth/logout")).status_code == 204
    assert (await leaver.get("/v1/threads")).status_code == 401
    assert (await scene.victim.get("/v1/auth/me")).status_code == 200


async def test_a_page_of_anothers_threads_is_ones_own_page(scene: Scene) -> None:
    cursor = (await scene.victim.get("/v1/threads?limit=1")).json()["next_cursor"]
    assert cursor
    answer = await scene.other.get("/v1/threads", params={"cursor": cursor})
    assert answer.json() == {"threads": [], "next_cursor": None}


@pytest.mark.parametrize("path", sorted(path for path in PLAIN if "{" not in path and path != "/v1/ws"))
async def test_what_is_open_to_all_names_nobody_and_nothing(scene: Scene, path: str) -> None:
    async with httpx.AsyncClient(base_url=scene.victim.server.url, trust_env=False, verify=False) as client:
        body = (await client.get(path)).text
    me: dict[str, Any] = (await scene.victim.get("/v1/auth/me")).json()
    for secret in (me["user_id"], scene.victim.name, scene.victim.marker, scene.epoch, *THREADS, *RUNS):
        assert secret not in body


async def test_an_agent_that_one_may_not_run_is_as_one_that_does_not_exist(
    site: ServerProcess, join: Join, history: History
) -> None:
    allowed, other = await join(site, "allowed", permissions=["gate"]), await join(site, "not-allowed")
    assert [event["type"] for event in await allowed.stream_run("t", "r1", "hello", agent="gate")][-1] == "RUN_FINISHED"
    message = {"id": "m", "role": "user", "content": "hello"}
    body = {"threadId": "t", "runId": "r1", "protocolVersion": "1.0", "messages": [message]}
    answers = [_asked("run", await other.http.post(f"/v1/agents/{agent}/run", json=body)) for agent in ("gate", "nope")]
    assert answers[0].status == 404
    assert answers[0]._replace(body=answers[0].body.replace(b"gate", b"nope")) == answers[1]
    async with other.link() as link:
        errors = [await link.refused("run", agent=agent, text="hello", thread_id="t") for agent in ("gate", "nope")]
        assert json.dumps(errors[0]).replace("gate", "nope") == json.dumps(errors[1])
        assert (await link.refused("attach", thread_id="t"))["code"] == "not_found"
    assert '"gate"' not in (await other.get("/v1/agents")).text
    assert '"gate"' in (await allowed.get("/v1/agents")).text
    await allowed.audit(["t"])
    judge(history).require(private=5)


async def test_asking_for_anothers_thread_takes_as_long_as_asking_for_nothing(scene: Scene) -> None:
    user = scene.other
    for call in ("/v1/threads/{}/messages", "/v1/threads/{}", "/v1/threads/{}/runs/other-run"):
        times: dict[str, list[float]] = {"secret-thread": [], "never-existed": []}
        for number in range(200):
            for thread_id in sorted(times, reverse=bool(number % 2)):
                began = time.perf_counter()
                answer = await user.http.get(call.format(thread_id))
                times[thread_id].append(time.perf_counter() - began)
                assert answer.status_code == 404
        theirs, nothing = (statistics.median(values) for values in times.values())
        # Not how fast it is: whether somebody could tell one from the other.
        assert theirs < 3 * nothing
        assert nothing < 3 * theirs
