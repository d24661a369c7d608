"""What Locust and k6 say is read as they write it, and what they do not say is no figure."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from bench.benchmark import Options
from bench.honesty import truth
from bench.peers import tools
from bench.peers.replay import template

from bench import honesty, lab_peers, workload

HEAD = (
    "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min Response Time,"
    "Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%\n"
)


def test_the_truth_of_the_frozen_server() -> None:
    figures = truth(25)
    assert figures["p95_ms"] == pytest.approx(750)
    assert figures["p99_ms"] == pytest.approx(950)
    assert (figures["max_ms"], figures["answered"]) == (1000, 12_500)


def test_locusts_statistics_of_all_requests(tmp_path: Path) -> None:
    out = tmp_path / "figures"
    (tmp_path / "figures_stats.csv").write_text(
        HEAD
        + "WS,run,100,1,3,40.5,1.2,996.0,700,50.0,0,3,4,5,6,9,85,500,990,996,996,996\n"
        + ",Aggregated,110,2,3,40.5,1.2,997.5,700,50.0,0,3,4,5,6,9,86,500,991,996,996,996\n"
    )
    assert tools.read_locust(out) == {"p95_ms": 86, "p99_ms": 991, "max_ms": 997.5, "answered": 108, "failed": 2}


@pytest.mark.parametrize("text", [None, "", HEAD, HEAD + ",Aggregated,0,0," + "N/A," * 18 + "N/A\n"])
def test_locust_without_figures(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "figures_stats.csv").write_text(text)
    with pytest.raises(tools.NoTools, match="Locust wrote no figures"):
        tools.read_locust(tmp_path / "figures")


def test_k6s_summary(tmp_path: Path) -> None:
    out = tmp_path / "figures"
    trend = {"p(95)": 12.5, "p(99)": 975, "max": 1002, "count": 9_000}
    counter = {"count": 3, "rate": 0.1}
    out.write_text(json.dumps({"metrics": {"run_ms": trend, "dropped_iterations": {"count": 500}, "wrong": counter}}))
    read = tools.read_k6(out)
    assert {name: read[name] for name in ("p95_ms", "p99_ms", "max_ms")} == {
        "p95_ms": 12.5,
        "p99_ms": 975,
        "max_ms": 1002,
    }
    assert (read["answered"], read["dropped"], read["wrong"]) == (9_000, 500, 3)

    out.write_text(json.dumps({"metrics": {"run_ms": trend}}))
    assert tools.read_k6(out)["dropped"] == 0  # k6 leaves out what did not happen


@pytest.mark.parametrize("text", [None, "", "{}", '{"metrics": {}}', '{"metrics": {"run_ms": {"count": 0}}}'])
def test_k6_without_figures(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "figures").write_text(text)
    with pytest.raises(tools.NoTools, match="k6 wrote no figures"):
        tools.read_k6(tmp_path / "figures")


def test_a_tool_that_fails_or_hangs_gives_its_reason() -> None:
    with pytest.raises(tools.NoTools, match="no such option"):
        tools.run([sys.executable, "-c", "raise SystemExit('no such option')"], timeout=30)
    with pytest.raises(tools.NoTools, match="more than"):
        tools.run([sys.executable, "-c", "input() if False else __import__('time').sleep(60)"], timeout=0.2)


def test_without_the_tools_the_lab_alone_has_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_installed", lambda: "no network")
    figures = honesty.sample("locust", Options(quick=True))
    assert figures == {"clean": False, "verdict": "locust could not be installed: no network"}
    figures = lab_peers.sample("k6", Options(quick=True))
    assert figures["clean"] is False
    assert "k6 could not be installed: no network" in figures["verdict"]


def test_the_scripts_know_how_many_events_a_run_has() -> None:
    assert f"EVENTS = {workload.EVENTS} " in (tools.HERE / "locust_replay.py").read_text()
    assert len(template(1)) == workload.EVENTS
