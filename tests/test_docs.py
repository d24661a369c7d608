"""The documentation is tested: its code runs, its links lead somewhere, and its tables are those of the code."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import typer

from goldenpath import App, Run, cli
from goldenpath.client import Api
from goldenpath.runtime.environ import load as load_settings
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


def test_the_tour_leads_along_files_that_exist() -> None:
    text = (ROOT / "docs/tour.md").read_text()
    package = ROOT / "src/goldenpath"
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", text)) - {"src/goldenpath/"}
    assert named
    for name in named:
        assert [place for place in ("", "runtime", "runtime/gateway") if (package / place / name).exists()], name


def test_the_tour_names_every_module_of_the_runtime() -> None:
    text = (ROOT / "docs/tour.md").read_text()
    runtime = ROOT / "src/goldenpath/runtime"
    modules = {str(path.relative_to(runtime)) for path in runtime.rglob("*.py") if path.name != "__init__.py"}
    named = set(re.findall(r"`(?:runtime/)?([\w/]+\.py)`", text))
    assert {name for name in modules if not {name, name.removeprefix("gateway/")} & named} == set()


def test_the_python_client_has_every_call_that_does_not_stream(server: ServerProcess) -> None:
    called_otherwise = {"run": "run_status", "cancel": "cancel_run"}
    calls = {
        call["operationId"]
        for path in httpx.get(f"{server.url}/openapi.json").json()["paths"].values()
        for call in path.values()
        if call["tags"][0] in {"auth", "agents", "threads"}
        and not any("text/event-stream" in answer.get("content", ()) for answer in call["responses"].values())
    }
    assert "ends" in calls
    assert {name for name in calls if not hasattr(Api, called_otherwise.get(name, name))} == set()


def test_everything_that_a_run_offers_is_described() -> None:
    described = set(re.findall(r"`run\.(\w+)", (ROOT / "docs/howto/agent.md").read_text()))
    # What the engine, the agent's own streams and a plain function's run are made with.
    inner = {"append", "bounded", "closed", "excused", "keep_pace", "mark", "size", "when_threads_end"}
    offered = {name for name in vars(Run) if not name.startswith("_")} - inner
    assert offered - described == set()


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


def test_every_metric_of_a_server_is_in_the_reference(server: ServerProcess) -> None:
    described = set(re.findall(r"^\| `(goldenpath_\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    text = httpx.get(f"{server.url}/metrics").text
    families = re.findall(r"^# TYPE (goldenpath_\w+) (?:histogram|counter|gauge)$", text, re.MULTILINE)
    shown = set(families)
    assert shown
    assert described == shown


OPERATING = [
    *(f"operator {name}" for name in ("token", "add", "actions")),
    *(f"flags {name}" for name in ("list", "set", "clear")),
    *(f"alerts {name}" for name in ("show", "test")),
    *(f"{name} set" for name in ("breakers", "degradation")),
    "breakers list",
    "degradation show",
    *(f"rollback {name}" for name in ("flags", "timeouts", "code", "incident", "undo", "status", "history")),
]


@pytest.mark.parametrize("command", ["serve", "doctor", "config show", "config check", *OPERATING])
def test_every_option_is_in_the_reference(command: str) -> None:
    page = (ROOT / "docs/cli.md").read_text().split(f"## `goldenpath {command}`")[1].split("\n## ")[0]
    described = set(re.findall(r"`(--[\w-]+)`", page))
    help_text = subprocess.run(
        [sys.executable, "-m", "goldenpath.cli", *command.split(), "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert described == set(re.findall(r"--[\w-]+", help_text)) - {"--help"}


def test_each_guarantee_names_tests_that_exist() -> None:
    text = (ROOT / "docs/delivery.md").read_text()
    promised = re.findall(r"^(\d)\. ", text, re.MULTILINE)
    rows = dict(re.findall(r"^\| (\d) \|.*?\|(.*)\|$", text, re.MULTILINE))
    assert list(rows) == promised
    for row in rows.values():
        named = re.findall(r"`(tests/\S+?)::(test_\w+)`", row)
        assert named
        for path, name in named:
            assert re.search(rf"\bdef {name}\(", (ROOT / path).read_text()), f"there is no {path}::{name}"


def test_what_shows_that_operations_hold_is_there() -> None:
    """Each row names a test that exists, or a command."""
    table = (ROOT / "docs/operations.md").read_text().split("## What shows it")[1]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)
    rows = [(holds, by) for holds, by in rows if holds not in ("What holds", "---")]
    assert len(rows) > 50
    for holds, by in rows:
        named = re.findall(r"`(tests/\S+?)::(test_\w+)`", by)
        assert named or re.search(r"`(make|goldenpath) ", by), holds
        for path, name in named:
            assert re.search(rf"\bdef {name}\(", (ROOT / path).read_text()), f"there is no {path}::{name}"


def test_the_commands_of_operations_are_there() -> None:
    """With their options: whoever is in a hurry types what stands there."""
    text = (ROOT / "docs/operations.md").read_text()
    typed = re.findall(r"^    (goldenpath [^#\n]+)", text, re.MULTILINE)
    assert len(typed) > 15
    for line in typed:
        words = shlex.split(line.replace("$(", "").replace(")", ""))[1:]
        command: Any = typer.main.get_command(cli.app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands"), line
        options = [word for word in words if word.startswith("--")]
        known = {name: each for each in command.params for name in each.opts}
        assert set(options) <= set(known), line
        required = [each.opts[0] for each in command.params if each.required and each.opts[0].startswith("--")]
        assert set(required) <= set(options), line
        places = [each for each in command.params if not each.opts[0].startswith("--")]
        assert len(words) - 2 * len(options) <= len(places) or any(each.nargs < 0 for each in places), line


RUN_BY: dict[str, dict[str, str]] = {
    "README.md": {"python": "here"},
    "docs/agents/openai.md": {"python": "tests/runtime/agents/test_openai.py", "sh": "here"},
    "docs/agents/scripted.md": {"json": "tests/runtime/agents/test_scripted.py"},
    "docs/howto/ag-ui.md": {"js": "tests/agui/test_official_clients.py"},
    "docs/howto/agent.md": {"python": "here"},
    "docs/howto/alerts.md": {"toml": "tests/runtime/alerts/test_rules.py"},
    "docs/howto/degradation.md": {"python": "tests/runtime/agents/test_dependencies.py"},
    "docs/howto/deploy.md": {"nginx": "tests/cli/test_nginx.py"},
    "docs/howto/flags.md": {
        "python": "tests/gateway/test_admin_flags.py",
        "toml": "tests/gateway/test_admin_flags.py",
    },
    "docs/howto/identity-provider.md": {"sh": "here"},
    "docs/howto/interrupt.md": {"python": "here"},
    "docs/howto/limits.md": {"sh": "here"},
    "docs/howto/judge-a-websocket-chat.md": {
        "python": "tests/lab/targets/subjects.py",
        "toml": "tests/lab/targets/subjects.py",
    },
    "docs/howto/judge-an-ag-ui-server.md": {"python": "tests/lab/targets/subjects.py"},
    "docs/howto/mount.md": {"python": "here"},
    "docs/howto/python-client.md": {"python": "here"},
    "docs/settings.md": {"toml": "tests/test_docs.py"},
    "docs/service-levels.md": {"toml": "tests/lab/test_levels.py"},
}
"""Who runs the code blocks of each page, by language."""


def test_the_file_of_the_settings_page_is_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/settings.md").read_text(), re.DOTALL)
    path = tmp_path / "goldenpath.toml"
    path.write_text(text)
    settings = load_settings({"GOLDENPATH_SECRET": "s" * 32}, config=str(path))
    assert (settings.environment, settings.heartbeat, settings.tier("free").max_running) == ("staging", 20, 3)


def test_every_code_block_is_run_by_a_test() -> None:
    found: dict[str, set[str]] = {}
    for page in PAGES:
        if languages := set(re.findall(r"^```(\w+)$", page.read_text(), re.MULTILINE)):
            found[str(page.relative_to(ROOT))] = languages
    assert found == {page: set(languages) for page, languages in RUN_BY.items()}
    elsewhere = [
        (page, by) for page, languages in RUN_BY.items() for by in languages.values() if by.startswith("tests")
    ]
    for name, by in elsewhere:
        assert Path(name).name in (ROOT / by).read_text(), f"{by} does not read {name}"


@pytest.mark.parametrize("name", ["docs/agents/openai.md", "docs/howto/identity-provider.md", "docs/howto/limits.md"])
def test_the_settings_of_the_pages_are_taken(name: str) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
    script = block.replace("goldenpath serve\n", "") + "env -0"
    lines = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True, check=True, env={}).stdout
    variables = dict(line.split("=", 1) for line in lines.split("\0") if "=" in line)
    exported = {variable: value for variable, value in variables.items() if variable.startswith("GOLDENPATH_")}
    assert exported
    taken = load_settings(exported)
    for variable in exported:
        setting = variable.removeprefix("GOLDENPATH_").lower()
        assert getattr(taken, setting) != getattr(Settings(), setting)


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
