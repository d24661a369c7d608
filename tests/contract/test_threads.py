"""One thread with many clients: busy threads, repeated ids, cursors, tabs, deletion."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable

import pytest

from tests.contract.conftest import Join
from tests.contract.history import Accepted, History
from tests.contract.judge import judge
from tests.contract.witness import Json, Link, LinkLostError, Witness, end_of
from tests.serverprocess import ServerProcess

# --- a busy thread ----------------------------------------------------------------------------------------------------


async def test_a_busy_thread_makes_a_run_wait_refuses_it_or_gives_way(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "busy")
    async with user.link() as link:
        assert (await link.run("echo", "free", "t", "free", on_busy="reject"))["status"] == "running"
        await link.ended("t", "free")
        await link.run("never-ends", "go", "t", "first")
        await link.saw("TEXT_MESSAGE_CONTENT", "t", "first")
        assert (await link.run("echo", "waits", "t", "waits"))["status"] == "queued"
        error = await link.refused("run", agent="echo", text="no", thread_id="t", run_id="no", on_busy="reject")
        assert (error["code"], error["retryable"], error["definite"]) == ("thread_busy", True, True)
        assert (await user.get("/v1/threads/t/runs/no")).status_code == 404
        # A repeat is a repeat, whatever it says about busy threads.
        for on_busy in ("reject", "interrupt"):
            assert (await link.run("echo", "again", "t", "first", on_busy=on_busy))["status"] == "running"
        await link.run("echo", "instead", "t", "instead", on_busy="interrupt")
        ends = {run_id: await link.end("t", run_id) for run_id in ("first", "waits", "instead")}
        assert ends == {"first": "cancelled", "waits": "cancelled", "instead": "success"}
        order = [run for _, _, run, event in link.events if event["type"] == "RUN_STARTED"]
        assert order == ["free", "first", "waits", "instead"]
        # The id that was refused is free.
        assert await link.play("echo", "now", "t", "no", on_busy="reject") == "success"
    await user.audit(["t"])
    judge(history).require(ended_once=5, status=5, messages=1)


async def test_runs_of_one_thread_never_interleave_whoever_sends_them(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "crowd", tier="enterprise")
    links = [await user.connect() for _ in range(8)]
    dice = random.Random("crowd")

    async def send(link: Link, name: int) -> None:
        for number in range(6):
            steps: list[Json] = [
                {"do": "parallel", "branches": [[{"do": "deltas", "count": 10, "delay_ms": [0, 4]}]] * 3},
                {"do": "tool", "name": "search", "ms": [0, 5]},
            ]
            on_busy = dice.choice(["enqueue", "enqueue", "interrupt"])
            await link.script("t", f"r{name}.{number}", *steps, on_busy=on_busy)
            if dice.random() < 0.2:
                await link.ok("cancel", thread_id="t", run_id=f"r{name}.{number}")
            await link.ended("t", f"r{name}.{number}")

    async with asyncio.TaskGroup() as group:
        for number, link in enumerate(links):
            group.create_task(send(link, number))
    await user.audit(["t"])
    ends = {end_of(event) for event in user.runs.values()}
    assert ends == {"success", "cancelled"}
    judge(history).require(ended_once=48, contiguous=1, unchanged=48 * 9 * 4, status=40)


# --- repeated ids -----------------------------------------------------------------------------------------------------


async def test_a_run_id_is_accepted_once_however_many_send_it_at_once(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "repeater")
    links = [await user.connect() for _ in range(8)]
    for number in range(15):
        thread_id, run_id = f"t{number % 5}", f"r{number}"
        text = json.dumps({"steps": [{"do": "deltas", "count": 5, "delay_ms": 2}]})
        over_ws = [link.run("scripted", text, thread_id, run_id) for link in links]
        over_sse = [user.stream_run(thread_id, run_id, text, agent="scripted") for _ in range(3)]
        replies: list[Json] = await asyncio.gather(*over_ws)
        streams: list[list[Json]] = await asyncio.gather(*over_sse)
        assert len({(reply["epoch"], reply["run_id"]) for reply in replies}) == 1
        events = None
        for link in links:
            await link.ended(thread_id, run_id)
            await link.until(lambda link=link, t=thread_id, r=run_id: len(link.of_run(t, r)) == 9)
            assert events in (None, link.of_run(thread_id, run_id))
            events = link.of_run(thread_id, run_id)
        assert all(stream == events for stream in streams)
    await user.audit(f"t{number}" for number in range(5))
    accepted = [record for record in history.records if isinstance(record, Accepted)]
    assert len(accepted) == 15 * 11
    judge(history).require(started_once=15, ended_once=15, unchanged=15 * 9 * 11, messages=5)


async def test_a_repeat_changes_nothing_of_a_run(site: ServerProcess, join: Join, history: History) -> None:
    user = await join(site, "again")
    async with user.link() as link, user.link() as second:
        first = await link.run("echo", "the first text", "t", "r")
        await link.ended("t", "r")
        # Another agent, even one that does not exist, another text, other policies.
        for agent in ("never-ends", "nobody"):
            again = await second.run(agent, "another text", "t", "r", on_busy="reject", on_disconnect="cancel")
            assert (again["epoch"], again["seq"], again["status"]) == (first["epoch"], 0, "finished")
            await second.until(lambda: len(second.of_run("t", "r")) == len(link.of_run("t", "r")))
            assert second.of_run("t", "r") == link.of_run("t", "r")
            await second.ok("detach", thread_id="t")
            second.events.clear()
        assert "another text" not in json.dumps(await user.messages("t"))
        # In another thread the same id is another run.
        await link.play("echo", "elsewhere", "u", "r")
    await user.audit(["t", "u"])
    judge(history).require(ended_once=4, started_once=2)


# --- cursors ----------------------------------------------------------------------------------------------------------


async def test_a_run_in_a_followed_thread_keeps_the_cursor_and_attach_moves_it(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "mover")
    async with user.link() as link:
        reply = await link.run("echo", "one", "t", "r1")
        await link.ended("t", "r1")
        head = user.cursors["t"][1]
        # Behind, on purpose: replay from 2 on while a run is started.
        asked = [
            link.post("attach", thread_id="t", after={"epoch": reply["epoch"], "seq": 2}),
            link.post("run", agent="echo", text="two", thread_id="t", run_id="r2"),
        ]
        link.events.clear()
        await link.send("\n".join(json.dumps(command) for command, _ in asked))
        for _, future in asked:
            assert (await future)["ok"]
        await link.ended("t", "r2")
        assert [seq for _, seq, _, _ in link.events] == list(range(3, 2 * head + 1))
        # From the start; from the head, which brings nothing; from now.
        link.events.clear()
        moved = await link.ok("attach", thread_id="t", after={"seq": 0})
        assert (moved["seq"], moved["head"], moved["gap"]) == (0, 2 * head, False)
        await link.until(lambda: len(link.events) == 2 * head)
        for after in ({"epoch": reply["epoch"], "seq": 2 * head}, None):
            link.events.clear()
            fields = {} if after is None else {"after": after}
            moved = await link.ok("attach", thread_id="t", **fields)
            assert (moved["seq"], moved["head"], moved["gap"]) == (2 * head, 2 * head, False)
            await link.ok("ping")
            assert link.events == []
        await link.ok("detach", thread_id="t")
        await link.ok("detach", thread_id="t")
        async with user.link() as second:
            await second.play("echo", "three", "t", "r3")
        await link.ok("ping")
        assert link.events == []
        await link.ok("attach", thread_id="t", after={"epoch": reply["epoch"], "seq": 2 * head})
        await link.until(lambda: len(link.events) == head)
    await user.audit(["t"])
    judge(history).require(resume=5, unchanged=6 * head)


async def test_two_tabs_see_the_same(site: ServerProcess, join: Join, history: History) -> None:
    user = await join(site, "tabs")
    async with user.link() as one, user.link() as two:
        await one.script("t", "r1", {"do": "deltas", "count": 50, "delay_ms": 3})
        await two.ok("attach", thread_id="t", after={"seq": 0})
        await two.run("echo", "from the other tab", "t", "r2")
        for link in (one, two):
            await link.ended("t", "r2")
            await link.until(lambda link=link: link.events[-1][2:3] == ("r2",))
        assert one.events == two.events
        # One leaves, the other goes on; a cancel in one shows in both.
        await one.run("never-ends", "go", "t", "r3")
        await two.saw("TEXT_MESSAGE_CONTENT", "t", "r3")
        await two.ok("cancel", thread_id="t")
        assert await one.end("t", "r3") == "cancelled"
        await one.script("t", "r4", {"do": "deltas", "count": 30, "delay_ms": 3})
        await two.saw("RUN_STARTED", "t", "r4")
        await one.close()
        assert await two.end("t", "r4") == "success"
    await user.audit(["t"])
    judge(history).require(ended_once=4, unchanged=250, messages=1)


# --- deletion ---------------------------------------------------------------------------------------------------------


async def test_a_deleted_thread_is_gone_and_its_name_is_a_new_log(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "remover")
    async with user.link() as one, user.link() as two:
        epochs = set()
        for _ in range(10):
            reply = await one.script("t", "r", {"do": "deltas", "count": 2000, "delay_ms": 1})
            epochs.add(reply["epoch"])
            await two.ok("attach", thread_id="t", after={"seq": 0})
            await two.saw("TEXT_MESSAGE_CONTENT", "t")
            follows = asyncio.Event()

            def note(_: Json, follows: asyncio.Event = follows) -> bool:
                follows.set()
                return False

            follower = asyncio.create_task(user.follow("t", (reply["epoch"], 0), None, note))
            await follows.wait()
            assert (await user.delete("t")).status_code == 204
            for path in ("", "/messages", "/events", "/runs/r"):
                assert (await user.get(f"/v1/threads/t{path}")).status_code == 404
            assert (await user.delete("t")).status_code == 404
            for link in (one, two):
                await link.until(lambda link=link: "t" not in link.subscriptions)
                assert link.notices[-1] == {"type": "detached", "thread_id": "t", "reason": "deleted"}
                assert (await link.refused("attach", thread_id="t"))["code"] == "not_found"
                assert (await link.refused("cancel", thread_id="t"))["code"] == "not_found"
                link.events.clear()
            await asyncio.wait_for(follower, 10)
            assert (await user.get("/v1/threads")).json()["threads"] == []
        assert len(epochs) == 10
        await one.play("echo", "the last", "t", "r")
        assert one.events[0][1] == 1
    await user.audit(["t"])
    judge(history).require(deleted=30, sequence=30)


async def test_a_name_that_is_used_while_it_is_deleted_is_one_log_or_the_other(
    site: ServerProcess, join: Join, history: History, long_run: bool
) -> None:
    user = await join(site, "hurried")
    rounds = 300 if long_run else 60

    async def use(number: int) -> None:
        async with user.link() as link:
            for again in range(rounds):
                reply = await link.call("run", agent="echo", text="hello", thread_id="t", run_id=f"r{number}.{again}")
                if reply["ok"]:
                    ended = ("t", f"r{number}.{again}")
                    await link.until(lambda e=ended: e in user.runs or "t" not in link.subscriptions)
                else:
                    assert reply["error"]["code"] in ("not_found", "conflict"), reply

    async def delete() -> None:
        for _ in range(rounds):
            answer = await user.delete("t")
            assert answer.status_code in (204, 404)
            await asyncio.sleep(0.002)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(use(number))
        group.create_task(delete())
    await user.delete("t")
    async with user.link() as link:
        reply = await link.run("echo", "after", "t", "after")
        assert reply["seq"] == 0
        await link.ended("t", "after")
    await user.audit(["t"])
    judge(history).require(deleted=rounds, contiguous=5)


async def test_a_deletion_outlives_a_kill(launch: Callable[..., ServerProcess], join: Join, history: History) -> None:
    server = launch()
    user = await join(server, "eraser")
    async with user.link() as link:
        await link.play("echo", user.marker, "gone", "r")
        await link.run("never-ends", user.marker, "going", "r")
        await link.run("echo", user.marker, "going", "waiting")
        await link.play("echo", "stays", "stays", "r")
        for thread_id in ("gone", "going"):
            assert (await user.delete(thread_id)).status_code == 204
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    assert [thread["thread_id"] for thread in (await user.get("/v1/threads")).json()["threads"]] == ["stays"]
    for thread_id in ("gone", "going"):
        assert (await user.get(f"/v1/threads/{thread_id}/messages")).status_code == 404
        async with user.link() as link:
            reply = await link.run("echo", "new", thread_id, "r")
            assert reply["seq"] == 0
            await link.ended(thread_id, "r")
        assert user.marker not in json.dumps(await user.messages(thread_id))
    await user.audit(["gone", "going", "stays"])
    judge(history).require(deleted=2, ended_once=4, kept=3)


# --- leaving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_run_goes_on_when_its_client_leaves(
    site: ServerProcess, join: Join, history: History, how: str
) -> None:
    user = await join(site, f"leaving-by-{how}")
    link = await user.connect()
    await link.script("t", "r", {"do": "deltas", "count": 50, "delay_ms": 5})
    await link.saw("TEXT_MESSAGE_CONTENT", "t")
    if how == "close":
        await link.close()
    else:
        link.abort()
        await link.closed()
        with pytest.raises(LinkLostError):
            await link.ok("ping")
    await _come_back(user)
    judge(history).require(ended_once=1, resume=1, messages=1)


async def _come_back(user: Witness) -> None:
    async with user.link() as link:
        epoch, seq = user.cursors["t"]
        await link.ok("attach", thread_id="t", after={"epoch": epoch, "seq": seq})
        assert await link.end("t", "r") == "success"
    await user.audit(["t"])
