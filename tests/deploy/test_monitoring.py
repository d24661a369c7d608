"""The alert rules and the dashboard in deploy/ name metrics that there are, and fire where they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from goldenpath.runtime import alerts
from tests.serverprocess import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/goldenpath.json"
PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="module")
def shown(server: ServerProcess) -> str:
    """What a server shows at /metrics."""
    return httpx.get(f"{server.url}/metrics", trust_env=False).text


def promtool(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None, "make test installs it: apt-get install prometheus"
    return subprocess.run(
        [PROMTOOL, *arguments], input=given, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT
    )


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=["rules", "dashboard"])
def test_every_metric_that_is_named_is_one_of_the_servers(path: Path, shown: str) -> None:
    samples = {sample.name for family in text_string_to_metric_families(shown) for sample in family.samples}
    named = set(re.findall(r"\bgoldenpath_[a-z0-9_]+", path.read_text()))
    assert len(named) > 10
    assert named - samples == set()


def test_every_figure_of_the_dashboard_can_be_narrowed_to_one_server() -> None:
    expressions = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    assert len(expressions) > 30
    for expression in expressions:
        names = re.findall(r"goldenpath_\w+", expression)
        assert expression.count('{instance=~"$instance"}') == len(names) > 0


def test_no_two_panels_lie_on_each_other() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells
        cells |= taken
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_prometheus_accepts_rules_and_configuration() -> None:
    for arguments in (("check", "rules", str(RULES)), ("check", "config", "deploy/prometheus/prometheus.yml")):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_fire_where_they_should_and_not_just_below() -> None:
    done = promtool("test", "rules", "tests/deploy/alerts.test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_has_nothing_to_say_against_the_metrics(shown: str) -> None:
    done = promtool("check", "metrics", given=shown)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_server_alerts_of_by_itself_prometheus_alerts_of_by_the_same_name() -> None:
    defaults = tomllib.loads((Path(alerts.__file__).parent / "rules.toml").read_text())["rules"]
    rules = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    assert defaults.keys() - rules == set()
