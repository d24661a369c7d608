from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from goldenpath import App, Run, Settings
from goldenpath.clock import ManualClock
from goldenpath.histogram import Histogram
from goldenpath.runtime.gateway.probes import RECENT, Probes
from goldenpath.runtime.gateway.request import Request
from goldenpath.runtime.metrics import BOUNDS, cumulative, registry_of
from goldenpath.runtime.signals import Signals
from tests.runtime.agents.stage import ALICE, Stage


class Record(msgspec.Struct, frozen=True):
    connected: int
    accepted: int


class Health(msgspec.Struct, frozen=True):
    healthy: bool


def scraped(text: bytes) -> dict[str, tuple[str, float]]:
    """Name of each sample, its kind and value."""
    return {
        sample.name: (family.type, sample.value)
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_every_field_is_a_metric_read_when_it_is_asked_for() -> None:
    records = [Record(3, 10), Record(2, 11)]
    registry = registry_of({"connections": lambda: records.pop(0), "log": lambda: Health(True)}, Signals())
    assert {
        name: found
        for name, found in scraped(generate_latest(registry)).items()
        if name.startswith(("goldenpath_connections_", "goldenpath_log_"))
    } == {
        "goldenpath_connections_connected": ("gauge", 3.0),
        "goldenpath_connections_accepted_total": ("counter", 10.0),
        "goldenpath_log_healthy": ("gauge", 1.0),
    }
    assert scraped(generate_latest(registry))["goldenpath_connections_connected"] == ("gauge", 2.0)


async def test_figures_are_gathered_for_all_who_ask_within_a_moment() -> None:
    clock = ManualClock()
    server = App(Settings(environment="testing", database=":memory:"), clock=clock).build()
    records = [Record(3, 10), Record(2, 11)]
    registry = registry_of({"connections": lambda: records.pop(0)}, Signals())
    probes = Probes(
        server.gateway,
        registry,
        "1",
        startup=server.startup,
        breakers=server.breakers,
        degradation=server.degradation,
    )
    request = Request({"headers": [], "type": "http"}, asyncio.Event().wait, 1.0)  # type: ignore[arg-type]
    first = (await probes.metrics(request)).body
    clock.advance(RECENT * 0.9)
    assert (await probes.metrics(request)).body == first
    clock.advance(RECENT * 0.2)
    assert scraped((await probes.metrics(request)).body)["goldenpath_connections_connected"][1] == 2.0


def test_two_servers_of_one_process_have_figures_of_their_own() -> None:
    one = registry_of({"connections": lambda: Record(1, 1)}, Signals())
    other = registry_of({"connections": lambda: Record(2, 2)}, Signals())
    assert scraped(generate_latest(one))["goldenpath_connections_connected"][1] == 1.0
    assert scraped(generate_latest(other))["goldenpath_connections_connected"][1] == 2.0
    assert not [family for family in REGISTRY.collect() if family.name.startswith("goldenpath")]


def test_a_figure_of_no_known_kind_is_refused_rather_than_shown_as_a_counter() -> None:
    class New(msgspec.Struct, frozen=True):
        sleepers: int

    with pytest.raises(LookupError, match="goldenpath_connections_sleepers is neither a gauge nor a counter"):
        generate_latest(registry_of({"connections": lambda: New(1)}, Signals()))
    with pytest.raises(LookupError, match="goldenpath_beds_connected"):
        generate_latest(registry_of({"beds": lambda: Record(1, 1)}, Signals()))


async def test_the_figures_of_a_server_are_plain_and_name_nobody(tmp_path: Path) -> None:
    app = App(Settings(environment="testing", data_dir=str(tmp_path)))

    @app.agent("hello")
    async def hello(run: Run) -> None:
        await run.text("hi")

    async with app.lifespan():
        server = app.build()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            text = first = (await client.get("/metrics")).content
            before = scraped(first)
            await Stage(app, server).play("hello", "hey", thread_id="private-thread")
            async with asyncio.timeout(10):
                while text == first:  # for a moment it is the answer of before
                    text = (await client.get("/metrics")).content
    found = scraped(text)
    assert found.keys() == before.keys()
    assert found["goldenpath_engines_created_total"] == ("counter", 1.0)
    assert found["goldenpath_log_events_total"] == ("counter", 5.0)
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            assert sample.labels.keys() <= {"le"}
            if family.type == "counter":
                assert sample.value >= before[sample.name][1]
    assert ALICE.user_id.encode() not in text
    assert b"private-thread" not in text


def test_the_buckets_of_a_histogram_are_what_was_recorded_below_their_bounds() -> None:
    signals = Signals()
    for seconds in (0.0, 0.002, 0.3, 4.9, 7.0, 10_000.0):
        signals.connect.took.record(seconds, 0.0)
    text = generate_latest(registry_of({}, signals)).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = families["goldenpath_connect_seconds"].samples
    below = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
    assert len(below) == len(BOUNDS) + 1
    assert [below[bound] for bound in ("0.001", "0.0025", "0.25", "0.5", "5", "10", "600", "+Inf")] == [
        1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 5.0, 6.0,
    ]  # fmt: skip
    assert scraped(text.encode())["goldenpath_connect_seconds_count"][1] == 6.0
    assert scraped(text.encode())["goldenpath_connect_seconds_sum"][1] == pytest.approx(10_012.202)


@given(st.lists(st.floats(0, 1e4)))
def test_buckets_only_grow_and_hold_everything(values: list[float]) -> None:
    counts = [count for _, count in cumulative(Histogram(values))]
    assert counts == sorted(counts)
    assert counts[-1] == len(values)


def test_what_was_recorded_stays_in_the_metrics_when_the_windows_have_forgotten_it() -> None:
    signals = Signals()
    signals.connect.took.record(0.3, 0.0)
    signals.connect.timed_out.add(0.0)
    assert signals.read("connect_timeout_rate_1h", 4000.0) is None
    found = scraped(generate_latest(registry_of({}, signals)))
    assert found["goldenpath_connect_seconds_count"][1] == found["goldenpath_connect_timed_out_total"][1] == 1.0
