"""The page of figures: what was measured, how it stands to the budget, and what people wrote about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench.benchmark import Benchmark, Figures, Options, Row
from bench.report import BEGIN, END, UNEXPLAINED, load, write
from bench.server import Side

TARGET = 200_000


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "performance.md"
    path.write_text(f"Above.\n\n{BEGIN}\n\nNot measured yet.\n\n{END}\n\nBelow.\n")
    return path


def result(ours: float, *, clean: bool = True) -> dict[str, Any]:
    """What the benchmark of throughput finds when the peer reaches 100,000."""

    def sample(side: Side, options: Options) -> Figures:
        return {"speed": ours if side == "goldenpath" else 100_000, "clean": clean, "verdict": "1 lost"}

    rows = (Row("speed", "events/s", "1/s", "higher", budget=TARGET, stretch=2 * TARGET, digits=0),)
    benchmark = Benchmark("throughput", "Throughput", "Users stream.", rows, sample)
    return benchmark.run(("goldenpath", "peer"), 1, Options(quick=True))


def test_the_page_says_what_was_measured_on_what_and_how_it_compares(page: Path) -> None:
    found = result(250_000)
    write(page, [found])
    text = page.read_text()

    assert text.startswith("Above.\n")
    assert text.endswith("Below.\n")
    assert "| `throughput`: events/s (1/s) | **250,000** | 100,000 | 2.50 | 200,000 / 400,000 | met |" in text
    assert found["machine"]["cpu"] in text
    assert f"goldenpath {found['versions']['goldenpath']}" in text
    assert "`python -m bench.throughput`" in text
    assert "Not measured: cpu_per_run," in text


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [(TARGET - 1, "missed by 0 %"), (TARGET, "| met |"), (2 * TARGET, "| met, and the stretch |"), (1, "by 100 %")],
)
def test_a_budget_is_met_or_missed(page: Path, ours: float, verdict: str) -> None:
    write(page, [result(ours)])

    assert verdict in page.read_text()


def test_why_a_budget_is_missed_is_kept_until_it_is_met(page: Path) -> None:
    write(page, [result(100_000)])
    assert UNEXPLAINED in page.read_text()

    page.write_text(page.read_text().replace(UNEXPLAINED, "The writer thread takes a third:\n\n    35 % sqlite3"))
    write(page, [result(110_000)])
    write(page, [result(120_000, clean=False)])
    text = page.read_text()
    assert "<!-- why:throughput.speed -->\nThe writer thread takes a third:\n\n    35 % sqlite3\n<!-- /why -->" in text
    assert UNEXPLAINED not in text

    write(page, [result(250_000)])
    assert "why:" not in page.read_text()


def test_failed_runs_show_no_figures(page: Path) -> None:
    write(page, [result(1e6, clean=False)])
    text = page.read_text()

    assert "1,000,000" not in text
    assert "| - | - | - | 200,000 / 400,000 | no figure |" in text
    assert "No figures of goldenpath: 1 of 1 repetitions not clean." in text


def test_a_quick_run_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "throughput.json").write_text('{"name": "throughput", "quick": true}')
    (tmp_path / "start.json").write_text('{"name": "start", "quick": false}')

    assert [found["name"] for found in load(tmp_path)] == ["start"]


def test_a_page_without_its_markers_is_not_touched(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("Something else.")

    with pytest.raises(ValueError, match="lacks the markers"):
        write(page, [result(1)])
    assert page.read_text() == "Something else."
