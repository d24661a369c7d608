"""The history that judging is measured with is one in which nothing is wrong, and as long as it was asked to be."""

from __future__ import annotations

from pathlib import Path

from bench import judging, workload


def test_a_made_history_passes(tmp_path: Path) -> None:
    asked = 20_000
    assert judging.store(tmp_path, asked) == (tmp_path / "history-1.bin").stat().st_size
    figures = judging.judge(tmp_path)
    assert figures["wrong"] == []
    assert asked - workload.EVENTS < figures["events"] <= asked
