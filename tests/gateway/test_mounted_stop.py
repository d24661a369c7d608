"""The stop of a server that Goldenpath is mounted in: streams end as they do under `goldenpath serve`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gateway.transports import TRANSPORTS, faults, make_site
from tests.gateway.users import User, program, run_input
from tests.serverprocess import ServerProcess

Mount = Callable[..., ServerProcess]
RUN = "/v1/agents/scripted/run"


@pytest.fixture(params=TRANSPORTS[1:], ids=lambda host: host.name)
def mount(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mount]:
    """Starts a server of each kind that an app can be mounted in."""
    sites: list[ServerProcess] = []

    def start(**env: str) -> ServerProcess:
        sites.append(make_site(request.param, tmp_path / "data", **env))
        return sites[-1].start()

    yield start
    for site in sites:
        site.kill()
        assert not faults(site), site.log()


async def test_the_stream_of_a_run_goes_on_to_the_run_s_end(mount: Mount) -> None:
    site = mount()
    user = User(site)
    body = run_input("t1", "r1", program({"do": "deltas", "count": 10, "delay_ms": 50}))
    async with user.stream("POST", RUN, json=body) as stream:
        await stream.until("TEXT_MESSAGE_CONTENT")
        site.signal(signal.SIGTERM)
        assert (await stream.rest())[-1].type == "RUN_FINISHED"
    site.wait()
    await user.http.aclose()


async def test_the_stream_of_a_run_that_the_drain_cuts_says_so(mount: Mount) -> None:
    site = mount(GOLDENPATH_DRAIN_TIMEOUT="0.2")
    user = User(site)
    body = run_input("t1", "r1", program({"do": "say", "text": "so far"}, {"do": "sleep", "ms": 600_000}))
    async with user.stream("POST", RUN, json=body) as stream:
        await stream.until("TEXT_MESSAGE_END")
        site.signal(signal.SIGTERM)
        last = (await stream.rest())[-1]
        assert (last.type, last.data["code"]) == ("RUN_ERROR", "run_interrupted")
    site.wait()
    await user.http.aclose()


async def test_the_stream_of_a_thread_ends_and_does_not_hold_the_stop(mount: Mount) -> None:
    site = mount()
    user = User(site)
    await user.run("t1", "r1")
    async with user.stream("GET", "/v1/threads/t1/events") as stream, asyncio.timeout(20):
        site.signal(signal.SIGTERM)
        assert await stream.rest() == []
    site.wait()
    await user.http.aclose()
