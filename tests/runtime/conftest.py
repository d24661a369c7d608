from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from goldenpath.runtime.interfaces import LogStore
from tests.runtime.logs import LiveRun, Logs
from tests.runtime.runs import Runs
from tests.runtime.stagehand import Stagehand
from tests.runtime.stores.opened import KINDS, opened_log


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LogStore]:
    """Each log store in turn."""
    async with opened_log(request.param, tmp_path) as found:
        yield found


@pytest.fixture
async def logs() -> AsyncIterator[Logs]:
    """An event log in memory that runs."""
    async with Logs().running() as running:
        yield running


@pytest.fixture
async def live(logs: Logs) -> LiveRun:
    """A run in it that has begun."""
    accepted = await logs.accept()
    accepted.begin()
    return accepted


@pytest.fixture
def hand(runs: Runs) -> Iterator[Stagehand]:
    """Agents of the `runs` that a test file has."""
    hand = Stagehand(runs)
    yield hand
    for run_id in hand.waiting:  # a test that failed may have left agents that obey nobody
        hand.tell(run_id)
