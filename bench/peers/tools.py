"""Locust and k6, which the lab is measured beside: not dependencies of the project, installed when they are needed.

They go into a venv of their own, `.venv/peers`, in the versions that `requirements.txt` beside this file pins.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from bench.server import CLIENT_CORE, ROOT, pinned

HERE: Final = Path(__file__).resolve().parent
VENV: Final = ROOT / ".venv" / "peers"
REQUIREMENTS: Final = HERE / "requirements.txt"
PATIENCE: Final = 300.0
"""Seconds that installing them may take."""


class NoTools(RuntimeError):
    """They cannot be had here, or one of them failed; the message says why."""


def program(name: str) -> Path:
    """Where `locust` or `k6` is; installs them first where that was not done. Raises `NoTools`."""
    why = _installed()
    if why:
        raise NoTools(f"{name} could not be installed: {why}")
    return VENV / "bin" / name


@cache
def _installed() -> str:
    """Install them once. Returns why that failed; empty where they are there."""
    mark = VENV / ".installed"
    pinned = REQUIREMENTS.read_text()
    if mark.exists() and mark.read_text() == pinned:
        return ""
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", "--clear", str(VENV)], [*pip, "-r", str(REQUIREMENTS)]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode:
            return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    mark.write_text(pinned)
    return ""


def locust(script: str, url: str, users: int, seconds: int, out: Path) -> list[str]:
    """The command that lets `users` ask at `url` for so long, and writes Locust's statistics to `out`*."""
    run = [
        str(program("locust")),
        *("--locustfile", str(HERE / script), "--headless", "--host", url),
        *("--users", str(users), "--spawn-rate", str(users), "--run-time", f"{seconds}s"),
        *("--csv", str(out), "--only-summary", "--stop-timeout", "2"),
    ]
    return pinned(run, CLIENT_CORE)


def k6(script: str, settings: Mapping[str, object], out: Path) -> list[str]:
    """The command that runs a script of k6's with these settings, and writes its summary to `out`."""
    given = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
    run = [
        str(program("k6")),
        *("run", "--quiet", "--no-usage-report", "--summary-export", str(out)),
        *("--summary-trend-stats", "p(95),p(99),max,count", *given, str(HERE / script)),
    ]
    return pinned(run, CLIENT_CORE)


def environment() -> dict[str, str]:
    """For k6 and Locust: no more threads at work than the core that they have."""
    return {**os.environ, "GOMAXPROCS": "1", "K6_NO_USAGE_REPORT": "true"}


@contextmanager
def started(command: Sequence[str], timeout: float) -> Iterator[subprocess.Popen[str]]:
    """Begin to carry it out; the end of the block waits for it. Raises `NoTools` where it fails or takes longer, in
    seconds, than `timeout` after that."""
    process = subprocess.Popen(
        command,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
        said, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise NoTools(f"it took more than {timeout:g} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if process.returncode:
        raise NoTools("; ".join(said.strip().splitlines()[-3:]) or f"exit code {process.returncode}")


def run(command: Sequence[str], timeout: float) -> None:
    """Carry it out. Raises `NoTools` where it fails or takes longer."""
    with started(command, timeout):
        pass


def read_locust(out: Path) -> dict[str, float]:
    """What Locust wrote of all requests: `p95_ms`, `p99_ms`, `max_ms`, `answered`, `failed`. Raises `NoTools` where it
    has no figures."""
    path = out.with_name(f"{out.name}_stats.csv")
    try:
        with path.open(newline="") as file:
            whole = next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")
        return {
            "p95_ms": float(whole["95%"]),
            "p99_ms": float(whole["99%"]),
            "max_ms": float(whole["Max Response Time"]),
            "answered": float(whole["Request Count"]) - float(whole["Failure Count"]),
            "failed": float(whole["Failure Count"]),
        }
    except (OSError, StopIteration, KeyError, ValueError) as error:
        raise NoTools(f"Locust wrote no figures: {error!r}") from None


def read_k6(out: Path) -> dict[str, float]:
    """What k6 wrote: of the trend `run_ms` `p95_ms`, `p99_ms`, `max_ms`, `answered`; besides `dropped`, the iterations
    that it did not begin for want of VUs, and each counter of the script's by its name. Raises `NoTools` where it has
    no figures."""
    try:
        metrics = json.loads(out.read_text())["metrics"]
        trend = metrics["run_ms"]
        return {
            **{name: float(metric["count"]) for name, metric in metrics.items() if "count" in metric},
            "p95_ms": float(trend["p(95)"]),
            "p99_ms": float(trend["p(99)"]),
            "max_ms": float(trend["max"]),
            "answered": float(trend["count"]),
            "dropped": float(metrics.get("dropped_iterations", {}).get("count", 0)),
        }
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise NoTools(f"k6 wrote no figures: {error!r}") from None
