"""A target that says again whatever it was told, in refusals and in streams: none of it is stored or shown."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from goldenpath.lab.hiding import Hiding
from goldenpath.lab.targets.secrets import secrets_of_header, secrets_of_json, secrets_of_url
from tests.lab.targets.impostor import http
from tests.lab.targets.reflecting import Reflecting, reflecting

SECRETS = ("open-barley", "open-sesame", "open-wheat", "token-of-anybody")

MAPPING = """
url = "ws://127.0.0.1:{port}/chat/{{token}}/${{KEY}}"
send = {{ say = "{{text}}" }}
[read]
kind = "is"
delta = ["word"]
end = ["done"]
text = "text"
[login]
url = "http://127.0.0.1:{port}/login"
json = {{ name = "user-{{user}}", password = "open-wheat" }}
{token}
"""


def everything(out: Path, *arguments: str) -> dict[str, bytes]:
    """What a run leaves, by file, with what it says."""
    command = [sys.executable, "-m", "goldenpath.cli", "lab", "run", "golden_path", "--users", "1", "--out", "out"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=out,
        env={**os.environ, "KEY": "open-barley"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode in (1, 2), done.stdout + done.stderr
    files = {str(path): path.read_bytes() for path in (out / "out").rglob("*") if path.is_file()}
    assert len(files) > 10
    return {**files, "terminal": (done.stdout + done.stderr).encode()}


def leaks(files: dict[str, bytes]) -> list[tuple[str, str]]:
    return [(name, secret) for name, content in files.items() for secret in SECRETS if secret.encode() in content]


def refused(request: bytes) -> bytes:
    said = request.decode().replace('"', "'").replace("\r\n", " ")
    return http("401 Unauthorized", f'{{"code":"unauthorized","detail":"not with {said}"}}')


def streamed(request: bytes) -> bytes:
    found = re.search(rb"open-barley", request)
    assert found is not None
    body = b'data: {"type":"CUSTOM","name":"you said","value":"%s"}\n\n' % found[0]
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + body


def token(request: bytes) -> bytes:
    if b"/chat/" in request:
        return refused(request.split(b"\r\n")[0])
    return http("200 OK", '{"token":"token-of-anybody"}')


@pytest.mark.parametrize("answer", [refused, streamed])
async def test_a_header_is_not_stored_when_it_comes_back(answer: Reflecting, tmp_path: Path) -> None:
    headers = ["--header", "X-Key: ${KEY}", "--header", "Authorization: Bearer open-sesame"]
    async with reflecting(answer) as port:
        files = await run(everything, tmp_path, "--target", f"agui+http://127.0.0.1:{port}/${{KEY}}", *headers)
    assert leaks(files) == []
    stored = b"".join(content for name, content in files.items() if name.endswith(".bin"))
    assert b"***********" in stored  # it came, and it is seen that it did


@pytest.mark.parametrize(
    ("answer", "line"),
    [(refused, 'token = "token"'), (token, 'token = "token"'), (token, "")],
    ids=["in a refusal", "in a URL", "as a token that nobody asked for"],
)
async def test_what_a_mapping_knows_is_not_stored_when_it_comes_back(
    answer: Reflecting, line: str, tmp_path: Path
) -> None:
    async with reflecting(answer) as port:
        mapping = MAPPING.format(port=port, token=line)
        if not line:
            mapping = mapping.replace("/{token}", "")
        (tmp_path / "chat.toml").write_text(mapping)
        files = await run(everything, tmp_path, "--target", "ws+chat.toml")
    assert leaks(files) == []


async def test_a_redirect_takes_no_secret_away(tmp_path: Path) -> None:
    asked: list[bytes] = []

    def elsewhere(request: bytes) -> bytes:
        asked.append(request)
        return http("200 OK", "{}")

    async with reflecting(elsewhere) as port:
        moved = f"HTTP/1.1 307 Moved\r\nLocation: http://localhost:{port}/\r\nContent-Length: 0\r\n\r\n".encode()
        async with reflecting(lambda _: moved) as first:
            target = f"agui+http://127.0.0.1:{first}/agent"
            files = await run(everything, tmp_path, "--target", target, "--header", "X-Key: ${KEY}")
    assert asked == []
    assert b"ask: 1 not ok: redirected, e.g. 307" in files["terminal"]


async def run(work: Callable[..., dict[str, bytes]], *arguments: object) -> dict[str, bytes]:
    return await asyncio.to_thread(work, *arguments)


def test_what_is_known_is_hidden_at_the_same_length() -> None:
    hiding = Hiding({"open sesame": "${KEY}", "abc": "***"}, {1: "token-1", 2: "token-2"})
    assert hiding.text("open sesame, open%20sesame, abc, token-1", 1) == "${KEY}, ${KEY}, abc, ***"
    assert hiding.answer(b"<open sesame> <token-1> <token-2>", 1) == b"<***********> <*******> <token-2>"
    assert hiding.piece(b"token-1") == b"token-1"
    assert not Hiding({}).knows


def test_what_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "open-barley")
    assert secrets_of_header("Authorization", "Bearer open-sesame") == {"open-sesame": "***"}
    assert secrets_of_header("X-Key", "${KEY}; open-sesame") == {"open-barley": "${KEY}", "open-sesame": "***"}
    assert secrets_of_header("Accept", "text/html") == {}
    assert secrets_of_url("http://me:open-wheat@h/${KEY}?key=open-sesame&x=1") == {
        "open-wheat": "***",
        "open-sesame": "***",
        "open-barley": "${KEY}",
    }
    assert secrets_of_json({"name": "user-{user}", "password": "open-wheat-{user}"}) == {"open-wheat-": "***"}
