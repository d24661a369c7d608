"""The deploy hook, with real commands and a real receiver."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from goldenpath.clock import ManualClock, SystemClock
from goldenpath.runtime.rollback.hook import MAX_OUTPUT, DeployHook, HookFacts
from tests.runtime.runs import until

FACTS = HookFacts("too slow", "usr_1", "production", "1.2.3")


def python(code: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-c", code, *arguments])


async def test_a_command_is_told_why_and_its_output_is_kept() -> None:
    hook = DeployHook(python("import sys; print('got', sys.stdin.read().strip())"), 20, SystemClock())
    result = await hook.run(FACTS)
    assert (result.ok, result.ended) == (True, "exit code 0")
    assert json.loads(result.output.removeprefix("got ")) == {
        "why": "too slow",
        "actor": "usr_1",
        "environment": "production",
        "version": "1.2.3",
    }


async def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    result = await DeployHook(f"echo a > {mark} ; echo b", 20, SystemClock()).run(FACTS)
    assert (result.ok, result.output, mark.exists()) == (True, f"a > {mark} ; echo b\n", False)


async def test_a_command_that_fails_says_so_with_the_end_of_what_it_said() -> None:
    code = "import sys; sys.stderr.write('x' * 100_000 + 'the end'); sys.exit(3)"
    result = await DeployHook(python(code), 20, SystemClock()).run(FACTS)
    assert (result.ok, result.ended, len(result.output)) == (False, "exit code 3", MAX_OUTPUT)
    assert result.output.endswith("the end")


@pytest.mark.parametrize(
    "target", ["/there/is/no/such/command", '"unbalanced', "  ", "http://127.0.0.1:9/nobody", "http://[::1"]
)
async def test_a_hook_that_cannot_be_called_says_so(target: str) -> None:
    result = await DeployHook(target, 20, SystemClock()).run(FACTS)
    assert (result.ok, result.output) == (False, "")
    assert re.match(r"\w+(Error|URL): ", result.ended)


async def test_a_command_that_takes_too_long_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    clock = ManualClock()
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open(sys.argv[1] + '.new', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
        "print('begun', flush=True)\n"
        "time.sleep(600)\n"
    )
    running = asyncio.create_task(DeployHook(python(code, str(pids)), 300, clock).run(FACTS))
    await until(pids.exists)
    clock.advance(301)
    result = await running
    assert (result.ok, result.ended, result.seconds) == (False, "timed out after 300 s", 301)
    own, child = map(int, pids.read_text().split())
    await until(lambda: not is_running(own) and not is_running(child))


async def test_a_command_ends_with_itself_and_not_with_what_it_leaves_behind() -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
    )
    clock = ManualClock()
    running = asyncio.create_task(DeployHook(python(code), 300, clock).run(FACTS))

    def has_ended() -> bool:
        clock.advance(0.01)
        return running.done()

    await until(has_ended)
    result = await running
    left = int(result.output)
    try:
        assert (result.ok, result.ended, is_running(left)) == (True, "exit code 0", True)
    finally:
        os.kill(left, signal.SIGKILL)


async def test_a_stop_ends_a_command_and_leaves_alone_what_it_handed_over(tmp_path: Path) -> None:
    """As docs/howto/rollback.md tells whoever restarts this server from the hook."""
    pids = tmp_path / "pids"
    script = (
        f"setsid sleep 600 </dev/null >>{tmp_path}/log 2>&1 & handed=$!; sleep 600 & "
        f"echo $handed $! > {pids}.new; mv {pids}.new {pids}; wait"
    )
    running = asyncio.create_task(DeployHook(shlex.join(["sh", "-c", script]), 300, ManualClock()).run(FACTS))
    await until(pids.exists)
    handed, own = map(int, pids.read_text().split())
    await until(lambda: os.getsid(handed) == handed)
    running.cancel()
    try:
        await asyncio.gather(running, return_exceptions=True)
        await until(lambda: not is_running(own))
        assert is_running(handed)
    finally:
        os.kill(handed, signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Whether a process is there that has not ended; one that has may wait for whoever inherits it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@asynccontextmanager
async def receiver(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A URL that answers `answer` and keeps what it gets."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        got.append(head.split(b"\r\n")[0] + b" " + await reader.readexactly(length))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/deploy?to=previous", got


async def test_a_url_is_asked_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the webhooks of alerts are, model endpoints, and the keys of identity providers."""
    async with receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n") as (proxy, got):
        for name in ("NO_PROXY", "no_proxy", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", proxy.removesuffix("/deploy?to=previous"))
        result = await DeployHook("http://deploy.example.com/previous", 20, SystemClock()).run(FACTS)
    assert (result.ok, result.ended) == (True, "status 200")
    (request,) = got
    assert request.startswith(b"POST http://deploy.example.com/previous HTTP/1.1 ")


@pytest.mark.parametrize(("status", "ok"), [("202 Accepted", True), ("500 Oops", False)])
async def test_a_url_is_asked_by_post(status: str, ok: bool) -> None:
    answer = f"HTTP/1.1 {status}\r\ncontent-length: 5\r\nconnection: close\r\n\r\nqueue".encode()
    async with receiver(answer) as (url, got):
        result = await DeployHook(url, 20, SystemClock()).run(FACTS)
    assert (result.ok, result.ended, result.output) == (ok, f"status {status.split(maxsplit=1)[0]}", "queue")
    (request,) = got
    assert request.startswith(b"POST /deploy?to=previous HTTP/1.1 ")
    assert json.loads(request.partition(b"HTTP/1.1 ")[2])["why"] == "too slow"
