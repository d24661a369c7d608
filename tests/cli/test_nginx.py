"""docs/howto/deploy.md: the nginx block of the page, before `goldenpath serve`."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.certificate import make_certificate
from tests.gateway.users import User, program, run_input
from tests.serverprocess import ServerProcess
from tests.wsclient import text_of

Launch = Callable[..., ServerProcess]
PAGE = Path(__file__).parents[2] / "docs/howto/deploy.md"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin:/usr/bin")
HOLDER = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{block}
}}
"""


class Proxied(ServerProcess):
    """A server that clients reach through nginx."""

    def __init__(self, server: ServerProcess, port: int, certificate: Path) -> None:
        super().__init__(server.data_dir, GOLDENPATH_TLS_CERT=str(certificate))
        self.port = port


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


@pytest.fixture
def proxied(launch: Launch, tmp_path: Path) -> Iterator[Proxied]:
    """nginx with the page's block; only its port, the certificate and the server's port are other ones."""
    assert NGINX is not None, "the tests need nginx: `make test` installs it"
    server = launch(GOLDENPATH_TRUSTED_PROXIES="127.0.0.1", GOLDENPATH_MAX_CONNECTIONS_PER_ADDRESS="1")
    certificate = make_certificate(tmp_path)
    found = re.search(r"^```nginx\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    block, port = found[1], free_port()
    for theirs, ours in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/chat.example.com.pem": str(certificate.cert),
        "/etc/ssl/chat.example.com.key": str(certificate.key),
        "http://127.0.0.1:8700": server.url,
    }.items():
        assert block.count(theirs) == 1
        block = block.replace(theirs, ours)
    folder = tmp_path / "nginx"
    folder.mkdir()
    (folder / "nginx.conf").write_text(HOLDER.format(block=block))
    with (folder / "log").open("wb") as log:
        nginx = subprocess.Popen([NGINX, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"], stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            assert nginx.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                continue
            break
        yield Proxied(server, port, certificate.cert)
    finally:
        nginx.terminate()
        nginx.wait(20)


@pytest.fixture
async def user(proxied: Proxied) -> AsyncIterator[User]:
    somebody = User(proxied)
    yield somebody
    await somebody.http.aclose()


async def test_a_chat_goes_through(user: User, proxied: Proxied) -> None:
    origin = f"https://127.0.0.1:{proxied.port}"  # as the chat page's, whose origin is the proxy
    async with user.connect(additional_headers={"Origin": origin}) as chat:
        assert text_of(await chat.run("hello through the proxy")) == "hello through the proxy"
    with pytest.raises(InvalidStatus) as refused:
        async with user.connect(additional_headers={"Origin": "https://evil.example.com"}):
            pass
    assert refused.value.response.status_code == 403


async def test_events_come_one_by_one(user: User) -> None:
    steps = program({"do": "deltas", "count": 2, "delay_ms": 1_000})
    async with user.stream("POST", "/v1/agents/scripted/run", json=run_input("t1", "r1", steps)) as stream:
        await stream.until("TEXT_MESSAGE_CONTENT")
        run = await user.get("/v1/threads/t1/runs/r1")
        assert run["status"] == "running"
        assert (await stream.rest())[-1].type == "RUN_FINISHED"


async def test_a_body_that_is_too_large_is_refused_in_our_words(user: User) -> None:
    answer = await user.http.post("/v1/agents/echo/run", json=run_input("t1", "r1", "x" * (1 << 20)))
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


async def test_each_client_counts_by_its_own_address(user: User) -> None:
    async with AsyncExitStack() as stack:
        for number in (2, 3):  # 1 is the proxy's own, which is trusted
            address = (f"127.0.0.{number}", 0)
            await stack.enter_async_context(user.connect(local_addr=address))
            with pytest.raises(InvalidStatus) as refused:
                await stack.enter_async_context(user.connect(local_addr=address))
            assert json.loads(refused.value.response.body or b"")["code"] == "rate_limited"
            # What a client says about itself is not believed.
            with pytest.raises(InvalidStatus):
                await stack.enter_async_context(
                    user.connect(local_addr=address, additional_headers={"X-Forwarded-For": "203.0.113.7"})
                )


async def test_the_figures_are_kept_from_the_outside(user: User) -> None:
    assert (await user.http.get("/metrics")).status_code == 404
    assert (await user.http.get("/readyz")).status_code == 200
