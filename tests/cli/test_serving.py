"""What `goldenpath serve` listens on: TLS, a Unix socket, behind a proxy; whose options win; what a host app keeps."""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import unix_connect
from websockets.exceptions import InvalidStatus

from goldenpath import App
from goldenpath.cli.serve import GC_THRESHOLDS
from goldenpath.runtime.settings import Settings, SettingsError
from tests.certificate import make_certificate
from tests.gateway.users import User, run_input
from tests.serverprocess import SIMULATION_KEY, ServerProcess
from tests.wsclient import WsClient, connected, text_of

Launch = Callable[..., ServerProcess]


async def test_tls_serves_https_and_wss(launch: Launch, tmp_path: Path) -> None:
    server = launch(**make_certificate(tmp_path).env)
    user = User(server)
    assert (await user.get("/v1/auth/me"))["user_id"] == user.id
    assert [message.type for message in await user.run("t1", "r1")][-1] == "RUN_FINISHED"
    async with user.connect() as socket:
        assert text_of(await socket.run("hello " * 2_000)) == "hello " * 2_000
    await user.http.aclose()
    # Who does not speak TLS, or does not know the certificate, gets nothing.
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{server.port}/livez", trust_env=False)
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(f"{server.url}/livez", trust_env=False)
    assert server.stop() == 0


# --- a Unix socket ----------------------------------------------------------------------------------------------------


class Local:
    """A user at the other end of a Unix socket. `forwarded` is what the proxy there says of the client."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        transport = httpx.AsyncHTTPTransport(uds=self.path, verify=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://goldenpath", timeout=20)

    async def log_in(self) -> str:
        answer = await self.http.post(
            "/v1/auth/simulate", json={"email": "local@example.org"}, headers={"X-Simulation-Key": SIMULATION_KEY}
        )
        token: str = answer.json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"
        return token

    @asynccontextmanager
    async def connect(self, token: str, forwarded: str | None = None) -> AsyncIterator[WsClient]:
        headers = {"Authorization": f"Bearer {token}"} | ({"X-Forwarded-For": forwarded} if forwarded else {})
        async with unix_connect(self.path, "ws://goldenpath/v1/ws", additional_headers=headers) as connection:
            yield WsClient(connection)


async def test_a_unix_socket_serves_http_sse_and_websocket(launch: Launch, socket_path: Path) -> None:
    server = launch(uds=str(socket_path))
    local = Local(socket_path)
    token = await local.log_in()
    answer = await local.http.post("/v1/agents/echo/run", json=run_input("t1", "r1"))
    assert '"type":"RUN_FINISHED"' in answer.text
    async with local.connect(token) as socket:
        assert text_of(await socket.run("hello", thread_id="t1")) == "hello"
        server.signal(15)
        assert await socket.closed() == (1001, "the server is shutting down")
    assert server.wait() == 0
    await local.http.aclose()


async def test_a_unix_socket_bounds_a_request_s_head_too(launch: Launch, socket_path: Path) -> None:
    launch(uds=str(socket_path))
    local = Local(socket_path)
    answer = await local.http.get("/livez", headers={"X-Long": "x" * 70_000})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    await local.http.aclose()


# --- proxies ----------------------------------------------------------------------------------------------------------


def code_of(refusal: InvalidStatus) -> str:
    code: str = json.loads(refusal.response.body or b"")["code"]
    return code


async def let_in(server: ServerProcess, forwarded: list[str], **headers: str) -> list[str]:
    """Connect once for each forwarded address, all at a time; "in" or the code of the refusal."""
    token = server.tokens("behind@example.org")["access_token"]
    found = []
    async with AsyncExitStack() as stack:
        for address in forwarded:
            extra = {"X-Forwarded-For": address, **headers}
            try:
                await stack.enter_async_context(connected(server.ws_url, token, additional_headers=extra))
            except InvalidStatus as refusal:
                found.append(code_of(refusal))
            else:
                found.append("in")
    return found


A, B = "198.51.100.1", "203.0.113.9"


@pytest.mark.parametrize(
    ("trusted", "forwarded", "found"),
    [
        ("", [A, B, A], ["in", "rate_limited", "rate_limited"]),
        ("10.0.0.0/8", [A, B], ["in", "rate_limited"]),
        ("127.0.0.0/8", [A, B, A], ["in", "in", "rate_limited"]),
        ("127.0.0.1", [f"{A}, {B}", B, A], ["in", "rate_limited", "in"]),  # a client may write the first part itself
        ("127.0.0.1", ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], ["in", "rate_limited", "in"]),
        ("unix", [A, B], ["in", "rate_limited"]),
    ],
)
async def test_a_forwarded_address_counts_only_from_a_trusted_proxy(
    launch: Launch, trusted: str, forwarded: list[str], found: list[str]
) -> None:
    server = launch(GOLDENPATH_TRUSTED_PROXIES=trusted, GOLDENPATH_MAX_CONNECTIONS_PER_ADDRESS="1")
    assert await let_in(server, forwarded) == found


async def test_the_other_end_of_a_unix_socket_may_be_trusted(launch: Launch, socket_path: Path) -> None:
    launch(uds=str(socket_path), GOLDENPATH_TRUSTED_PROXIES="unix", GOLDENPATH_MAX_CONNECTIONS_PER_ADDRESS="1")
    local = Local(socket_path)
    token = await local.log_in()
    async with local.connect(token, A), local.connect(token, B):
        with pytest.raises(InvalidStatus) as refused:
            async with local.connect(token, A):
                pass
        assert refused.value.response.status_code == 429
    await local.http.aclose()


async def test_the_origin_is_compared_with_the_host_that_the_client_named(launch: Launch) -> None:
    """X-Forwarded-Host is believed of nobody: a proxy passes Host on, or the origin is allowed by a setting."""
    server = launch(GOLDENPATH_TRUSTED_PROXIES="*", GOLDENPATH_ALLOWED_ORIGINS='["https://allowed.example.com"]')
    own = f"127.0.0.1:{server.port}"
    for origin, forwarded, found in (
        (f"http://{own}", {}, "in"),
        (f"https://{own}", {"X-Forwarded-Proto": "https"}, "in"),  # the proxy ended TLS
        ("https://allowed.example.com", {}, "in"),
        ("https://evil.example.com", {}, "forbidden"),
        ("https://evil.example.com", {"X-Forwarded-Host": "evil.example.com"}, "forbidden"),
        ("https://evil.example.com", {"Forwarded": "host=evil.example.com;proto=https"}, "forbidden"),
    ):
        assert await let_in(server, [A], Origin=origin, **forwarded) == [found], (origin, forwarded)


# --- whose settings count ---------------------------------------------------------------------------------------------


async def test_options_win_over_the_settings_of_an_app_and_these_over_the_environment(
    launch: Launch, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(
        "from goldenpath import App\n"
        "from goldenpath.runtime.settings import Settings\n\n"
        "app = App(Settings(environment='testing', port=1, host='127.0.0.1', heartbeat=7.0, data_dir='elsewhere',\n"
        "                   simulation_key='simulation-key-for-tests'))\n"
    )
    server = launch(target="app:app", GOLDENPATH_HEARTBEAT="9", GOLDENPATH_HOST="203.0.113.9", GOLDENPATH_PROT="1")
    assert server.data_dir.is_dir()
    assert not (tmp_path / "elsewhere").exists()
    user = User(server)
    async with user.connect() as socket:
        assert (await socket.welcome())["heartbeat"] == 7.0
    await user.http.aclose()


def test_settings_of_an_app_are_checked_like_any_others() -> None:
    with pytest.raises(SettingsError, match="GOLDENPATH_PORT"):
        App(Settings(port=-1)).build()
    with pytest.raises(SettingsError, match=r"^--tls-cert and GOLDENPATH_TLS_KEY must be set together$"):
        App(Settings()).build(tls_cert="cert.pem")


# --- the garbage collector --------------------------------------------------------------------------------------------

REPORT = """
import gc
import json

