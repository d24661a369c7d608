"""docs/protocol.md, HTTP: AG-UI over SSE, of one run and of a thread."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.test_http import check_problem
from tests.gateway.users import Sse, User, program, run_input
from tests.wsclient import text_of

RUN = "/v1/agents/{}/run"
SLOW = program({"do": "say", "text": "partial"}, {"do": "sleep", "ms": 60_000})


def text_in(messages: Sse) -> str:
    return "".join(message.data["delta"] for message in messages if message.type == "TEXT_MESSAGE_CONTENT")


async def test_a_run_streams_from_run_started_to_its_terminal_event_then_ends(user: User) -> None:
    messages = await user.run("t1", "r1", "hello, golden path")
    assert (messages[0].type, messages[-1].type) == ("RUN_STARTED", "RUN_FINISHED")
    assert text_in(messages) == "hello, golden path"
    assert {message.epoch for message in messages} == {(await user.get("/v1/threads/t1"))["epoch"]}
    assert [message.seq for message in messages] == list(range(1, len(messages) + 1))
    assert {message.event for message in messages} == {None}


async def test_the_stream_is_sse_to_the_letter(user: User) -> None:
    async with user.http.stream("POST", RUN.format("echo"), json=run_input("t1", "r1", "a\nb\r\nc")) as response:
        assert response.headers["content-type"].split(";")[0] == "text/event-stream"
        assert "no-store" in response.headers["cache-control"]
        body = await response.aread()
    assert b"\r" not in body
    assert body.endswith(b"\n\n")
    for block in body.removesuffix(b"\n\n").split(b"\n\n"):
        identity, data = block.split(b"\n")
        assert identity.startswith(b"id: ")
        assert data.startswith(b"data: {")
        json.loads(data.removeprefix(b"data: "))


async def test_the_data_is_the_event_of_the_log_exactly(user: User) -> None:
    messages = await user.run("t1", "r1", "hello")
    async with user.connect() as socket:
        await socket.ok("attach", thread_id="t1", after={"seq": 0})
        frames = await socket.ended("t1", "r1")
    assert [message.data for message in messages] == [frame["event"] for frame in frames]


async def test_the_assistants_message_has_the_id_of_its_start_and_input_messages_keep_theirs(user: User) -> None:
    messages = await user.run("t1", "r1", "hello")
    history = (await user.get("/v1/threads/t1/messages"))["messages"]
    start = next(message.data for message in messages if message.type == "TEXT_MESSAGE_START")
    assert [message["id"] for message in history] == ["message-of-r1", start["messageId"]]


async def test_input_messages_that_the_history_has_are_not_added_again(user: User) -> None:
    await user.run("t1", "r1", "one")
    history = (await user.get("/v1/threads/t1/messages"))["messages"]
    messages = [*history, {"id": "m2", "role": "user", "content": "two"}]
    started = (await user.run("t1", "r2", messages=messages))[0].data
    assert [message["id"] for message in started["input"]["messages"]] == ["m2"]
    after = (await user.get("/v1/threads/t1/messages"))["messages"]
    assert [message["content"] for message in after] == ["one", "one", "two", "two"]


async def test_a_repeated_run_id_replays_its_run_alone(user: User) -> None:
    first = await user.run("t1", "r1", "one")
    await user.run("t1", "r2", "two")
    again = await user.run("t1", "r1", "something else", agent="nobody")
    assert [(message.id, message.data) for message in again] == [(message.id, message.data) for message in first]


async def test_a_run_of_a_busy_thread_waits_for_its_turn(user: User) -> None:
    async with user.connect() as socket:
        await socket.ok("run", agent="scripted", text=SLOW, thread_id="t1", run_id="r1")
        async with user.stream("POST", RUN.format("echo"), json=run_input("t1", "r2", "next")) as stream:
            assert (await user.get("/v1/threads/t1/runs/r2"))["status"] == "queued"
            await socket.ok("cancel", thread_id="t1", run_id="r1")
            messages = await stream.rest()
    assert (messages[0].type, text_in(messages)) == ("RUN_STARTED", "next")
    assert messages[0].seq > 1


async def test_leaving_does_not_stop_the_run(user: User) -> None:
    steps = program({"do": "deltas", "count": 300, "delay_ms": 1})
    async with user.stream("POST", RUN.format("scripted"), json=run_input("t1", "r1", steps)) as stream:
        await stream.until("TEXT_MESSAGE_CONTENT")
    assert (await user.get("/v1/threads/t1/runs/r1"))["status"] == "running"
    messages = await user.run("t1", "r1")
    assert messages[-1].type == "RUN_FINISHED"
    assert len(text_in(messages)) == 300 * 8


@pytest.mark.parametrize("version", ["0.1", "0.9.3", "1.0", "1.7", "1.0.2-beta"])
async def test_protocol_versions_0_and_1_are_spoken(user: User, version: str) -> None:
    assert (await user.run("t1", "r1", protocolVersion=version))[-1].type == "RUN_FINISHED"


async def test_an_absent_protocol_version_is_0(user: User) -> None:
    body = run_input("t1", "r1")
    del body["protocolVersion"]
    async with user.stream("POST", RUN.format("echo"), json=body) as stream:
        assert (await stream.rest())[-1].type == "RUN_FINISHED"


@pytest.mark.parametrize("version", ["2.0", "1", "x", "", "10.0", 1, 1.0, None, ["1.0"]])
async def test_another_protocol_version_is_a_bad_request(user: User, version: Any) -> None:
    answer = await user.http.post(RUN.format("echo"), json=run_input("t1", "r1", protocolVersion=version))
    check_problem(answer, 400, "bad_request")


@pytest.mark.parametrize(("version", "ending"), [("1.0", "RUN_FINISHED"), ("0.1", "RUN_ERROR")])
async def test_a_cancelled_run_ends_as_the_clients_version_knows_it(user: User, version: str, ending: str) -> None:
    body = run_input("t1", "r1", SLOW, protocolVersion=version)
    async with user.stream("POST", RUN.format("scripted"), json=body) as stream:
        await stream.until("TEXT_MESSAGE_END")
        assert (await user.http.post("/v1/threads/t1/runs/r1/cancel")).status_code == 202
        last = (await stream.rest())[-1]
    assert last.type == ending
    if version == "1.0":
        assert last.data["outcome"] == {"type": "cancelled"}
    else:
        assert last.data["code"] == "cancelled"
    # The log knows one truth.
    async with user.connect() as socket:
        await socket.ok("attach", thread_id="t1", after={"seq": 0})
        assert (await socket.ended("t1", "r1"))[-1]["event"]["outcome"] == {"type": "cancelled"}


async def test_what_0_lacks_is_left_out_and_its_ids_are_skipped(user: User) -> None:
    steps = program(
        {"do": "say", "text": "before"},
        {"do": "emit", "event": {"type": "SUBAGENT_STARTED", "subagentRunId": "s1", "name": "helper"}},
        {"do": "emit", "event": {"type": "SUBAGENT_FINISHED", "subagentRunId": "s1"}},
        {"do": "say", "text": "after"},
    )
    in_1 = await user.run("t1", "r1", steps, agent="scripted")
    in_0 = await user.run("t1", "r1", protocolVersion="0.1")
    assert in_1[-1].type == in_0[-1].type == "RUN_FINISHED"
    known = {message.id for message in in_0}
    left_out = [message for message in in_1 if message.id not in known]
    assert [message.type for message in left_out] == ["SUBAGENT_STARTED", "SUBAGENT_FINISHED"]
    assert [m.id for m in in_0] == [m.id for m in in_1 if m not in left_out]


async def test_an_unknown_agent_is_404_and_leaves_no_thread(user: User) -> None:
    check_problem(await user.http.post(RUN.format("nobody"), json=run_input("t1", "r1")), 404, "unknown_agent")
    assert (await user.get("/v1/threads"))["threads"] == []


async def test_events_without_a_cursor_begin_now_and_do_not_end_with_a_run(user: User) -> None:
    await user.run("t1", "r1", "before")
    async with user.stream("GET", "/v1/threads/t1/events") as stream:
        for number in (2, 3):
            run = await user.run("t1", f"r{number}", f"text {number}")
            seen = await stream.until("RUN_FINISHED")
            assert [(message.id, message.data) for message in seen] == [(message.id, message.data) for message in run]


async def test_events_after_a_cursor_are_exactly_the_rest_then_live(user: User) -> None:
    events = [*await user.run("t1", "r1", "one"), *await user.run("t1", "r2", "two")]
    for position in range(0, len(events), 3):
        params = {"after": position, "epoch": events[0].epoch}
        async with user.stream("GET", "/v1/threads/t1/events", params=params) as stream:
            seen = [await stream.next() for _ in events[position:]]
        assert [message.id for message in seen if message] == [message.id for message in events[position:]]


async def test_last_event_id_wins_over_the_query(user: User) -> None:
    events = await user.run("t1", "r1", "one")
    headers = {"Last-Event-ID": events[-2].id}
    for params in ({}, {"after": 0}, {"after": 1, "epoch": "other"}):
        async with user.stream("GET", "/v1/threads/t1/events", params=params, headers=headers) as stream:
            message = await stream.next()
        assert message
        assert message.id == events[-1].id


async def test_seq_0_needs_no_epoch(user: User) -> None:
    events = await user.run("t1", "r1", "one")
    async with user.stream("GET", "/v1/threads/t1/events?after=0") as stream:
        assert [message.id for message in await stream.until("RUN_FINISHED")] == [message.id for message in events]


@pytest.mark.parametrize(
    "query",
    ["after=1", "after=-1&epoch=e", "after=x&epoch=e", "after=1.0&epoch=e", "after=&epoch=e", "epoch=e",
     "after=1&epoch=", "after=1&epoch=e.e", f"after=1&epoch={'e' * 65}", "after=true&epoch=e"],
)  # fmt: skip
async def test_a_bad_cursor_is_a_bad_request(user: User, query: str) -> None:
    await user.run("t1", "r1")
    check_problem(await user.http.get(f"/v1/threads/t1/events?{query}"), 400, "bad_request")


@pytest.mark.parametrize("value", ["x", "e", "e.", ".1", "e.-1", "e.x", "e.1.1", "a b.1", f"{'e' * 65}.1"])
async def test_a_bad_last_event_id_is_a_bad_request(user: User, value: str) -> None:
    await user.run("t1", "r1")
    answer = await user.http.get("/v1/threads/t1/events", headers={"Last-Event-ID": value})
    check_problem(answer, 400, "bad_request")


@pytest.mark.parametrize("excess", [None, 5])
async def test_a_gap_is_told_first_with_the_history(user: User, excess: int | None) -> None:
    events = await user.run("t1", "r1", "one")
    head, epoch = len(events), events[0].epoch
    params: dict[str, Any] = (
        {"after": 1, "epoch": "other"} if excess is None else {"after": head + excess, "epoch": epoch}
    )
    async with user.stream("GET", "/v1/threads/t1/events", params=params) as stream:
        gap = await stream.next()
        assert gap
        assert (gap.event, gap.type, gap.epoch) == ("gap", "MESSAGES_SNAPSHOT", epoch)
        assert gap.seq <= head
        assert gap.data["messages"] == (await user.get("/v1/threads/t1/messages"))["messages"]
        run = await user.run("t1", "r2", "two")
        seen = await stream.until("RUN_FINISHED")
    assert [message.id for message in seen] == [message.id for message in run]
    assert seen[0].seq == gap.seq + 1


async def test_events_and_the_socket_see_the_same_in_the_same_order(user: User) -> None:
    await user.run("t1", "r1", "one")
    async with user.connect() as socket, user.stream("GET", "/v1/threads/t1/events?after=0") as stream:
        await socket.ok("attach", thread_id="t1", after={"seq": 0})
        await user.run("t1", "r2", "two")
        await socket.ended("t1", "r2")
        seen = [*await stream.until("RUN_FINISHED"), *await stream.until("RUN_FINISHED")]
    assert [(m.seq, m.data) for m in seen] == [(frame["seq"], frame["event"]) for frame in socket.events("t1")]
    assert text_in(seen) == text_of(socket.events("t1"))


async def test_a_deleted_thread_ends_its_streams(user: User) -> None:
    await user.run("t1", "r1", "one")
    async with (
        user.stream("GET", "/v1/threads/t1/events") as events,
        user.stream("POST", RUN.format("scripted"), json=run_input("t1", "r2", SLOW)) as run,
    ):
        await run.until("TEXT_MESSAGE_END")
        assert (await user.http.delete("/v1/threads/t1")).status_code == 204
        await events.rest()
        assert all(message.type != "RUN_FINISHED" for message in await run.rest())


async def test_of_two_positions_none_is_chosen(user: User) -> None:
    epoch = (await user.run("t1", "r1"))[0].epoch
    headers = [("Last-Event-ID", f"{epoch}.1"), ("Last-Event-ID", f"{epoch}.2")]
    check_problem(await user.http.get("/v1/threads/t1/events", headers=headers), 400, "bad_request")


async def test_logout_ends_the_sessions_streams(user: User) -> None:
    await user.run("t1", "r1", "one")
    async with (
        user.stream("GET", "/v1/threads/t1/events") as events,
        user.stream("POST", RUN.format("scripted"), json=run_input("t1", "r2", SLOW)) as run,
    ):
        await run.until("TEXT_MESSAGE_END")
        assert (await user.http.post("/v1/auth/logout")).status_code == 204
        await events.rest()
        await run.rest()
