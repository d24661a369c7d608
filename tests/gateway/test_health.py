"""What /health and /metrics say of a real server, however it is served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import InvalidStatus

from tests.gateway.users import User
from tests.wsclient import connected


async def health(user: User, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The first answer that is wanted: it may be of a moment ago."""
    async with asyncio.timeout(20):
        while not wanted(found := await user.get("/health")):
            await asyncio.sleep(0.02)
    return dict(found)


async def test_connections_and_runs_are_seen_in_their_blocks(user: User) -> None:
    async with user.connect() as socket:
        await socket.welcome()
    await user.run("t", "r1")
    found = await health(user, lambda found: found["run_performance"]["p95_duration_ms"] is not None)
    sockets, factory = found["websocket_performance"], found["factory_performance"]
    assert sorted(sockets) == [
        "avg_connection_time_ms",
        "environment",
        "p95_connection_time_ms",
        "timeout_failure_rate",
    ]
    assert 0 < sockets["avg_connection_time_ms"] < 20_000
    assert 0 < sockets["p95_connection_time_ms"] < 20_000
    assert sockets["timeout_failure_rate"] == 0.0
    assert sorted(factory) == ["avg_creation_time_ms", "success_rate", "timeout_failures_1h"]
    assert 0 <= factory["avg_creation_time_ms"] < 20_000
    assert factory["success_rate"] == 1.0
    assert found["run_performance"]["p50_first_token_ms"] > 0
    assert found["database_performance"]["avg_commit_ms"] >= 0
    assert found["database_performance"]["healthy"] is True
    assert found["isolation"] == {"violations": 0}


async def test_events_that_reach_their_readers_count_as_delivered(user: User) -> None:
    async with user.connect() as socket:
        await socket.welcome()
        await user.run("t", "r1")
    found = await health(user, lambda found: found["delivery"]["event_delivery_rate"] is not None)
    assert found["delivery"]["event_delivery_rate"] > 0.9  # other tests cut slow readers


async def refusals(user: User) -> float:
    """How many upgrades were refused."""
    text = (await user.http.get("/metrics")).text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == "goldenpath_connect_refused_total")


async def test_an_upgrade_without_a_token_is_a_refusal_and_no_failure(user: User) -> None:
    before = await refusals(user)
    with pytest.raises(InvalidStatus):
        async with connected(user.server.ws_url, "nonsense"):
            pass
    async with asyncio.timeout(20):
        while await refusals(user) <= before:
            await asyncio.sleep(0.02)
