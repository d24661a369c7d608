"""Each check finds what there is: real files, a real database that is damaged, real answers over the network."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from aiohttp import web

from goldenpath import App, Settings
from goldenpath.clock import ManualClock, SystemClock
from goldenpath.runtime.deadlines import Deadlines
from goldenpath.runtime.settings import Issuer
from goldenpath.runtime.startup import DefiniteNo, NotSo, NotYet, StartupError, look
from goldenpath.runtime.startup_checks import checks_of
from goldenpath.runtime.timeouts import CurrentTimeouts

KEY = {"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


async def found(name: str, **settings: Any) -> str | NotSo:
    """What the check `name` of these settings finds."""
    deadlines = Deadlines(SystemClock(), CurrentTimeouts(Settings(environment="production").timeouts))
    checks = {check.name: check for check in checks_of(Settings(**settings), deadlines, serving=False)}
    return await look(checks[name], deadlines)


@asynccontextmanager
async def answering(path: str, status: int, body: object = None) -> AsyncIterator[str]:
    """A web server that answers `path` so. Yields its address."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    app = web.Application()
    app.router.add_get(path, answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "expected", "kind"),
    [
        (200, "answers", str),
        (404, "answers", str),
        (401, "it refuses the key (401)", DefiniteNo),
        (503, "it answers 503", NotYet),
    ],
)
async def test_a_model_endpoint_is_asked_for_its_models(status: int, expected: str, kind: type) -> None:
    async with answering("/v1/models", status) as url:
        result = await found("model endpoint", openai_base_url=f"{url}/v1", openai_model="m", openai_api_key="k")
    assert (str(result), type(result)) == (expected, kind)


async def test_a_key_that_no_request_can_hold_is_a_definite_no() -> None:
    async with answering("/v1/models", 200) as url:
        result = await found(
            "model endpoint", openai_base_url=f"{url}/v1", openai_model="m", openai_api_key="sk-cl\u00e9"
        )
    assert isinstance(result, DefiniteNo)
    assert "GOLDENPATH_OPENAI_API_KEY" in result.advice


async def test_a_model_endpoint_that_nobody_listens_at_may_come_up() -> None:
    async with answering("/", 200) as url:
        pass  # nobody listens there any more
    result = await found("model endpoint", openai_base_url=url, openai_model="m")
    assert isinstance(result, NotYet)
    assert str(result) == "no answer (ConnectError)"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [(200, {"keys": [KEY]}, str), (200, {"keys": []}, DefiniteNo), (500, {}, NotYet)],
)
async def test_an_identity_provider_must_have_keys(status: int, body: object, kind: type) -> None:
    async with answering("/keys", status, body) as url:
        issuer = Issuer("https://login.example.com", "us", f"{url}/keys", algorithms=("EdDSA",))
        result = await found("identity provider:https://login.example.com", issuers=(issuer,))
    assert type(result) is kind


