"""docs/protocol.md, WebSocket: `attach` and `detach`, cursors, gaps, deleted threads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.gateway.transports import MAX_ATTACHED
from tests.gateway.users import User, program
from tests.wsclient import Frame, WsClient, text_of


async def history(user: User, *texts: str, thread_id: str = "t1") -> tuple[str, list[Frame]]:
    """Run echo with each text, as r1, r2 ...; the epoch and all events."""
    async with user.connect() as socket:
        for number, text in enumerate(texts, 1):
            await socket.run(text, thread_id=thread_id, run_id=f"r{number}")
        epoch = (await socket.ok("attach", thread_id=thread_id))["epoch"]
        return epoch, socket.events(thread_id)


async def replay(socket: WsClient, thread_id: str, head: int) -> list[Frame]:
    """Read on until the event `head`; all events of the thread."""
    await socket.wait(lambda frame: frame.get("thread_id") == thread_id and "event" in frame and frame["seq"] == head)
    return socket.events(thread_id)


async def test_attach_without_a_cursor_begins_now(user: User) -> None:
    epoch, events = await history(user, "one", "two")
    head = len(events)
    async with user.connect() as socket:
        reply = await socket.ok("attach", thread_id="t1")
        reply.pop("re")
        assert reply == {"ok": True, "thread_id": "t1", "epoch": epoch, "seq": head, "head": head, "gap": False}
        await socket.run("three", thread_id="t1")
        assert socket.events("t1")[0]["seq"] == head + 1


async def test_attach_after_seq_0_replays_everything_without_an_epoch(user: User) -> None:
    epoch, events = await history(user, "one", "two")
    async with user.connect() as socket:
        reply = await socket.ok("attach", thread_id="t1", after={"seq": 0})
        assert (reply["epoch"], reply["seq"], reply["head"], reply["gap"]) == (epoch, 0, len(events), False)
        assert await replay(socket, "t1", len(events)) == events


async def test_attach_after_any_event_gives_exactly_the_rest(user: User) -> None:
    epoch, events = await history(user, "one", "two")
    head = len(events)
    async with user.connect() as socket:
        for seq in range(head + 1):
            start = len(socket.frames)
            reply = await socket.ok("attach", thread_id="t1", after={"epoch": epoch, "seq": seq})
            assert (reply["seq"], reply["head"], reply["gap"]) == (seq, head, False)
            if seq < head:
                await socket.wait(lambda frame: "event" in frame and frame["seq"] == head, start)
            await socket.settle()
            assert socket.events("t1", start=start) == events[seq:]


async def test_the_reply_comes_before_the_replay(user: User) -> None:
    _, events = await history(user, "one")
    async with user.connect() as socket:
        await socket.raw('{"id":"a","op":"attach","thread_id":"t1","after":{"seq":0}}')
        await replay(socket, "t1", len(events))
        assert [frame.get("re") for frame in socket.frames[1:3]] == ["a", None]


async def test_a_replay_goes_on_live_without_a_seam(user: User) -> None:
    async with user.connect() as one:
        await one.script({"do": "deltas", "count": 300, "delay_ms": 1}, thread_id="t1", run_id="r1")
        await one.wait(lambda frame: "event" in frame and frame["seq"] == 50)
        for _ in range(5):
            async with user.connect() as other:
                await other.ok("attach", thread_id="t1", after={"seq": 0})
                await other.ended("t1", "r1")
                await one.ended("t1", "r1")
                assert other.events("t1") == one.events("t1")


async def test_whoever_comes_back_with_a_cursor_gets_exactly_the_rest(user: User) -> None:
    seen: list[Frame] = []
    async with user.connect() as socket:
        reply = await socket.script({"do": "deltas", "count": 400, "delay_ms": 1}, thread_id="t1", run_id="r1")
        epoch = reply["epoch"]
        await socket.event("TEXT_MESSAGE_CONTENT")
        seen += socket.events("t1")
        socket.connection.transport.abort()
    while seen[-1]["event"]["type"] != "RUN_FINISHED":
        async with user.connect() as socket:
            reply = await socket.ok("attach", thread_id="t1", after={"epoch": epoch, "seq": seen[-1]["seq"]})
            assert reply["gap"] is False
            target = min(seen[-1]["seq"] + 60, 404)
            await socket.wait(lambda frame: "event" in frame and frame["seq"] == target)  # noqa: B023 - awaited here
            seen += socket.events("t1")
            socket.connection.transport.abort()
    assert [frame["seq"] for frame in seen] == list(range(1, 405))
    assert len(text_of(seen)) == 400 * 8


async def test_every_subscriber_gets_the_same_events_in_the_same_order(user: User) -> None:
    async with user.connect() as one, user.connect() as two, user.connect() as three:
        await one.run("first", thread_id="t1", run_id="r1")
        await two.ok("attach", thread_id="t1", after={"seq": 0})
        await three.ok("attach", thread_id="t1", after={"seq": 0})
        await two.run("second " * 20, thread_id="t1", run_id="r2")
        for socket in (one, two, three):
            await socket.ended("t1", "r2")
        assert one.events("t1") == two.events("t1") == three.events("t1")


async def test_attach_to_an_unknown_thread_is_not_found(user: User) -> None:
    async with user.connect() as socket:
        for after in (None, {"seq": 0}, {"epoch": "e", "seq": 3}):
            error = await socket.refused("attach", thread_id="nowhere", after=after)
            assert (error["code"], error["retryable"], error["definite"]) == ("not_found", False, True)


async def test_another_users_thread_answers_as_one_that_never_existed(new_user: Callable[..., User]) -> None:
    owner, stranger = new_user(), new_user()
    await history(owner, "private", thread_id="shared-name")
    async with stranger.connect() as socket:
        for fields in ({}, {"after": {"seq": 0}}):
            theirs = await socket.refused("attach", thread_id="shared-name", **fields)
            nobodys = await socket.refused("attach", thread_id="never-was", **fields)
            assert theirs == nobodys
            assert theirs["code"] == "not_found"
        assert await socket.refused("cancel", thread_id="shared-name") == await socket.refused(
            "cancel", thread_id="never-was"
        )
        # The same name is a thread of their own.
        events = await socket.run("mine", thread_id="shared-name")
        assert (events[0]["seq"], text_of(events)) == (1, "mine")


async def test_attach_again_moves_the_cursor(user: User) -> None:
    epoch, events = await history(user, "one", "two")
    head = len(events)
    async with user.connect() as socket:
        await socket.ok("attach", thread_id="t1", after={"seq": 0})
        await replay(socket, "t1", head)
        start = len(socket.frames)
        await socket.ok("attach", thread_id="t1", after={"epoch": epoch, "seq": head - 2})
        await socket.run("three", thread_id="t1")
        seqs = [frame["seq"] for frame in socket.events("t1", start=start)]
        assert seqs == list(range(head - 1, head + len(seqs) - 1))


async def test_one_subscription_a_thread_however_often_one_attaches(user: User) -> None:
    await history(user, "one")
    async with user.connect() as socket:
        for _ in range(10):
            await socket.ok("attach", thread_id="t1")
        await socket.run("two", thread_id="t1")
        seqs = [frame["seq"] for frame in socket.events("t1")]
        assert len(seqs) == len(set(seqs))


async def test_a_socket_follows_so_many_threads_as_welcome_says(user: User) -> None:
    for number in range(MAX_ATTACHED + 1):
        await history(user, "x", thread_id=f"t{number}")
    async with user.connect() as socket:
        assert (await socket.welcome())["limits"]["max_attached_threads"] == MAX_ATTACHED
        for number in range(MAX_ATTACHED):
            await socket.ok("attach", thread_id=f"t{number}")
        error = await socket.refused("attach", thread_id=f"t{MAX_ATTACHED}")
        assert (error["code"], error["definite"]) == ("quota_exceeded", True)
        assert (await socket.refused("run", agent="echo", text="x"))["code"] == "quota_exceeded"
        await socket.ok("attach", thread_id="t0")  # it is one of them already
        await socket.ok("run", agent="echo", text="x", thread_id="t0")
        await socket.ok("detach", thread_id="t1")
        await socket.ok("attach", thread_id=f"t{MAX_ATTACHED}")


async def test_after_detach_no_event_of_the_thread_comes(user: User) -> None:
    await history(user, "one")
    async with user.connect() as socket, user.connect() as other:
        await socket.ok("attach", thread_id="t1")
        reply = await socket.ok("detach", thread_id="t1")
        assert sorted(reply) == ["ok", "re"]
        start = len(socket.frames)
        await other.run("two", thread_id="t1")
        await socket.settle()
        assert socket.events("t1", start=start) == []
        await socket.ok("attach", thread_id="t1")
        await socket.run("three", thread_id="t1")


async def test_detach_in_the_middle_of_a_run_stops_its_events_and_not_the_run(user: User) -> None:
    async with user.connect() as socket, user.connect() as other:
        await socket.script({"do": "deltas", "count": 200, "delay_ms": 1}, thread_id="t1", run_id="r1")
        await socket.event("TEXT_MESSAGE_CONTENT")
        await socket.ok("detach", thread_id="t1")
        start = len(socket.frames)
        await other.ok("attach", thread_id="t1", after={"seq": 0})
        await other.ended("t1", "r1")
        await socket.settle()
        assert socket.events(start=start) == []


async def test_detach_of_a_thread_that_is_not_attached_is_harmless(user: User) -> None:
    async with user.connect() as socket:
        await socket.ok("detach", thread_id="nowhere")


@pytest.mark.parametrize("case", ["another epoch", "above the head", "both", "another epoch from the start"])
async def test_a_cursor_that_fits_no_event_gets_a_gap_and_the_history(user: User, case: str) -> None:
    epoch, events = await history(user, "one", "two")
    head = len(events)
    after = {
        "another epoch": {"epoch": "other", "seq": 1},
        "above the head": {"epoch": epoch, "seq": head + 1},
        "both": {"epoch": "other", "seq": 10**6},
        "another epoch from the start": {"epoch": "other", "seq": 0},
    }[case]
    async with user.connect() as socket:
        reply = await socket.ok("attach", thread_id="t1", after=after)
        assert (reply["gap"], reply["epoch"], reply["head"]) == (True, epoch, head)
        assert reply["seq"] <= head
        frame = await socket.event("MESSAGES_SNAPSHOT")
        assert frame == socket.events()[0]
        assert (frame["thread_id"], frame["run_id"], frame["seq"]) == ("t1", None, reply["seq"])
        messages = frame["event"]["messages"]
        assert messages == (await user.get("/v1/threads/t1/messages"))["messages"]
        assert [message["content"] for message in messages] == ["one", "one", "two", "two"]
        await socket.run("three", thread_id="t1")
        seqs = [frame["seq"] for frame in socket.events("t1")[1:]]
        assert seqs == list(range(reply["seq"] + 1, reply["seq"] + 1 + len(seqs)))


async def test_the_history_of_a_gap_holds_the_open_message_and_events_go_on_with_it(user: User) -> None:
    async with user.connect() as socket, user.connect() as other:
        await socket.script({"do": "deltas", "count": 300, "delay_ms": 1, "fill": "abc"}, thread_id="t1", run_id="r1")
        await socket.wait(lambda frame: "event" in frame and frame["seq"] == 30)
        reply = await other.ok("attach", thread_id="t1", after={"epoch": "other", "seq": 7})
        snapshot = (await other.event("MESSAGES_SNAPSHOT"))["event"]["messages"]
        await other.ended("t1", "r1")
        await socket.ended("t1", "r1")
        rest = other.events("t1")[1:]
        assert rest == socket.events("t1")[reply["seq"] :]
        open_text = "".join(message["content"] for message in snapshot if message["role"] == "assistant")
        assert open_text
        assert open_text + text_of(rest) == text_of(socket.events("t1"))


async def test_a_deleted_thread_ends_its_subscriptions(user: User) -> None:
    epoch, _ = await history(user, "one")
    async with user.connect() as socket, user.connect() as other:
        await socket.ok("attach", thread_id="t1")
        await other.ok("run", agent="scripted", text=program({"do": "sleep", "ms": 60_000}), thread_id="t1")
        await socket.event("RUN_STARTED")
        assert (await user.http.delete("/v1/threads/t1")).status_code == 204
        for follower in (socket, other):
            frame = await follower.wait(lambda frame: frame.get("type") == "detached")
            assert frame == {"type": "detached", "thread_id": "t1", "reason": "deleted"}
            start = follower.frames.index(frame)
            await follower.settle()
            assert follower.events(start=start) == []
            assert (await follower.refused("attach", thread_id="t1"))["code"] == "not_found"
            assert (await follower.refused("cancel", thread_id="t1"))["code"] == "not_found"
        # The name is free again, for a new log.
        reply = await socket.ok("run", agent="echo", text="new", thread_id="t1", run_id="r1")
        assert reply["epoch"] != epoch
        events = await socket.ended("t1", "r1")
        assert (events[0]["seq"], text_of(events)) == (1, "new")
        # A cursor into the old log has a gap in the new one.
        assert (await other.ok("attach", thread_id="t1", after={"epoch": epoch, "seq": 1}))["gap"] is True


async def test_whoever_deletes_frees_the_places_of_the_threads_runs(user: User) -> None:
    slow = program({"do": "sleep", "ms": 60_000})
    async with user.connect() as socket:
        for number in range(5):
            await socket.ok("run", agent="scripted", text=slow, thread_id="t1", run_id=f"r{number}")
        await socket.ok("run", agent="scripted", text=slow, thread_id="t2")
        assert (await user.http.delete("/v1/threads/t1")).status_code == 204
        assert text_of(await socket.run("free", thread_id="t3")) == "free"
