"""`goldenpath lab run` against servers that do not do what servers do: a reason, a report, no pass, no traceback."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.lab.targets.impostor import CLOSE, OK, Answer, http, impostor, upgraded

TOKENS = '{"user_id":"u","access_token":"t","refresh_token":"r","token_type":"Bearer","expires_in":900}'
PROBLEM = '{"code":"unauthorized","detail":"no such user","definite":true}'


def after_login(handshake: bytes | None) -> Answer:
    """Log-ins work; the upgrade is answered with `handshake` (None: a right one, then silence and the end)."""

    def answer(path: str, key: str) -> bytes:
        if not key:
            return http("200 OK", TOKENS)
        return upgraded(key) if handshake is None else handshake

    return answer


async def lab(port: int, out: Path) -> tuple[int, str, str]:
    """Exit code, and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "goldenpath.cli", "lab", "run", "golden_path", "--users", "3"),
        *("--target", f"http://127.0.0.1:{port}", "--out", str(out)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        said, complained = await process.communicate()
    return process.returncode or 0, " ".join(said.decode().split()), complained.decode()


@pytest.mark.parametrize(
    ("answer", "looked", "reason"),
    [
        (lambda _path, _key: http("401 Unauthorized", PROBLEM), OK, "unauthorized"),
        (lambda _path, _key: http("500 Internal Server Error", "oops", "text/plain"), OK, "500"),
        (lambda _path, _key: http("200 OK", "<html>", "text/html"), OK, "garbage, e.g. the answer to the login is no"),
        (lambda _path, _key: b"\x00\x01 nonsense\r\n\r\n", OK, "/v1/auth/login: Bad status line: Expected HTTP/"),
        (lambda _path, _key: CLOSE, OK, "disconnected"),
        (after_login(CLOSE), OK, "disconnected"),
        (after_login(http("403 Forbidden", PROBLEM)), OK, "unauthorized"),
        (after_login(None), OK, "disconnected"),
        (after_login(None), http("503 Service Unavailable", PROBLEM), "503"),
    ],
    ids=[
        "refuses log-ins",
        "fails",
        "answers a page",
        "answers garbage",
        "closes",
        "closes in the handshake",
        "refuses the upgrade",
        "closes after the handshake",
        "is not ready",
    ],
)
async def test_what_was_wrong_is_said_and_nothing_is_a_pass(
    answer: Answer, looked: bytes, reason: str, tmp_path: Path
) -> None:
    async with impostor(answer, looked=looked) as port:
        code, said, complained = await lab(port, tmp_path)
    assert code in (1, 2), said
    assert reason in said
    assert complained == ""
    assert "Traceback" not in said
    assert "\\n" not in said  # a message of one line, as it is shown
    assert "run-p99" not in said or "unknown, nothing was measured: " in said
    assert (tmp_path / "report.html").exists()