@pytest.mark.parametrize("what", ["model endpoint", "identity provider:https://login.example.com"])
async def test_an_answer_is_waited_for_as_long_as_the_time_outs_in_force_say_and_then_counted(what: str) -> None:
    async with silent() as url:
        issuer = Issuer("https://login.example.com", "us", f"{url}/keys", algorithms=("EdDSA",))
        settings = Settings(environment="production", openai_base_url=url, openai_model="m", issuers=(issuer,))
        current = CurrentTimeouts(settings.timeouts)
        deadlines = Deadlines(SystemClock(), current)
        checks = {check.name: check for check in checks_of(settings, deadlines, serving=False)}
        current.replace(msgspec.structs.replace(settings.timeouts, api_response=0.05), "rolled back")
        result = await look(checks[what], deadlines)
    assert (str(result), type(result)) == ("no answer within 0.05 s", NotYet)
    assert (deadlines.statistics().api_response, deadlines.statistics().health_check) == (1, 0)


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """A server that takes connections and answers nothing. Yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def make_database(folder: Path) -> Path:
    app = App(Settings(environment="testing", data_dir=str(folder)))
    async with app.lifespan():
        await app.build().recovery.done.wait()
    return folder / "goldenpath.db"


async def test_a_sound_database_is_found_sound(tmp_path: Path) -> None:
    await make_database(tmp_path)
    assert str(await found("database", data_dir=str(tmp_path))) == "0 MiB, no damage"
    assert str(await found("database", data_dir=str(tmp_path / "new"))) == "will be made at the first start"


async def test_a_damaged_database_is_a_definite_no_and_stops_the_start(tmp_path: Path) -> None:
    path = await make_database(tmp_path)
    with sqlite3.connect(path) as connection:  # so that the damage is not in the way of opening it
        connection.execute("CREATE TABLE filler (text)")
        connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 1000,)] * 1000)
    connection.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 50 * 4096)
        file.write(os.urandom(10 * 4096))
    result = await found("database", data_dir=str(tmp_path))
    assert isinstance(result, DefiniteNo)
    assert str(result).startswith(f"{path} is damaged")
    app = App(Settings(environment="testing", data_dir=str(tmp_path)))
    with pytest.raises(StartupError, match="is damaged"):
        async with app.lifespan():
            pass


async def test_a_signing_key_that_is_cut_off_is_a_definite_no(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("short")
    result = await found("signing key", data_dir=str(tmp_path))
    assert isinstance(result, DefiniteNo)
    (tmp_path / "secret").write_text("x" * 32)
    assert await found("signing key", data_dir=str(tmp_path)) == str(tmp_path / "secret")


async def test_a_server_in_use_is_looked_at_without_disturbing_it(tmp_path: Path) -> None:
    app = App(Settings(environment="testing", data_dir=str(tmp_path)))
    async with app.lifespan():
        server = app.build()
        assert str(await found("database", data_dir=str(tmp_path))) in {"in use", "0 MiB, no damage"}
        assert {finding.verdict for finding in server.startup.findings()} <= {"ok", "warning"}
        assert [finding.what for finding in server.startup.findings()] == ["data directory", "signing key", "database"]


async def test_a_server_whose_model_endpoint_is_missing_starts_and_says_so(tmp_path: Path) -> None:
    async with answering("/", 200) as url:
        pass
    settings = Settings(environment="testing", data_dir=str(tmp_path), openai_base_url=url, openai_model="m")
    app = App(settings)
    async with app.lifespan():
        server = app.build()
        async with asyncio.timeout(10):
            while server.startup.findings()[-1].found == "not looked at yet":
                await asyncio.sleep(0.01)
        assert server.startup.findings()[-1].verdict == "waiting"
        assert server.startup.ready


async def test_in_the_cloud_no_traffic_comes_before_what_is_started_beside_it_is_there(tmp_path: Path) -> None:
    clock = ManualClock()
    async with answering("/v1/models", 200) as url:
        pass
    settings = Settings(
        environment="staging",
        secret="s" * 32,
        data_dir=str(tmp_path),
        openai_base_url=f"{url}/v1",
        openai_model="m",
    )
    app = App(settings, clock=clock)
    async with app.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        server = app.build()
        await server.recovery.done.wait()
        waits = await client.get("/readyz")
        assert (waits.status_code, waits.json()["detail"]) == (503, "the server waits for what it depends on")
        async with asyncio.timeout(20):
            while not server.startup.ready:
                clock.advance(1.0)
                await asyncio.sleep(0.01)
        assert (await client.get("/readyz")).status_code == 200
        health = (await client.get("/health")).json()
        assert health["status"] == "degraded"
        assert health["breaches"] == ["model endpoint is there"]
        assert health["dependencies"][-1] == {"what": "model endpoint", "verdict": "problem"}
        assert server.signals.read("startup_failures", 0.0) == 1.0
