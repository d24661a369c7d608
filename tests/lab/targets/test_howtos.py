"""The commands of the how-tos, as a reader types them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.targets.subjects import mapping_of_the_page
from tests.lab.targets.uvicorn_process import ROOT, UvicornProcess, blocks


def commands(page: str) -> list[list[str]]:
    """The `goldenpath lab` commands of a page, without variables before them."""
    text = (ROOT / "docs/howto" / page).read_text().replace("\\\n", "")
    return [shlex.split(found) for found in re.findall(r"^    (?:\w+=\S.*? )?(goldenpath lab .*)$", text, re.MULTILINE)]


def run(command: list[str], directory: Path, *, workers: int) -> None:
    sizes = ["--users", "3", "--workers", str(workers), "--out", str(directory / f"out-{workers}")]
    done = subprocess.run(
        [sys.executable, "-m", "goldenpath.cli", *command[1:], *sizes],
        cwd=directory,
        env={**os.environ, "CHAT_PASSWORD": "open sesame"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr


@pytest.mark.parametrize(
    ("page", "address"),
    [("judge-an-ag-ui-server.md", "http://127.0.0.1:8000/agent"), ("judge-a-websocket-chat.md", "")],
)
def test_the_server_of_the_page_passes(page: str, address: str, tmp_path: Path) -> None:
    (code,) = blocks(page, "python")
    server = UvicornProcess(code, tmp_path)
    try:
        if not address:
            mapping_of_the_page(tmp_path, server.port, "${CHAT_PASSWORD}")
        command = commands(page)[0]
        for workers in (1, 2):
            run([part.replace(":8000", f":{server.port}") for part in command], tmp_path, workers=workers)
    finally:
        server.kill()


def test_the_options_of_the_pages_are_those_of_the_command() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "goldenpath.cli", "lab", "run", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
    ).stdout
    for page in ("judge-an-ag-ui-server.md", "judge-a-websocket-chat.md"):
        for command in commands(page):
            for option in command:
                assert not option.startswith("--") or option in help_text
