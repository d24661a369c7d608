"""The documentation is tested: its code runs, its links lead somewhere, and its tables are those of the code."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from goldenpath import App
from goldenpath.runtime.settings import Settings
from goldenpath.wire.errors import CLOSE_CODES, ERRORS
from tests.serverprocess import ServerProcess

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


def load(code: str, name: str) -> ModuleType:
    module = ModuleType(name)
    sys.modules[name] = module
    exec(compile(code, name, "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_generated_pages_are_those_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_setting_and_code_is_in_the_reference() -> None:
    settings = (ROOT / "docs/settings.md").read_text()
    for name in Settings.__struct_fields__:
        assert f"| `{name}` |" in settings
    protocol = (ROOT / "docs/protocol.md").read_text()
    for code in (*ERRORS, *map(str, CLOSE_CODES)):
        assert code in protocol


@pytest.mark.parametrize("name", ["README.md", "docs/howto/agent.md", "docs/howto/interrupt.md"])
def test_the_agents_of_the_pages_run(name: str, tmp_path: Path, start_server: Callable[..., ServerProcess]) -> None:
    (code,) = python_blocks(ROOT / name)
    (tmp_path / "page.py").write_text(code)
    server = start_server(target="page:app", cwd=tmp_path)
    headers = {"Authorization": f"Bearer {server.tokens('reader@example.com')['access_token']}"}
    agents = [agent.name for agent in load(code, "page").app.agents]
    assert agents
    for agent in agents:
        given: dict[str, Any] = {"threadId": agent, "runId": "r", "protocolVersion": "1.0"}
        given["messages"] = [{"id": "m", "role": "user", "content": "good morning"}]
        answer = httpx.post(f"{server.url}/v1/agents/{agent}/run", json=given, headers=headers, timeout=20)
        assert answer.status_code == 200, answer.text
        assert '"type":"RUN_FINISHED"' in answer.text, answer.text


def test_the_mounted_app_of_the_page_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDENPATH_DATA_DIR", str(tmp_path / "data"))
    (code,) = python_blocks(ROOT / "docs/howto/mount.md")
    page = load(code, "page")
    assert isinstance(page.agents, App)

    async def start() -> int:
        transport = httpx.ASGITransport(page.site)
        async with page.lifespan(page.site), httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            assert (await client.get("/about")).json() == {"about": "my own pages"}
            return (await client.get("/livez")).status_code

    assert asyncio.run(start()) == 200


def test_the_client_of_the_page_reads_the_answer(server: ServerProcess) -> None:
    (code,) = python_blocks(ROOT / "docs/howto/python-client.md")
    account = {"email": "page@example.com", "password": "correct horse"}
    assert httpx.post(f"{server.url}/v1/auth/register", json=account, timeout=20).status_code == 201
    answer = asyncio.run(load(code, "page").main(server.url, account["email"], account["password"]))
    assert answer == "hello there"
