"""docs/protocol.md, WebSocket: the `run` command, and runs one after another."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest

from tests.gateway.transports import MAX_ATTACHED
from tests.gateway.users import User, program
from tests.wsclient import Frame, WsClient, text_of

SLOW = program({"do": "sleep", "ms": 60_000})
NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def kinds(events: list[Frame]) -> list[str]:
    return [frame["event"]["type"] for frame in events]


def seqs(events: list[Frame]) -> list[int]:
    return [frame["seq"] for frame in events]


async def start_slow(socket: WsClient, thread_id: str, run_id: str, **fields: Any) -> Frame:
    return await socket.ok("run", agent="scripted", text=SLOW, thread_id=thread_id, run_id=run_id, **fields)


def outcome(events: list[Frame]) -> str:
    """How a run ended: its outcome, or its error's code."""
    last = events[-1]["event"]
    return str(last["outcome"]["type"] if last["type"] == "RUN_FINISHED" else last["code"])


async def test_a_run_is_accepted_then_streams_from_run_started_to_run_finished(user: User) -> None:
    async with user.connect() as socket:
        reply = await socket.ok("run", agent="echo", thread_id="t1", run_id="r1", text="hello, golden path")
        assert sorted(reply) == ["epoch", "ok", "re", "run_id", "seq", "status", "thread_id"]
        assert (reply["thread_id"], reply["run_id"], reply["status"], reply["seq"]) == ("t1", "r1", "running", 0)
        events = await socket.ended("t1", "r1")
    assert kinds(events)[:2] == ["RUN_STARTED", "TEXT_MESSAGE_START"]
    assert kinds(events)[-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert seqs(events) == list(range(1, len(events) + 1))
    assert text_of(events) == "hello, golden path"
    for frame in events:
        assert sorted(frame) == ["event", "run_id", "seq", "thread_id"]
        assert (frame["thread_id"], frame["run_id"]) == ("t1", "r1")


async def test_the_reply_comes_before_the_first_event(user: User) -> None:
    for _ in range(5):
        async with user.connect() as socket:
            for number in range(MAX_ATTACHED):
                await socket.run("x", thread_id=f"t{number}")
            order = [frame["re"] if "re" in frame else frame["thread_id"] for frame in socket.frames[1:]]
            for number in range(MAX_ATTACHED):
                assert order.index(f"c{number + 1}") < order.index(f"t{number}")


async def test_run_started_carries_the_new_messages(user: User) -> None:
    async with user.connect() as socket:
        first = await socket.run("one", thread_id="t1")
        second = await socket.run("two", thread_id="t1")
    for events, text in ((first, "one"), (second, "two")):
        messages = events[0]["event"]["input"]["messages"]
        assert [(message["role"], message["content"]) for message in messages] == [("user", text)]
        assert messages[0]["id"]


async def test_messages_of_the_input_that_the_thread_has_already_are_not_new(user: User) -> None:
    def message(number: int) -> Frame:
        return {"id": f"m{number}", "role": "user", "content": f"text {number}"}

    async with user.connect() as socket:
        for given in ([message(1)], [message(1), message(2)], [message(1), message(2), message(2)]):
            reply = await socket.ok("run", agent="echo", thread_id="t1", input={"messages": given})
            await socket.ended("t1", reply["run_id"])
        started = [frame["event"] for frame in socket.events("t1") if frame["event"]["type"] == "RUN_STARTED"]
    assert [event["input"]["messages"] for event in started] == [[message(1)], [message(2)], []]


@pytest.mark.parametrize(
    "text", ["", "x", "12345678", "123456789", "ö☃ \U0001d11e\U0001f600" * 5, "a\nb\r\n\tc\0 \u2028\u2029"]
)
async def test_the_deltas_of_echo_are_short_and_joined_equal_the_text(user: User, text: str) -> None:
    async with user.connect() as socket:
        events = await socket.run(text)
    deltas = [frame["event"]["delta"] for frame in events if frame["event"]["type"] == "TEXT_MESSAGE_CONTENT"]
    assert "".join(deltas) == text
    assert all(1 <= len(delta) <= 8 for delta in deltas)


async def test_ids_that_are_absent_are_made_by_the_server(user: User) -> None:
    async with user.connect() as socket:
        replies = [await socket.ok("run", agent="echo", text="x") for _ in range(3)]
        for reply in replies:
            assert NAME.fullmatch(reply["thread_id"])
            assert NAME.fullmatch(reply["run_id"])
            await socket.ended(reply["thread_id"], reply["run_id"])
    assert len({reply["thread_id"] for reply in replies}) == 3
    assert len({reply["run_id"] for reply in replies}) == 3


async def test_ids_of_every_allowed_character_and_length_are_taken(user: User) -> None:
    async with user.connect() as socket:
        for name in ("AZaz09._:-", "x" * 128, ".", "-"):
            events = await socket.run("x", thread_id=name, run_id=name)
            assert kinds(events)[-1] == "RUN_FINISHED"


async def test_an_input_brings_its_own_ids_and_all_else(user: User) -> None:
    given = {
        "threadId": "t1",
        "runId": "r1",
        "messages": [{"id": "m1", "role": "user", "content": program({"do": "echo", "what": "input"})}],
        "state": {"mood": "good"},
        "tools": [{"name": "look", "description": "looks", "parameters": {"type": "object"}}],
        "context": [{"description": "place", "value": "here"}],
        "forwardedProps": {"x": [1, None]},
    }
    async with user.connect() as socket:
        reply = await socket.ok("run", agent="scripted", input=given)
        assert (reply["thread_id"], reply["run_id"]) == ("t1", "r1")
        seen = json.loads(text_of(await socket.ended("t1", "r1")))
    for field in ("state", "tools", "context", "forwardedProps"):
        assert seen[field] == given[field]


async def test_ids_of_command_and_input_may_agree(user: User) -> None:
    given = {"threadId": "t1", "runId": "r1", "messages": [{"id": "m", "role": "user", "content": "hi"}]}
    async with user.connect() as socket:
        reply = await socket.ok("run", agent="echo", input=given, thread_id="t1", run_id="r1")
        assert (reply["thread_id"], reply["run_id"]) == ("t1", "r1")
        assert text_of(await socket.ended("t1", "r1")) == "hi"


async def test_an_unknown_agent_is_refused_and_leaves_no_thread(user: User) -> None:
    async with user.connect() as socket:
        error = await socket.refused("run", agent="nobody", text="x", thread_id="t1")
        assert (error["code"], error["retryable"], error["definite"]) == ("unknown_agent", False, True)
        assert (await socket.refused("attach", thread_id="t1"))["code"] == "not_found"
    assert (await user.get("/v1/threads"))["threads"] == []


async def test_a_repeated_run_id_attaches_to_that_run_from_its_start(user: User) -> None:
    async with user.connect() as socket:
        await socket.run("first", thread_id="t1", run_id="r1")
        await socket.run("second", thread_id="t1", run_id="r2")
        await socket.run("third", thread_id="t1", run_id="r3")
        events = socket.events("t1")
    async with user.connect() as socket:
        # What the repeat says of agent, input and policies is ignored.
        reply = await socket.ok(
            "run", agent="nobody", text="other", thread_id="t1", run_id="r2", on_busy="reject", on_disconnect="cancel"
        )
        start = next(frame["seq"] for frame in events if frame["run_id"] == "r2")
        assert (reply["seq"], reply["status"], reply["run_id"]) == (start - 1, "finished", "r2")
        await socket.ended("t1", "r3")
        assert socket.events("t1") == [frame for frame in events if frame["seq"] >= start]


async def test_a_repeat_while_the_run_is_running_follows_it(user: User) -> None:
    async with user.connect() as one, user.connect() as other:
        await start_slow(one, "t1", "r1")
        await one.event("RUN_STARTED", "t1")
        reply = await start_slow(other, "t1", "r1")
        assert (reply["status"], reply["seq"]) == ("running", 0)
        await other.event("RUN_STARTED", "t1", "r1")
        await other.ok("cancel", thread_id="t1")
        assert await one.ended("t1", "r1") == await other.ended("t1", "r1")


async def test_run_on_an_attached_thread_keeps_the_cursor(user: User) -> None:
    async with user.connect() as socket:
        await socket.run("first", thread_id="t1", run_id="r1")
        reply = await socket.ok("run", agent="echo", text="x", thread_id="t1", run_id="r1")
        assert reply["seq"] == 0
        await socket.run("second", thread_id="t1", run_id="r2")
        assert seqs(socket.events("t1")) == list(range(1, len(socket.events("t1")) + 1))


async def test_the_same_run_id_in_two_threads_is_two_runs(user: User) -> None:
    async with user.connect() as socket:
        assert text_of(await socket.run("one", thread_id="t1", run_id="r")) == "one"
        assert text_of(await socket.run("two", thread_id="t2", run_id="r")) == "two"


async def test_enqueued_runs_of_a_thread_never_interleave(user: User) -> None:
    async with user.connect() as socket:
        await socket.send(
            *(
                {"id": n, "op": "run", "agent": "echo", "thread_id": "t1", "run_id": f"r{n}", "text": f"text {n}" * 9}
                for n in range(8)
            )
        )
        for number in range(8):
            await socket.ended("t1", f"r{number}")
        events = socket.events("t1")
    assert seqs(events) == list(range(1, len(events) + 1))
    order = [frame["run_id"] for frame in events]
    assert order == sorted(order)
    for number in range(8):
        run = [frame for frame in events if frame["run_id"] == f"r{number}"]
        assert kinds(run)[0] == "RUN_STARTED"
        assert sum(kind in ("RUN_FINISHED", "RUN_ERROR") for kind in kinds(run)) == 1
        assert kinds(run)[-1] == "RUN_FINISHED"


async def test_a_run_of_a_busy_thread_waits_by_default(user: User) -> None:
    async with user.connect() as socket:
        assert (await start_slow(socket, "t1", "r1"))["status"] == "running"
        reply = await socket.ok("run", agent="echo", text="next", thread_id="t1", run_id="r2")
        assert reply["status"] == "queued"
        assert (await user.get("/v1/threads/t1/runs/r2"))["status"] == "queued"
        await socket.ok("cancel", thread_id="t1", run_id="r1")
        assert text_of(await socket.ended("t1", "r2")) == "next"


async def test_on_busy_reject_is_refused_with_thread_busy(user: User) -> None:
    async with user.connect() as socket:
        assert (await start_slow(socket, "t1", "r1", on_busy="reject"))["status"] == "running"
        error = await socket.refused("run", agent="echo", text="x", thread_id="t1", run_id="r2", on_busy="reject")
        assert (error["code"], error["retryable"], error["definite"]) == ("thread_busy", True, True)
        await socket.ok("cancel", thread_id="t1")
        await socket.ended("t1", "r1")
        # It was refused, so its id is free.
        assert text_of(await socket.run("now", thread_id="t1", run_id="r2", on_busy="reject")) == "now"


async def test_on_busy_interrupt_cancels_the_running_and_all_queued_runs_first(user: User) -> None:
    async with user.connect() as socket:
        await start_slow(socket, "t1", "r1")
        await start_slow(socket, "t1", "r2")
        await start_slow(socket, "t1", "r3")
        events = await socket.run("me first", thread_id="t1", run_id="r4", on_busy="interrupt")
        assert text_of(events) == "me first"
        order = list(dict.fromkeys(frame["run_id"] for frame in socket.events("t1")))
        assert order == ["r1", "r2", "r3", "r4"]
        for run_id in order[:3]:
            run = socket.events("t1", run_id)
            assert kinds(run)[0] == "RUN_STARTED"
            assert outcome(run) == "cancelled"
        assert seqs(socket.events("t1")) == list(range(1, len(socket.events("t1")) + 1))


async def test_a_user_has_two_running_runs_and_sixteen_waiting_ones(user: User) -> None:
    async with user.connect() as socket:
        limits = (await socket.welcome())["limits"]
        running, queued = limits["max_running"], limits["max_queued"]
        # In two threads, because a socket follows only so many.
        for number in range(running + queued):
            reply = await start_slow(socket, f"t{number % 3}", f"r{number}")
            assert reply["status"] == ("running" if number < running else "queued")
        error = await socket.refused("run", agent="echo", text="x", thread_id="t0")
        assert (error["code"], error["retryable"], error["definite"]) == ("quota_exceeded", True, True)
        assert error["retry_after"] > 0
        for number in range(3):
            await socket.ok("cancel", thread_id=f"t{number}")
        for number in range(running + queued):
            assert outcome(await socket.ended(f"t{number % 3}", f"r{number}")) == "cancelled"
        assert text_of(await socket.run("again", thread_id="t0")) == "again"


async def test_a_run_with_on_disconnect_cancel_ends_with_its_socket(user: User) -> None:
    async with user.connect() as watcher:
        async with user.connect() as socket:
            await start_slow(socket, "t1", "r1", on_disconnect="cancel")
            await start_slow(socket, "t1", "r2", on_disconnect="cancel")
            await watcher.ok("attach", thread_id="t1", after={"seq": 0})
            await watcher.event("RUN_STARTED", "t1", "r1")
        assert outcome(await watcher.ended("t1", "r1")) == "cancelled"
        assert outcome(await watcher.ended("t1", "r2")) == "cancelled"


async def test_on_disconnect_cancel_also_counts_when_the_socket_is_cut(user: User) -> None:
    async with user.connect() as watcher, user.connect() as socket:
        await start_slow(socket, "t1", "r1", on_disconnect="cancel")
        await watcher.ok("attach", thread_id="t1", after={"seq": 0})
        socket.connection.transport.abort()
        assert outcome(await watcher.ended("t1", "r1")) == "cancelled"


async def test_a_run_goes_on_when_its_client_leaves(user: User) -> None:
    text = "a long story " * 20
    given = {"messages": [{"id": "m", "role": "user", "content": text}], "forwardedProps": {"delay_ms": 2}}
    async with user.connect() as socket:
        await socket.ok("run", agent="echo", input=given, thread_id="t1", run_id="r1")
        await socket.event("TEXT_MESSAGE_CONTENT", "t1")
    async with user.connect() as socket:
        await socket.ok("attach", thread_id="t1", after={"seq": 0})
        assert text_of(await socket.ended("t1", "r1")) == text


async def test_echo_waits_before_each_delta(user: User) -> None:
    given = {"messages": [{"id": "m", "role": "user", "content": "x" * 8 * 5}], "forwardedProps": {"delay_ms": 20}}
    async with user.connect() as socket:
        await socket.ok("run", agent="echo", input=given, thread_id="t1", run_id="r1")
        await socket.ended("t1", "r1")
    row = await user.get("/v1/threads/t1/runs/r1")
    started, finished = (datetime.fromisoformat(row[field]) for field in ("started_at", "finished_at"))
    assert (finished - started).total_seconds() >= 5 * 0.020


@pytest.mark.parametrize("delay", [-1, 1001, "5", True, None])
async def test_echo_refuses_another_delay(user: User, delay: Any) -> None:
    given = {"messages": [{"id": "m", "role": "user", "content": "x"}], "forwardedProps": {"delay_ms": delay}}
    async with user.connect() as socket:
        reply = await socket.ok("run", agent="echo", input=given)
        assert outcome(await socket.ended(reply["thread_id"], reply["run_id"])) == "bad_request"


async def test_an_agents_fault_ends_the_run_with_agent_error_and_shows_no_traceback(user: User) -> None:
    async with user.connect() as socket:
        reply = await socket.script({"do": "say", "text": "So far so"}, {"do": "error", "message": "a secret fault"})
        events = await socket.ended(reply["thread_id"], reply["run_id"])
    assert outcome(events) == "agent_error"
    assert "TEXT_MESSAGE_END" in kinds(events)
    assert "secret" not in json.dumps(events[1:])
    assert "Traceback" not in json.dumps(events)


async def test_an_agents_error_with_a_code_ends_the_run_with_it(user: User) -> None:
    async with user.connect() as socket:
        reply = await socket.script({"do": "error", "code": "upstream_unavailable", "message": "the search is down"})
        events = await socket.ended(reply["thread_id"], reply["run_id"])
    assert events[-1]["event"] == {"type": "RUN_ERROR", "message": "the search is down", "code": "upstream_unavailable"}
