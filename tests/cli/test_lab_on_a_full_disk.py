"""`goldenpath lab run` where files cannot grow any more: a line that says so, no pass, nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from goldenpath.lab.history import HistoryError, read_history
from tests.serverprocess import SIMULATION_KEY, ServerProcess

FULL = os.strerror(errno.EFBIG)
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Runs a command that can write no larger file than its first argument says, in bytes."""


class Ran(NamedTuple):
    """What it wrote."""

    stdout: str
    stderr: str


Lab = Callable[[int], Ran]


@pytest.fixture
def lab(launch: Callable[..., ServerProcess], tmp_path: Path) -> Lab:
    """Runs a load of half a minute against a server that has room, with so many bytes at most for each file."""
    server = launch()

    def run(size: int) -> Ran:
        command = [
            sys.executable,
            "-c",
            LIMITED,
            str(size),
            sys.executable,
            "-m",
            "goldenpath.cli",
            "lab",
            "run",
            "sustained",
            "--rate",
            "100",
        ]
        command += ["--duration", "30", "--workers", "2", "--target", server.url, "--out", str(tmp_path / "out")]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "GOLDENPATH_SIMULATION_KEY": SIMULATION_KEY, "COLUMNS": "200"},
            start_new_session=True,
        ) as process:
            ran = Ran(*process.communicate(timeout=60))
        assert process.returncode == 2, ran
        assert "Traceback" not in ran.stdout + ran.stderr
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)  # its workers are in its process group
        return ran

    return run


def test_the_load_stops_and_what_was_seen_is_reported(lab: Lab, tmp_path: Path) -> None:
    ran = lab(300_000)
    assert ran.stderr == ""
    assert ran.stdout.count(f"the lab itself failed: the history cannot be written: {FULL}") == 1
    said = json.loads((tmp_path / "out/performance_report.json").read_text())
    [scenario] = said["scenarios"]
    assert scenario["verdict"] == "unknown"
    assert scenario["violations"] == []  # what was cut is not held against the target
    assert scenario["seconds"] < 20
    assert scenario["events"] > 1_000
    assert (tmp_path / "out/report.html").stat().st_size > 100_000
    records = read_history(tmp_path / "out/sustained")
    assert sum(1 for _ in zip(range(201), records, strict=False)) == 201
    with pytest.raises(HistoryError, match="was cut"):
        list(records)


def test_reports_that_cannot_be_written_are_one_more_line(lab: Lab) -> None:
    ran = lab(60_000)
    assert f"the history cannot be written: {FULL}" in ran.stdout
    [line] = ran.stderr.splitlines()
    assert line.startswith("goldenpath: the reports cannot be written: ")
    assert line.endswith(FULL)


def test_a_run_that_cannot_begin_says_where(lab: Lab, tmp_path: Path) -> None:
    ran = lab(1_000)
    assert ran.stderr == f"goldenpath: {tmp_path / 'out/sustained'} cannot be written: {FULL}\n"
    assert ran.stdout == ""