from goldenpath import App, Run

app = App()


@app.agent("collector")
async def collector(run: Run) -> None:
    await run.text(json.dumps([gc.get_threshold(), gc.get_freeze_count() > 10_000]))
"""


async def test_serve_tunes_the_collector_of_its_own_process(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(REPORT)
    user = User(launch(target="app:app"))
    async with user.connect() as socket:
        found: Any = json.loads(text_of(await socket.run("now", agent="collector")))
    assert found == [list(GC_THRESHOLDS), True]
    await user.http.aclose()


async def test_a_host_app_keeps_its_collector_as_it_is(tmp_path: Path) -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    async with App(Settings(environment="testing", data_dir=str(tmp_path / "data"))).lifespan():
        assert (gc.get_threshold(), gc.get_freeze_count()) == before


# --- faults of ours ---------------------------------------------------------------------------------------------------

BREAKS = {
    "check": "from goldenpath.runtime.gateway.gateway import Gateway as place\nname = 'authenticate'",
    "hand-over": "from goldenpath.runtime.gateway import http_protocol as place\nname = 'hand_over'",
}


@pytest.mark.parametrize("broken", BREAKS)
async def test_an_upgrade_that_fails_is_answered(start_server: Launch, tmp_path: Path, broken: str) -> None:
    (tmp_path / "app.py").write_text(
        f"from goldenpath import App\n{BREAKS[broken]}\n\n"
        "def fail(*_):\n    raise ZeroDivisionError\n\nsetattr(place, name, fail)\napp = App()\n"
    )
    server = start_server(target="app:app", cwd=tmp_path)
    token = server.tokens("somebody@example.org")["access_token"]
    for _ in range(3):
        with pytest.raises(InvalidStatus) as refused:
            async with connected(server.ws_url, token):
                pass
        assert refused.value.response.status_code == 500
        assert code_of(refused.value) == "internal"
    assert "ZeroDivisionError" in server.log()
    assert httpx.get(f"{server.url}/health", trust_env=False).json()["connections"]["connected"] == 0
    assert server.stop() == 0
