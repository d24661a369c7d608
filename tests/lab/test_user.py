"""Users against a real server, where what counts is what they do between their operations."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from goldenpath.lab.records import Closed, Invoke
from goldenpath.lab.targets import TargetSpec
from goldenpath.lab.workload import Iteration
from goldenpath.lab.workloads.asking import Asking
from tests.lab.targets.play import Bench, play
from tests.serverprocess import SIMULATION_KEY, ServerProcess

GOOD_FOR = 3.0


async def test_every_viewer_outlives_the_login_that_it_began_with(
    tmp_path: Path,
) -> None:
    """The server ends a connection with its token: without a refresh of its own, each of the two is closed."""
    server = ServerProcess(tmp_path / "data", GOLDENPATH_ACCESS_TOKEN_TTL=f"{GOOD_FOR:g}").start()

    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)
        await user.login()
        begun = asyncio.get_running_loop().time()
        await user.connect()
        tab = user.another_viewer(1)
        await tab.connect()
        while asyncio.get_running_loop().time() < begun + GOOD_FOR * 1.3:
            await user.ask("from the one", thread=user.thread("t"))
            await tab.ask("from the other", thread=tab.thread("t"))
        await tab.close()

    try:
        _, watch, records = await play(
            TargetSpec("goldenpath", {"url": server.url, "simulation_key": SIMULATION_KEY}), tmp_path, talk
        )
    finally:
        server.stop()
    assert {outcome for _, outcome, _ in watch.outcomes} == {"ok"}, watch.outcomes
    kinds = [kind for kind, _, _ in watch.outcomes]
    assert kinds.count("login") == 1 + kinds.count("refresh") / 2
    assert kinds.count("refresh") >= 2
    assert [record.ours for record in records if isinstance(record, Closed)] == [True, True]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TargetSpec]:
    running = ServerProcess(tmp_path / "data").start()
    yield TargetSpec("goldenpath", {"url": running.url, "simulation_key": SIMULATION_KEY})
    running.stop()


async def test_a_user_who_asked_enough_goes_and_begins_new_threads(server: TargetSpec, tmp_path: Path) -> None:
    workload = Asking(threads=2, questions=2)

    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)
        await workload.set_up(user)
        for turn in range(9):
            await workload.iterate(user, Iteration(turn, turn, 1))

    _, watch, records = await play(server, tmp_path, talk)
    assert {outcome for _, outcome, _ in watch.outcomes} == {"ok"}, watch.outcomes
    names = [record.thread.rsplit("-", 1)[0] for record in records if isinstance(record, Invoke) and record.thread]
    assert names == [f"ask-{sitting}-{thread}" for sitting in (0, 1) for thread in (0, 1, 0, 1)] + ["ask-2-0"]
    assert [record.ours for record in records if isinstance(record, Closed)] == [True] * 3


async def test_nobody_leaves_who_waits_for_an_answer(server: TargetSpec, tmp_path: Path) -> None:
    async def talk(bench: Bench) -> None:
        user = bench.make_user(0)
        await user.login()
        await user.connect()
        asking = asyncio.ensure_future(user.ask("a long answer " * 200, thread=user.thread("t")))
        await asyncio.sleep(0)
        user.leave()
        assert (await asking).outcome == "success"
        user.leave()
        assert not user.connected

    _, watch, _ = await play(server, tmp_path, talk)
    assert {outcome for _, outcome, _ in watch.outcomes} == {"ok"}, watch.outcomes
