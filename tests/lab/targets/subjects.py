"""Real systems that the conformance suite drives: each a process of its own, and how the lab reaches it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec

from goldenpath.lab.targets import TargetSpec, parse_target
from tests.lab.selftest.reference_process import ReferenceProcess
from tests.lab.targets.uvicorn_process import UvicornProcess, blocks
from tests.serverprocess import SIMULATION_KEY, ServerProcess

AGENTS = """
from goldenpath import App, Run

app = App()


@app.agent("echo")
async def echo(run: Run) -> None:
    async with run.message() as message:
        for number, word in enumerate(run.user_text.split(" ")):
            await run.clock.sleep(0.01)
            await message.write(f" {word}" if number else word)
"""
"""An echo that takes as long as those of the how-tos."""


class Subject(msgspec.Struct):
    """A system that is there."""

    spec: TargetSpec
    kill: Callable[[], None] | None
    """None: it cannot be killed without us."""


def memory(directory: Path) -> Subject:
    return Subject(TargetSpec("memory"), None)


def goldenpath(directory: Path) -> Subject:
    server = _own(directory)
    return Subject(TargetSpec("goldenpath", {"url": server.url, "simulation_key": SIMULATION_KEY}), server.kill)


def reference(directory: Path) -> Subject:
    server = ReferenceProcess()
    return Subject(server.spec, server.kill)


def own_agui(directory: Path) -> Subject:
    server = _own(directory)
    spec = parse_target(
        f"agui+{server.url}/v1/agents/echo/run",
        headers=[f"Authorization: Bearer {server.tokens('lab@example.com')['access_token']}"],
        echo=True,
    )
    assert spec is not None
    return Subject(spec, server.kill)


def _own(directory: Path) -> ServerProcess:
    (directory / "served.py").write_text(AGENTS)
    return ServerProcess(directory / "data", target="served:app", cwd=directory).start()


def pydantic_ai(directory: Path) -> Subject:
    (code,) = blocks("judge-an-ag-ui-server.md", "python")
    process = UvicornProcess(code, directory)
    spec = parse_target(f"agui+http://127.0.0.1:{process.port}/agent", echo=True)
    assert spec is not None
    return Subject(spec, process.kill)


def fastapi_chat(directory: Path) -> Subject:
    (code,) = blocks("judge-a-websocket-chat.md", "python")
    process = UvicornProcess(code, directory)
    spec = parse_target(f"ws+{mapping_of_the_page(directory, process.port)}")
    assert spec is not None
    return Subject(spec, process.kill)


def mapping_of_the_page(directory: Path, port: int, password: str = "open sesame") -> Path:
    """The how-to's mapping file, for a server on another port."""
    mapping = blocks("judge-a-websocket-chat.md", "toml")[0]
    assert tomllib.loads(mapping)
    path = directory / "chat.toml"
    path.write_text(mapping.replace(":8000/", f":{port}/").replace("${CHAT_PASSWORD}", password))
    return path


SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    "memory": memory,
    "goldenpath": goldenpath,
    "the lab's reference server": reference,
    "agui of our own server": own_agui,
    "agui of pydantic-ai": pydantic_ai,
    "websocket of a FastAPI chat": fastapi_chat,
}
