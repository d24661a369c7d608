"""What is left of a run can be shown to anybody: no secret of its command line, its mapping or its log-ins is in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.targets.subjects import mapping_of_the_page
from tests.lab.targets.uvicorn_process import UvicornProcess, blocks

SECRET = "open-sesame"
FROM_THE_ENVIRONMENT = "open-barley"


@pytest.fixture(params=["judge-an-ag-ui-server.md", "judge-a-websocket-chat.md"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """Runs the lab against the server of a how-to, with secrets."""
    (code,) = blocks(request.param, "python")
    server = UvicornProcess(code.replace("open sesame", SECRET), tmp_path)
    if "websocket" in request.param:
        mapping_of_the_page(tmp_path, server.port, SECRET)
        yield ["--target", "ws+chat.toml"]
    else:
        url = f"agui+http://127.0.0.1:{server.port}/agent?key={SECRET}&key=${{KEY}}"
        headers = [f"Authorization: Bearer {SECRET}", "X-Key: ${KEY}"]
        yield ["--target", url, *(f"--header={header}" for header in headers)]
    server.kill()


def test_no_file_of_a_run_has_a_secret(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "goldenpath.cli", "lab", "run", "golden_path", "--users", "2", "--out", "out", *command],
        cwd=tmp_path,
        env={**os.environ, "KEY": FROM_THE_ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len(files) > 10
    files[Path("terminal")] = (done.stdout + done.stderr).encode()
    for secret in (SECRET, FROM_THE_ENVIRONMENT, "token-of-user"):
        assert [path for path, content in files.items() if secret.encode() in content] == []
    if "agui" in command[1]:
        manifest = (tmp_path / "out/golden_path/manifest.json").read_text()
        assert "Authorization: Bearer ***" in manifest
        assert "X-Key: ${KEY}" in manifest
        assert "key=***&key=${KEY}" in manifest
