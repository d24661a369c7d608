from __future__ import annotations

from pathlib import Path

import httpx
import msgspec
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from goldenpath import App, Run, Settings
from goldenpath.runtime.admission import AdmissionStatistics
from goldenpath.runtime.engine import EngineStatistics
from goldenpath.runtime.event_log import EventLogStatistics
from goldenpath.runtime.gateway.peers import PeerStatistics
from goldenpath.runtime.metrics import GAUGES, registry_of
from tests.runtime.agents.stage import ALICE, Stage


class Record(msgspec.Struct, frozen=True):
    connected: int
    accepted: int
    create_seconds_total: float
    healthy: bool


def scraped(text: bytes) -> dict[str, tuple[str, float]]:
    """Name of each sample, its kind and value."""
    return {
        sample.name: (family.type, sample.value)
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_every_field_is_a_metric_read_when_it_is_asked_for() -> None:
    records = [Record(3, 10, 1.5, True), Record(2, 11, 1.75, False)]
    registry = registry_of({"peers": lambda: records.pop(0)})
    assert scraped(generate_latest(registry)) == {
        "goldenpath_peers_connected": ("gauge", 3.0),
        "goldenpath_peers_accepted_total": ("counter", 10.0),
        "goldenpath_peers_create_seconds_total": ("counter", 1.5),
        "goldenpath_peers_healthy": ("gauge", 1.0),
    }
    assert scraped(generate_latest(registry))["goldenpath_peers_healthy"] == ("gauge", 0.0)


def test_two_servers_of_one_process_have_figures_of_their_own() -> None:
    one = registry_of({"peers": lambda: Record(1, 1, 1.0, True)})
    other = registry_of({"peers": lambda: Record(2, 2, 2.0, True)})
    assert scraped(generate_latest(one))["goldenpath_peers_connected"][1] == 1.0
    assert scraped(generate_latest(other))["goldenpath_peers_connected"][1] == 2.0
    assert not [family for family in REGISTRY.collect() if family.name.startswith("goldenpath")]


def test_what_goes_up_and_down_is_a_gauge() -> None:
    growing = {
        field
        for record in (AdmissionStatistics, EngineStatistics, EventLogStatistics, PeerStatistics)
        for field in record.__struct_fields__
        if field not in GAUGES
    }
    assert growing == {
        "accepted", "admitted", "cleaned", "commits", "create_seconds_total", "created", "events", "failures",
        "refused",
    }  # fmt: skip


async def test_the_figures_of_a_server_are_plain_and_name_nobody(tmp_path: Path) -> None:
    app = App(Settings(environment="testing", data_dir=str(tmp_path)))

    @app.agent("hello")
    async def hello(run: Run) -> None:
        await run.text("hi")

    async with app.lifespan():
        server = app.build()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            before = scraped((await client.get("/metrics")).content)
            await Stage(app, server).play("hello", "hey", thread_id="private-thread")
            text = (await client.get("/metrics")).content
    found = scraped(text)
    assert found.keys() == before.keys()
    assert found["goldenpath_engines_created_total"] == ("counter", 1.0)
    assert found["goldenpath_log_events_total"] == ("counter", 5.0)
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            assert sample.labels == {}
            if family.type == "counter":
                assert sample.value >= before[sample.name][1]
    assert ALICE.user_id.encode() not in text
    assert b"private-thread" not in text
