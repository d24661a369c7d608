"""Stored runs that the lab never wrote are refused, in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from goldenpath.cli.lab_verdict import check
from goldenpath.lab.history import HistoryError
from goldenpath.lab.records import Complete
from goldenpath.lab.summary import judge_directory
from goldenpath.lab.verdict import Verdict
from tests.lab.made_run import ZERO, path_of_users


def changed(directory: Path, **fields: Any) -> Path:
    path_of_users(2).store(directory)
    file = directory / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
    return directory


def level(**fields: Any) -> dict[str, Any]:
    return {"levels": [{"name": "l", "quantity": "run.p95", "comparison": "<=", "target": 1.0, **fields}]}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"format": "morse"}, "there is no format 'morse'"),
        ({"format_options": {"speed": 1}}, "format_options: the goldenpath format has no options"),
        ({"format": "mapping", "format_options": {"kind": 1}}, "format_options: "),
        ({"scenario": "../../etc"}, "scenario: '../../etc' is no name"),
        ({"started_at": 1e18}, "started_at: 1e\\+18 is no time"),
        ({"users": -1}, "users: -1 is not at least 1"),
        ({"cores": 0}, "cores: 0 is not at least 1"),
        (level(quantity="beauty"), "levels.l.quantity: "),
        (level(target=None), "cannot be read"),
        ({"zero": "now"}, "cannot be read"),
    ],
)
def test_a_manifest_that_no_run_has_written_is_refused(fields: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=why) as refused:
        judge_directory(changed(tmp_path, **fields))
    assert "\n" not in str(refused.value)


def test_a_manifest_of_anything_else_is_refused(tmp_path: Path) -> None:
    changed(tmp_path)
    for text in ("", "[]", "nonsense", "\udcff", "[" * 100_000, '{"version": 1}'):
        (tmp_path / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(HistoryError, match=r"manifest.json cannot be read"):
            judge_directory(tmp_path)


@pytest.mark.parametrize("at", [math.nan, math.inf, -math.inf])
def test_a_record_without_a_time_is_damage(at: float, tmp_path: Path) -> None:
    run = path_of_users(2)
    run.add(Complete(at if math.isnan(at) else ZERO + 9, 1, "ok"), Complete(at, 1, "ok"))
    result = judge_directory(run.store(tmp_path))
    assert result.verdict is Verdict.UNKNOWN
    assert any("a record whose time is none" in doubt for doubt in result.doubts)


def test_to_check_one_is_a_line_and_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(str(changed(tmp_path, format="morse"))) == Verdict.UNKNOWN.exit_code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "there is no format 'morse'" in said.err
