"""Users against a real server, where what counts is what they do between their operations."""

from __future__ import annotations

import asyncio
from pathlib import Path

from goldenpath.lab.records import Closed
from goldenpath.lab.targets import TargetSpec
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
