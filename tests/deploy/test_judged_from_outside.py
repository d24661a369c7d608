"""The lab judges staging and production from outside by the commands of docs/operations.md."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.serverprocess import ServerProcess

SECRET = "a secret of at least thirty-two bytes"
KEY = "the simulation key of staging"
ACCOUNT = {"email": "lab@example.com", "password": "a long password"}
HELPER = """
from goldenpath import App, Run

app = App()


@app.agent("helper")
async def helper(run: Run) -> None:
    await run.text("Here I am.")
"""
StartServer = Callable[..., ServerProcess]


def goldenpath(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GOLDENPATH_")}
    return subprocess.run(
        [sys.executable, "-m", "goldenpath.cli", *arguments],
        env={**clean, **environ},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_staging_is_judged_by_simulated_users(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(
        ENVIRONMENT="staging",
        GOLDENPATH_SECRET=SECRET,
        GOLDENPATH_SIMULATION_KEY=KEY,
        GOLDENPATH_BUILTIN_AGENTS="true",
    )
    report = str(tmp_path / "report")
    done = goldenpath(
        "lab", "run", "golden_path", "--target", server.url, "--out", report, GOLDENPATH_SIMULATION_KEY=KEY
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_production_is_judged_by_an_account_and_an_agent_of_one_s_own(
    start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "myapp.py").write_text(HELPER)
    server = start_server(
        target="myapp:app",
        cwd=tmp_path,
        ENVIRONMENT="production",
        GOLDENPATH_SECRET=SECRET,
        GOLDENPATH_SIMULATION_KEY="",
    )
    operator = goldenpath("operator", "token", GOLDENPATH_SECRET=SECRET).stdout.strip()
    made = goldenpath(
        "operator", "add", ACCOUNT["email"], "--url", server.url,
        stdin=ACCOUNT["password"], GOLDENPATH_TOKEN=operator,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    token = httpx.post(f"{server.url}/v1/auth/login", json=ACCOUNT).json()["access_token"]
    done = goldenpath(
        "lab", "run", "golden_path", "--target", f"agui+{server.url}/v1/agents/helper/run",
        "--header", "Authorization: Bearer ${TOKEN}", "--out", str(tmp_path / "report"),
        TOKEN=token,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
