"""`goldenpath serve` against bytes that are no good HTTP: a problem document or a cut, and nobody else notices."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.gateway.rawsocket import RawSocket, raw
from tests.serverprocess import ServerProcess


def post(head: str, body: bytes = b"", path: str = "/v1/auth/login") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode("latin-1") + body


async def is_alive(server: ServerProcess) -> None:
    async with raw(server) as socket:
        await socket.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await socket.answer()).status == 200


NOT_HTTP = {
    "zeros": b"\0" * 100,
    "all bytes": bytes(range(256)),
    "a TLS hello": bytes.fromhex("16030100a5010000a10303") + b"x" * 150,
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\n\r\n",
    "HTTP/1.11": b"GET / HTTP/1.11\r\n\r\n",
    "HTTP/2.0": b"GET /livez HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"GET /livez HTTP/0.9\r\nHost: x\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "no HTTP": b"HELO example.org\r\n",
    "an unknown method": b"FROB / HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a blank in the path": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that is not ASCII": b"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a zero in a header": b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "a blank in a header's name": b"GET /livez HTTP/1.1\r\nHost: x\r\nX y: z\r\n\r\n",
    "a header without a name": b"GET /livez HTTP/1.1\r\nHost: x\r\n: z\r\n\r\n",
    "a folded header": b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    "bare line feeds": b"GET /livez HTTP/1.1\nHost: x\n\n",
    "a negative length": post("Content-Length: -5"),
    "a length of letters": post("Content-Length: five"),
    "a length beyond numbers": post("Content-Length: 99999999999999999999999"),
    "two lengths": post("Content-Length: 2\r\nContent-Length: 3", b"{}"),
    "length and chunks": post("Content-Length: 2\r\nTransfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
    "a chunk without a size": post("Transfer-Encoding: chunked", b"zz\r\n{}\r\n0\r\n\r\n"),
    "a long header": b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    "a long path": b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "many small headers": b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"a:b\r\n" * 300 + b"\r\n",
    "many headers": b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Name: value\r\n" * 8_000 + b"\r\n",
}


@pytest.mark.parametrize("name", NOT_HTTP)
async def test_what_is_not_http_is_a_problem_and_the_end(server: ServerProcess, name: str) -> None:
    async with raw(server) as socket:
        await socket.send(NOT_HTTP[name])
        answer = await socket.answer()
        assert answer.status == 400
        assert answer.problem()["code"] == "bad_request"
        assert answer.headers["connection"] == "close"
        assert await socket.cut() == b""
    await is_alive(server)


async def test_http_1_0_needs_no_host(server: ServerProcess) -> None:
    async with raw(server) as socket:
        await socket.send(b"GET /livez HTTP/1.0\r\n\r\n")
        assert (await socket.answer()).status == 200
        assert await socket.cut() == b""


async def test_a_head_may_have_64_kib(server: ServerProcess) -> None:
    async with raw(server) as socket:
        await socket.send(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 65_000 + b"\r\n\r\n")
        assert (await socket.answer()).status == 200


@pytest.mark.parametrize(
    "start", [b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ", b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\nX"]
)
async def test_a_head_without_end_is_refused_before_it_ends(server: ServerProcess, start: bytes) -> None:
    async with raw(server) as socket:
        await socket.send(start, b"y" * 40_000, b"y" * 40_000)
        assert (await socket.answer()).problem()["code"] == "bad_request"
        assert await socket.cut() == b""


async def test_a_body_that_is_announced_too_big_is_refused_without_it(server: ServerProcess) -> None:
    for extra in ("", "\r\nExpect: 100-continue"):
        async with raw(server) as socket:
            await socket.send(post(f"Content-Length: 9999999999{extra}"))
            assert (await socket.answer()).problem()["code"] == "payload_too_large"


async def test_a_chunked_body_is_cut_off_at_its_limit(server: ServerProcess) -> None:
    async with raw(server) as socket:
        await socket.send(post("Transfer-Encoding: chunked"))
        for _ in range(40):
            await socket.send(b"10000\r\n" + b" " * 65_536 + b"\r\n")
        assert (await socket.answer()).problem()["code"] == "payload_too_large"


async def test_a_thousand_chunks_of_one_byte_are_a_body(server: ServerProcess) -> None:
    body = b'{"email":"nobody@example.org","password":"' + b"x" * 900 + b'"}'
    async with raw(server) as socket:
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
        await socket.send(post("Transfer-Encoding: chunked"), chunks + b"0\r\n\r\n")
        assert (await socket.answer()).problem()["code"] == "unauthorized"


async def test_a_body_in_parts_of_one_byte_takes_the_time_of_a_small_one(server: ServerProcess) -> None:
    async with raw(server) as socket:
        await socket.send(post("Transfer-Encoding: chunked"), b"1\r\na\r\n" * 160_000)
        assert (await socket.answer()).problem()["code"] == "bad_request"
        await socket.cut()
    await is_alive(server)


async def test_larger_parts_may_be_as_many_as_the_body_is_large(server: ServerProcess) -> None:
    part = b"100\r\n" + b" " * 256 + b"\r\n"
    async with raw(server) as socket:
        await socket.send(post("Transfer-Encoding: chunked"), part * 4_000 + b"2\r\n{}\r\n0\r\n\r\n")
        answer = (await socket.answer()).problem()
    assert "email" in answer["detail"]


async def test_headers_after_the_body_are_counted_with_those_before_it(server: ServerProcess) -> None:
    async with raw(server) as socket:
        await socket.send(post("Transfer-Encoding: chunked"), b"2\r\n{}\r\n0\r\n" + b"a:b\r\n" * 100_000)
        assert (await socket.answer()).problem()["code"] == "bad_request"
        await socket.cut()
    await is_alive(server)


async def test_a_client_that_leaves_in_the_middle_of_a_request_leaves_nothing(server: ServerProcess) -> None:
    whole = post("Content-Length: 50", b"{" * 50)
    for length in range(0, len(whole), 7):
        async with raw(server) as socket:
            await socket.send(whole[:length])
            socket.finish()
            await socket.cut()
    await is_alive(server)


async def test_pipelined_requests_are_answered_in_order(server: ServerProcess) -> None:
    async with raw(server) as socket:
        await socket.send(
            b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        assert [(await socket.answer()).status for _ in range(3)] == [200, 404, 200]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/threads/%00", "bad_request"),
        ("/v1/threads/a%0A", "bad_request"),
        ("/v1/threads/%zz", "bad_request"),
        ("/v1/threads/%ff%fe", "bad_request"),
        ("/v1/threads/" + "x" * 5000, "bad_request"),
        ("/v1/threads?limit=%ff", "bad_request"),
        ("/v1/threads?limit=" + "9" * 5000, "bad_request"),
        ("/v1/threads?cursor=" + "x" * 5000, "bad_request"),
        ("/v1/threads?" + "&".join(f"x{number}=y" for number in range(3000)) + "&limit=0", "bad_request"),
        ("//", "not_found"),
        ("/../../etc/passwd", "not_found"),
        ("/assets/..%2f..%2fsite.py", "not_found"),
        ("http://example.org/nothing", "not_found"),
    ],
)
async def test_strange_paths_are_problems(server: ServerProcess, token: str, path: str, code: str) -> None:
    async with raw(server) as socket:
        await socket.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode("latin-1"))
        assert (await socket.answer()).problem()["code"] == code


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer \xff",
        "Bearer " + "x" * 60_000,
        "Basic eDp5",
        "x",
        "Bearer a b",
        ",",
        "Bearer\t",
    ],
)
async def test_strange_authorization_is_unauthorized(server: ServerProcess, value: str) -> None:
    async with raw(server) as socket:
        await socket.send(f"GET /v1/auth/me HTTP/1.1\r\nHost: x\r\nAuthorization: {value}\r\n\r\n".encode("latin-1"))
        answer = await socket.answer()
        assert answer.problem()["code"] == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"threadId":"\xff"}', "the body is not UTF-8"),
        (b'{"state":' + b"[" * 100_000, "the body is nested deeper than 128"),
        (b'{"messages":[],"state":' + b"[" * 129 + b"]" * 129 + b"}", "the body is nested deeper than 128"),
    ],
)
async def test_what_is_wrong_with_a_body_is_said_in_our_words(
    server: ServerProcess, token: str, body: bytes, detail: str
) -> None:
    head = f"POST /v1/agents/echo/run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    async with raw(server) as socket:
        await socket.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        problem = (await socket.answer()).problem()
        assert (problem["code"], problem["detail"]) == ("bad_request", detail)


async def test_two_authorization_headers_are_refused(server: ServerProcess, token: str) -> None:
    """Whoever stands in front may take the other one."""
    headers = f"Authorization: Bearer {token}\r\nAuthorization: Bearer x\r\n"
    async with raw(server) as socket:
        await socket.send(f"GET /v1/auth/me HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode("latin-1"))
        assert (await socket.answer()).problem()["code"] == "bad_request"


async def test_five_hundred_half_requests_at_once_keep_nobody_from_being_served(server: ServerProcess) -> None:
    halves = [
        b"",
        b"G",
        b"GET /livez HT",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX:",
        post("Content-Length: 100", b'{"em'),
    ]
    open_sockets: list[RawSocket] = []
    try:
        for number in range(500):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(halves[number % len(halves)])
            open_sockets.append(RawSocket(reader, writer))
        await is_alive(server)
    finally:
        for socket in open_sockets:
            socket.writer.transport.abort()


async def test_garbage_of_every_length_kills_nobody(server: ServerProcess) -> None:
    source = random.Random(7)
    for number in range(300):
        data = source.randbytes(source.choice([1, 10, 100, 1000, 70_000]))
        async with raw(server) as socket:
            await socket.send(data if number % 2 else b"GET /" + data)
            socket.finish()
            assert b"Traceback" not in await socket.cut()
    await is_alive(server)
