"""Connections cut at any byte: every subscription goes on with exactly the rest."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from tests.contract.conftest import Join
from tests.contract.history import History, Opened
from tests.contract.judge import TERMINAL, judge
from tests.contract.proxy import CuttingProxy
from tests.contract.witness import LOST, Json, Link, LinkLostError, Witness
from tests.serverprocess import ServerProcess

USERS = 8
THREADS = ("t0", "t1")


def program(dice: random.Random) -> list[Json]:
    """A run of about a second: small deltas and large ones, slow ones and floods."""
    return [
        {"do": "deltas", "count": 60, "size": [1, 30], "delay_ms": [0, 10]},
        {
            "do": "tool",
            "name": "search",
            "args": {"q": "x" * dice.choice([1, 5000])},
            "result": "y" * 500,
            "ms": [0, 50],
        },
        {"do": "deltas", "count": dice.choice([5, 800]), "size": [1, 2000]},
        {"do": "reason", "text": "z" * 100, "delay_ms": [0, 20]},
    ]


async def test_after_every_cut_a_subscription_goes_on_with_exactly_the_rest(
    site: ServerProcess, join: Join, history: History, long_run: bool
) -> None:
    cuts_each = 25 if long_run else 5
    dice = random.Random("cuts")
    proxy = CuttingProxy(site.port, lambda: int(10 ** dice.uniform(1, 5.5)))
    users = [await join(site, f"cut{number}") for number in range(USERS)]
    async with proxy.listening(), asyncio.timeout(60 + 5 * cuts_each), asyncio.TaskGroup() as group:
        for number, user in enumerate(users):
            group.create_task(_live(user, f"ws://127.0.0.1:{proxy.port}/v1/ws", number, cuts_each))
    assert proxy.cuts >= USERS * cuts_each * 2 // 3
    for user in users:
        await user.audit(THREADS)
    resumed = [record for record in history.records if isinstance(record, Opened) and record.after and record.after[1]]
    assert len(resumed) >= USERS * cuts_each
    judge(history).require(
        resume=USERS * cuts_each, ended_once=USERS * 2, unchanged=USERS * 2000, messages=USERS * 2, kept=USERS * 2
    )


async def _live(user: Witness, url: str, seed: int, cuts: int) -> None:
    """Run after run in two threads until the connection was lost `cuts` times, by the proxy or by ourselves."""
    dice = random.Random(seed)
    commands: dict[str, Json] = {}
    lost = 0
    while True:
        try:
            link = await user.connect(url if lost < cuts else None)
        except (*LOST, LinkLostError):
            continue
        try:
            await _follow(user, link, dice, commands, more=lost < cuts)
        except LinkLostError:
            lost += 1
        else:
            return
        finally:
            await link.close()


async def _follow(user: Witness, link: Link, dice: random.Random, commands: dict[str, Json], *, more: bool) -> None:
    for thread_id, (epoch, seq) in list(user.cursors.items()):
        await link.ok("attach", thread_id=thread_id, after={"epoch": epoch, "seq": seq})
    while True:
        for thread_id in THREADS:
            command = commands.get(thread_id)
            if command is None or (more and (thread_id, command["run_id"]) in user.runs):
                number = 0 if command is None else int(command["run_id"][1:]) + 1
                command = {"steps": program(dice), "thread_id": thread_id, "run_id": f"r{number}"}
                commands[thread_id] = command
            if (thread_id, command["run_id"]) not in user.runs:
                await link.script(thread_id, command["run_id"], *command["steps"])
        if dice.random() < 0.1 and more:
            link.abort()
        ended = len(user.runs)
        waited = [(t, commands[t]["run_id"]) for t in THREADS if (t, commands[t]["run_id"]) not in user.runs]
        if not waited:
            return
        await link.until(lambda n=ended: len(user.runs) > n)  # type: ignore[misc]


async def test_an_event_stream_goes_on_with_exactly_the_rest(
    site: ServerProcess, join: Join, history: History, long_run: bool
) -> None:
    dice = random.Random("sse")
    user = await join(site, "sse")
    async with user.link() as link:
        reply = await link.script("t", "r1", {"do": "deltas", "count": 400, "size": [1, 50], "delay_ms": [0, 5]})
        position, events, streams = (reply["epoch"], reply["seq"]), list[Json](), 0
        while not events or events[-1]["type"] not in TERMINAL:
            left = dice.randrange(1, 20 if long_run else 60)
            bound = [left]

            def enough(event: Json, bound: list[int] = bound) -> bool:
                bound[0] -= 1
                return bound[0] == 0 or event["type"] in TERMINAL

            found = await user.follow("t", position, "r1", enough)
            events += found
            position = (position[0], position[1] + len(found))
            streams += 1
        await link.ended("t", "r1")
        assert [event for event in events if event["type"] != "RUN_STARTED"] == link.of_run("t", "r1")[1:]
    await user.audit(["t"])
    judge(history).require(resume=streams, unchanged=1200)


async def test_a_run_over_sse_goes_on_when_its_client_leaves_and_is_replayed_whole(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "leaver")
    text = json.dumps({"steps": [{"do": "deltas", "count": 50, "delay_ms": 10}]})
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await user.stream_run("t", "r1", text, agent="scripted")
    events = await user.stream_run("t", "r1", text, agent="scripted")
    assert (events[0]["type"], events[-1]["type"]) == ("RUN_STARTED", "RUN_FINISHED")
    assert len(events) == 54
    await user.audit(["t"])
    judge(history).require(unchanged=108, ended_once=2, messages=1)
