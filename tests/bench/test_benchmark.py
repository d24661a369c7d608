"""A benchmark gives a figure only for what was measured: whole, correct, and undisturbed."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.benchmark import Benchmark, Figures, Options, Row, main
from bench.meter import Others, family_seconds
from bench.server import SERVER_CORE, Side

from bench import benchmark as module
from bench import meter

QUIET = Options()


def of(sample: Callable[[Side, Options], Figures]) -> Benchmark:
    return Benchmark("start", "A title", "About it", (Row("speed", "speed", "1/s", "higher", budget=100),), sample)


def taking(*taken: Figures) -> Benchmark:
    """A benchmark whose repetitions find these figures, whatever the side."""
    found: Iterator[Figures] = iter(taken)
    return of(lambda side, options: dict(next(found)))


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others do on this machine while the tests run is no part of them."""
    monkeypatch.setattr(Others, "share", lambda self: 0.0)
    monkeypatch.setattr(module, "prepare", lambda: None)


def run(benchmark: Benchmark, repetitions: int, sides: tuple[Side, ...] = ("goldenpath",)) -> dict[str, Any]:
    return benchmark.run(sides, repetitions, QUIET)


def test_the_figure_is_the_median_and_the_ratio_that_of_neighbours() -> None:
    speeds = [100, 50, 300, 100, 200, 50]
    result = run(taking(*({"speed": speed} for speed in speeds)), 3, ("goldenpath", "peer"))

    (row,) = result["rows"]
    assert row["measured"]["goldenpath"] == {"median": 200, "low": 100, "high": 300}
    assert row["ratios"] == {"peer": 3.0}
    assert result["refused"] == {}


def test_a_side_with_a_failed_repetition_gets_no_figure_however_fast() -> None:
    result = run(taking({"speed": 1e6}, {"speed": 1e9, "clean": False, "verdict": "1 event lost"}, {"speed": 1e6}), 3)

    assert result["rows"][0]["measured"] == {}
    assert result["refused"] == {"goldenpath": "1 of 3 repetitions not clean"}
    assert "1 event lost" in " ".join(result["remarks"])


def test_a_disturbed_repetition_does_not_count_and_a_disturbed_majority_refuses_the_figure() -> None:
    slow = {"speed": 1, "disturbance": 0.5}
    one = run(taking({"speed": 100}, slow, {"speed": 120}), 3)
    two = run(taking({"speed": 100}, slow, slow), 3)

    assert one["rows"][0]["measured"]["goldenpath"] == {"median": 110, "low": 100, "high": 120}
    assert two["rows"][0]["measured"] == {}
    assert two["refused"] == {"goldenpath": "2 of 3 repetitions disturbed by other processes"}


def test_a_disturbed_repetition_is_repeated_as_often_as_allowed() -> None:
    disturbed = {"speed": 1, "disturbance": 0.5}
    result = taking(disturbed, disturbed, {"speed": 100}).run(("goldenpath",), 1, QUIET, retries=2)

    assert result["rows"][0]["measured"]["goldenpath"]["median"] == 100
    assert result["samples"]["goldenpath"][0]["attempts"] == 3


def test_a_ratio_pairs_only_repetitions_that_both_count() -> None:
    taken: list[Figures] = [
        {"speed": 100}, {"speed": 50},
        {"speed": 1, "disturbance": 0.5}, {"speed": 50},
        {"speed": 200}, {"speed": 50},
    ]  # fmt: skip
    result = run(taking(*taken), 3, ("goldenpath", "peer"))

    assert result["rows"][0]["ratios"] == {"peer": 3.0}


def test_a_run_without_figures_fails_and_leaves_no_earlier_result(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--repetitions", "1", "--sides", "goldenpath"]
    path = tmp_path / "start.json"

    assert main(taking({"speed": 100}), arguments) == 0
    assert json.loads(path.read_text())["command"] == "python -m bench.start --repetitions 1 --sides goldenpath"
    assert main(taking({"speed": 100, "clean": False}), arguments) == 1
    assert json.loads(path.read_text())["rows"][0]["measured"] == {}

    def fail(side: Side, options: Options) -> Figures:
        raise RuntimeError("the server did not start")

    with pytest.raises(RuntimeError):
        main(of(fail), arguments)
    assert not path.exists()


@pytest.mark.parametrize("others_used", [0.0, 3.0])
def test_what_this_process_and_its_ended_children_use_is_not_what_others_use(
    monkeypatch: pytest.MonkeyPatch, others_used: float
) -> None:
    monkeypatch.undo()
    busy = {"server": 100.0, "client": 200.0}
    monkeypatch.setattr(meter, "core_seconds", lambda core: busy["server" if core == SERVER_CORE else "client"])
    wall, own, children = time.perf_counter(), time.process_time(), child_seconds()

    others = Others(family_seconds)
    subprocess.run([sys.executable, "-c", "sum(range(10**6))"], check=True)
    busy["server"] += child_seconds() - children + others_used
    busy["client"] += time.process_time() - own
    share = others.share()

    assert share == pytest.approx(others_used / (time.perf_counter() - wall), abs=0.05 + 0.05 * others_used)


def child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
