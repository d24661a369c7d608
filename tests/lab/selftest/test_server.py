from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

from tests.lab.selftest.reference_process import ReferenceProcess


def test_it_ends_with_whoever_started_it() -> None:
    server = ReferenceProcess()
    assert httpx.get(f"http://127.0.0.1:{server.port}/readyz").status_code == 200
    assert server.end() == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{server.port}/readyz")


def test_a_fault_that_there_is_not() -> None:
    command = [sys.executable, "-m", "goldenpath.lab.selftest.server", "--fault", "gremlins"]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "gremlins" in ended.stderr
