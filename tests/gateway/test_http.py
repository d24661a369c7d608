"""docs/protocol.md, HTTP: threads, runs, agents, probes and errors."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.gateway.users import User, program, run_input
from tests.serverprocess import SIMULATION_KEY, ServerProcess
from tests.wsclient import text_of

MAX_BODY = 1_048_576
SLOW = program({"do": "sleep", "ms": 60_000})


def check_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert sorted(problem) == ["code", "detail", "retry_after", "retryable", "status", "title", "type"]
    assert (problem["status"], problem["code"]) == (status, code)
    assert isinstance(problem["retryable"], bool)
    assert problem["type"]
    assert problem["title"]
    assert ("retry-after" in answer.headers) == (problem["retry_after"] is not None)
    assert ("www-authenticate" in answer.headers) == (status == 401)
    return problem


def moment(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


async def test_agents_lists_what_the_user_may_run(user: User) -> None:
    agents = {agent["name"]: agent for agent in (await user.get("/v1/agents"))["agents"]}
    assert {"echo", "scripted"} <= set(agents)
    for agent in agents.values():
        assert sorted(agent) == ["description", "name"]
        assert agent["description"]


async def test_a_thread_is_listed_and_described(user: User) -> None:
    async with user.connect() as socket:
        events = await socket.run("hello", thread_id="t1", run_id="r1")
        reply = await socket.ok("attach", thread_id="t1")
    page = await user.get("/v1/threads")
    assert sorted(page) == ["next_cursor", "threads"]
    (info,) = page["threads"]
    assert sorted(info) == ["created_at", "head", "thread_id", "updated_at"]
    assert (info["thread_id"], info["head"], page["next_cursor"]) == ("t1", len(events), None)
    assert moment(info["created_at"]) <= moment(info["updated_at"]) <= datetime.now(UTC)
    thread = await user.get("/v1/threads/t1")
    assert thread == {
        "thread_id": "t1",
        "created_at": info["created_at"],
        "updated_at": thread["updated_at"],
        "epoch": reply["epoch"],
        "head": len(events),
        "runs": [{"run_id": "r1", "status": "finished"}],
    }


async def test_a_new_user_has_no_threads(user: User) -> None:
    assert await user.get("/v1/threads") == {"threads": [], "next_cursor": None}


async def pages(user: User, limit: int) -> AsyncIterator[list[str]]:
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
        page = await user.get("/v1/threads", params=params)
        yield [info["thread_id"] for info in page["threads"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return


async def test_threads_come_newest_first_in_pages_without_loss_or_repeat(user: User) -> None:
    names = [f"t{number:02}" for number in range(23)]
    async with user.connect() as socket:
        for name in names:
            await socket.run("x", thread_id=name)
            await socket.ok("detach", thread_id=name)
        await socket.run("again", thread_id="t05")
    wanted = ["t05", *(name for name in reversed(names) if name != "t05")]
    for limit in (1, 5, 23, 200):
        found = [page async for page in pages(user, limit)]
        assert list(itertools.chain(*found)) == wanted
        assert all(len(page) == limit for page in found[:-1])
    assert len((await user.get("/v1/threads"))["threads"]) == 23


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=-1", "limit=x", "limit=1.5", "limit=", "cursor=x", "cursor=", "cursor=e30",
              "cursor=WzEsMl0", "cursor=%00", "limit=99999999999999999999"]
)  # fmt: skip
async def test_a_bad_limit_or_cursor_is_a_bad_request(user: User, query: str) -> None:
    check_problem(await user.http.get(f"/v1/threads?{query}"), 400, "bad_request")


async def test_messages_are_complete_up_to_their_seq(user: User) -> None:
    async with user.connect() as socket:
        await socket.run("one", thread_id="t1")
        await socket.script({"do": "deltas", "count": 200, "delay_ms": 1}, thread_id="t1", run_id="r2")
        await socket.event("TEXT_MESSAGE_CONTENT", run_id="r2")
        messages = await user.get("/v1/threads/t1/messages")
        assert sorted(messages) == ["epoch", "messages", "seq", "thread_id"]
        async with user.connect() as other:
            after = {"epoch": messages["epoch"], "seq": messages["seq"]}
            await other.ok("attach", thread_id="t1", after=after)
            rest = await other.ended("t1", "r2")
        events = await socket.ended("t1", "r2")
    assert rest == [frame for frame in events if frame["seq"] > messages["seq"]]
    assert [message["role"] for message in messages["messages"]][:3] == ["user", "assistant", "user"]
    # The message that was open is there with its text so far; the events after it continue it.
    so_far = "".join(message["content"] for message in messages["messages"][3:])
    assert so_far + text_of(rest) == text_of(events)


async def test_the_final_messages_are_in_the_history_before_run_finished(user: User) -> None:
    async with user.connect() as socket:
        for number in range(20):
            events = await socket.run(f"text {number}", thread_id="t1")
            messages = await user.get("/v1/threads/t1/messages")
            assert messages["seq"] == events[-1]["seq"]
            assert messages["messages"][-1]["content"] == f"text {number}"
            start = next(frame["event"] for frame in events if frame["event"]["type"] == "TEXT_MESSAGE_START")
            assert messages["messages"][-1]["id"] == start["messageId"]


async def test_a_failed_run_leaves_its_partial_text_in_the_history(user: User) -> None:
    async with user.connect() as socket:
        code = {"do": "error", "code": "upstream_unavailable", "message": "down"}
        await socket.script({"do": "say", "text": "So far so"}, code, thread_id="t1", run_id="r1")
        await socket.ended("t1", "r1")
    assert (await user.get("/v1/threads/t1/messages"))["messages"][-1]["content"] == "So far so"
    row = await user.get("/v1/threads/t1/runs/r1")
    assert (row["status"], row["error"]) == ("failed", "upstream_unavailable")


async def test_a_run_is_described_in_every_state(user: User) -> None:
    async with user.connect() as socket:
        for number in range(2):
            await socket.ok("run", agent="scripted", text=SLOW, thread_id="t1", run_id=f"r{number}")
        await socket.event("RUN_STARTED", run_id="r0")
        running, queued = [await user.get(f"/v1/threads/t1/runs/r{number}") for number in range(2)]
        assert sorted(running) == [
            "agent", "created_at", "error", "finished_at", "run_id", "started_at", "status", "thread_id",
        ]  # fmt: skip
        assert (running["run_id"], running["thread_id"], running["agent"]) == ("r0", "t1", "scripted")
        assert (running["status"], running["finished_at"], running["error"]) == ("running", None, None)
        assert moment(running["created_at"]) <= moment(running["started_at"])
        assert (queued["status"], queued["started_at"], queued["finished_at"]) == ("queued", None, None)
        thread = await user.get("/v1/threads/t1")
        assert [(run["run_id"], run["status"]) for run in thread["runs"]] == [("r0", "running"), ("r1", "queued")]
        answer = await user.http.post("/v1/threads/t1/runs/r1/cancel")
        assert (answer.status_code, answer.json()["run_id"]) == (202, "r1")
        answer = await user.http.post("/v1/threads/t1/runs/r0/cancel")
        assert (answer.status_code, sorted(answer.json())) == (202, sorted(running))
        for number in range(2):
            await socket.ended("t1", f"r{number}")
            row = await user.get(f"/v1/threads/t1/runs/r{number}")
            assert (row["status"], row["error"]) == ("cancelled", None)
            assert moment(row["started_at"]) <= moment(row["finished_at"])
        again = await user.http.post("/v1/threads/t1/runs/r0/cancel")
        assert (again.status_code, again.json()["status"]) == (202, "cancelled")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/threads/{thread}"),
        ("DELETE", "/v1/threads/{thread}"),
        ("GET", "/v1/threads/{thread}/messages"),
        ("GET", "/v1/threads/{thread}/events"),
        ("GET", "/v1/threads/{thread}/runs/r1"),
        ("POST", "/v1/threads/{thread}/runs/r1/cancel"),
    ],
)
async def test_what_is_anothers_answers_as_what_never_was(
    new_user: Callable[..., User], method: str, path: str
) -> None:
    owner, stranger = new_user(), new_user()
    async with owner.connect() as socket:
        await socket.run("private", thread_id="t1", run_id="r1")
    theirs = await stranger.http.request(method, path.format(thread="t1"))
    nobodys = await stranger.http.request(method, path.format(thread="t2"))
    check_problem(theirs, 404, "not_found")
    assert (theirs.status_code, theirs.content) == (nobodys.status_code, nobodys.content)
    assert set(theirs.headers) == set(nobodys.headers)
    assert (await owner.get("/v1/threads/t1"))["runs"] == [{"run_id": "r1", "status": "finished"}]


async def test_an_unknown_run_of_an_own_thread_is_not_found(user: User) -> None:
    async with user.connect() as socket:
        await socket.run("x", thread_id="t1")
    check_problem(await user.http.get("/v1/threads/t1/runs/nothing"), 404, "not_found")
    check_problem(await user.http.post("/v1/threads/t1/runs/nothing/cancel"), 404, "not_found")


@pytest.mark.parametrize("name", ["a%20b", "%C3%A4", "x" * 129, "a*b"])
async def test_a_malformed_id_in_a_path_is_a_bad_request(user: User, name: str) -> None:
    for method, path in (
        ("GET", f"/v1/threads/{name}"),
        ("DELETE", f"/v1/threads/{name}"),
        ("GET", f"/v1/threads/{name}/messages"),
        ("GET", f"/v1/threads/{name}/events"),
        ("GET", f"/v1/threads/t1/runs/{name}"),
        ("POST", f"/v1/threads/t1/runs/{name}/cancel"),
        ("POST", f"/v1/agents/{name}/run"),
    ):
        check_problem(await user.http.request(method, path), 400, "bad_request")


async def test_delete_removes_the_thread_and_cancels_its_runs(user: User) -> None:
    async with user.connect() as socket:
        await socket.ok("run", agent="scripted", text=SLOW, thread_id="t1", run_id="r1")
        answer = await user.http.delete("/v1/threads/t1")
        assert (answer.status_code, answer.content) == (204, b"")
        for path in ("/v1/threads/t1", "/v1/threads/t1/messages", "/v1/threads/t1/events", "/v1/threads/t1/runs/r1"):
            check_problem(await user.http.get(path), 404, "not_found")
        check_problem(await user.http.delete("/v1/threads/t1"), 404, "not_found")
        assert await user.get("/v1/threads") == {"threads": [], "next_cursor": None}
        assert (await user.http.delete("/v1/threads/t1")).status_code == 404


async def test_probes_answer_without_a_token_and_name_nobody(user: User, site: ServerProcess) -> None:
    async with user.connect() as socket:
        await socket.run("x", thread_id="a-telling-name", run_id="a-telling-run")
        async with httpx.AsyncClient(base_url=site.url, verify=False) as client:
            for path in ("/livez", "/readyz", "/health", "/metrics"):
                answer = await client.get(path)
                assert answer.status_code == 200, answer.text
                for secret in (user.id, user.email, user.token, "a-telling-name", "a-telling-run"):
                    assert secret not in answer.text
            assert "goldenpath_connections_connected 1.0" in (await client.get("/metrics")).text


PAGES = ["/", "/assets/chat.html", "/assets/js/app.js"]


@pytest.mark.parametrize("path", PAGES)
async def test_the_pages_come_without_a_token_and_allow_nothing_of_others(site: ServerProcess, path: str) -> None:
    async with httpx.AsyncClient(base_url=site.url, verify=False) as client:
        answer = await client.get(path)
    assert answer.status_code == 200
    kind, _, charset = answer.headers["content-type"].partition("; ")
    assert kind in ("text/html", "text/javascript")
    assert charset == "charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert "script-src" not in policy
    assert policy["object-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_that_the_client_holds_is_not_sent_again(site: ServerProcess, path: str) -> None:
    async with httpx.AsyncClient(base_url=site.url, verify=False) as client:
        whole = await client.get(path)
        assert whole.headers["cache-control"] == "no-cache"
        tag = whole.headers["etag"]
        for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            same = await client.get(path, headers={"If-None-Match": held})
            assert (same.status_code, same.content) == (304, b"")
            assert same.headers["etag"] == tag
            assert same.headers["content-security-policy"] == whole.headers["content-security-policy"]
        for held in ('"other"', tag.strip('"'), ""):
            assert (await client.get(path, headers={"If-None-Match": held})).content == whole.content


async def test_no_two_files_of_the_pages_have_one_tag(site: ServerProcess) -> None:
    async with httpx.AsyncClient(base_url=site.url, verify=False) as client:
        first, *others = [(await client.get(path)).headers["etag"] for path in ("/", *PAGES[1:])]
    assert others[0] == first
    assert others[1] != first


CALLS = [
    ("GET", "/v1/auth/me"),
    ("POST", "/v1/auth/logout"),
    ("GET", "/v1/agents"),
    ("POST", "/v1/agents/echo/run"),
    ("GET", "/v1/threads"),
    ("GET", "/v1/threads/t1"),
    ("DELETE", "/v1/threads/t1"),
    ("GET", "/v1/threads/t1/messages"),
    ("GET", "/v1/threads/t1/ends"),
    ("GET", "/v1/threads/t1/events"),
    ("GET", "/v1/threads/t1/runs/r1"),
    ("POST", "/v1/threads/t1/runs/r1/cancel"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_a_call_without_a_good_token_is_unauthorized(
    site: ServerProcess, user: User, method: str, path: str
) -> None:
    async with httpx.AsyncClient(base_url=site.url, verify=False) as client:
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {user.token}"}):
            check_problem(await client.request(method, path, headers=headers), 401, "unauthorized")
        query = {"token": user.token, "access_token": user.token}
        check_problem(await client.request(method, path, params=query), 401, "unauthorized")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/auth/login"), ("PUT", "/v1/threads"), ("POST", "/v1/threads/t1"), ("DELETE", "/v1/agents"),
     ("PATCH", "/readyz"), ("POST", "/"), ("GET", "/v1/agents/echo/run"), ("GET", "/v1/threads/t1/runs/r1/cancel")],
)  # fmt: skip
async def test_a_wrong_method_is_405_and_says_which_is_right(user: User, method: str, path: str) -> None:
    answer = await user.http.request(method, path)
    check_problem(answer, 405, "bad_request")
    assert answer.headers["allow"]


async def test_a_wrong_method_is_told_all_that_are_right(user: User) -> None:
    answer = await user.http.put("/v1/threads/t1")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "DELETE"}


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/", "/v1/threads/", "/v1/threads/t1/", "/v2/threads", "/nothing", "/assets/../goldenpath.db",
     "/assets/%2e%2e/http.py", "/assets/nothing.js"],
)  # fmt: skip
async def test_a_path_that_does_not_exist_is_not_found(user: User, path: str) -> None:
    check_problem(await user.http.get(path), 404, "not_found")


BODIES = {
    "empty": b"",
    "not JSON": b"hello",
    "half of it": b'{"threadId":"t',
    "not UTF-8": b'{"threadId":"\xff"}',
    "an array": b"[]",
    "a string": b'"x"',
    "null": b"null",
    "no ids": b'{"messages":[]}',
    "a number as id": b'{"threadId":1,"runId":"r","messages":[]}',
    "a malformed id": b'{"threadId":"a b","runId":"r","messages":[]}',
    "messages an object": b'{"threadId":"t","runId":"r","messages":{}}',
    "an unknown role": b'{"threadId":"t","runId":"r","messages":[{"id":"1","role":"king","content":""}]}',
    "deep": b'{"threadId":"t","runId":"r","messages":[],"state":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "rather deep": b'{"threadId":"t","runId":"r","messages":[],"state":' + b"[" * 200 + b"]" * 200 + b"}",
    "half a surrogate pair": b'{"threadId":"t","runId":"r","messages":[{"id":"1","role":"user","content":"\\ud800"}]}',
}


@pytest.mark.parametrize("name", BODIES)
async def test_malformed_json_and_wrong_shapes_alike_are_400(user: User, name: str) -> None:
    answer = await user.http.post("/v1/agents/echo/run", content=BODIES[name])
    check_problem(answer, 400, "bad_request")
    assert await user.get("/v1/threads") == {"threads": [], "next_cursor": None}


def body_of(size: int) -> bytes:
    body = json.dumps(run_input("t1", "r1", "x")).encode()
    return body + b" " * (size - len(body))


async def in_chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_exactly_the_limit_passes(user: User, chunked: bool) -> None:
    body = body_of(MAX_BODY)
    async with user.stream("POST", "/v1/agents/echo/run", content=in_chunks(body) if chunked else body) as stream:
        assert (await stream.rest())[-1].type == "RUN_FINISHED"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    "path", ["/v1/agents/echo/run", *(f"/v1/auth/{call}" for call in ("login", "refresh", "register", "simulate"))]
)
async def test_a_body_over_the_limit_is_413(user: User, path: str, chunked: bool) -> None:
    body = body_of(MAX_BODY + 1)
    headers = {"X-Simulation-Key": SIMULATION_KEY}
    answer = await user.http.post(path, content=in_chunks(body) if chunked else body, headers=headers)
    check_problem(answer, 413, "payload_too_large")


async def test_whether_one_may_simulate_comes_before_what_the_body_says(user: User) -> None:
    for content in (b"", b"{", b"{}"):
        check_problem(await user.http.post("/v1/auth/simulate", content=content), 401, "unauthorized")


async def test_a_hundred_requests_at_once_are_all_answered(user: User) -> None:
    found = await asyncio.gather(*(user.get("/v1/auth/me") for _ in range(100)))
    assert {answer["user_id"] for answer in found} == {user.id}
