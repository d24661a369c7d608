from __future__ import annotations

import httpx
import pytest

from goldenpath.client import Client, ConnectionLost, ProtocolViolation, RequestError
from goldenpath.client.api import refusal


def answering(status: int, body: bytes = b"", *, seen: list[httpx.Request] | None = None) -> httpx.AsyncClient:
    """HTTP without a network: every request gets this answer."""

    def answer(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        return httpx.Response(status, content=body)

    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "bad_request"),
        (401, "unauthorized"),
        (404, "bad_request"),
        (429, "rate_limited"),
        (500, "internal"),
        (502, "internal"),
        (503, "overloaded"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"\xff", b"[1]"])
def test_an_answer_without_a_problem_document_is_judged_by_its_status(status: int, code: str, body: bytes) -> None:
    assert refusal(status, body).code == code


async def test_a_problem_document_says_what_is_raised() -> None:
    body = (
        b'{"type":"urn:goldenpath:error:quota_exceeded","title":"Quota exceeded","status":429,"detail":"too much",'
        b'"code":"quota_exceeded","retryable":true,"retry_after":2.5}'
    )
    async with answering(429, body) as http, Client("http://server", token="t", http=http) as client:
        with pytest.raises(RequestError, match="too much") as caught:
            await client.api.agents()
        assert (caught.value.code, caught.value.retry_after) == ("quota_exceeded", 2.5)


async def test_names_are_quoted_and_the_token_is_sent() -> None:
    seen: list[httpx.Request] = []
    async with answering(204, seen=seen) as http, Client("http://server/base/", token="t", http=http) as client:
        await client.api.delete_thread("a/../b?c")
    assert seen[0].url.raw_path == b"/base/v1/threads/a%2F..%2Fb%3Fc"
    assert seen[0].headers["authorization"] == "Bearer t"


async def test_an_answer_of_another_shape_is_a_violation() -> None:
    async with answering(200, b"[]") as http, Client("http://server", token="t", http=http) as client:
        with pytest.raises(ProtocolViolation, match="/v1/auth/me"):
            await client.api.me()


async def test_a_server_that_is_not_there_is_a_lost_connection_without_effect() -> None:
    async with Client("http://127.0.0.1:1", token="t") as client:
        with pytest.raises(ConnectionLost) as caught:
            await client.api.me()
        assert caught.value.definite


async def test_without_a_login_nothing_is_asked_of_the_server() -> None:
    seen: list[httpx.Request] = []
    async with answering(200, seen=seen) as http, Client("http://server", http=http) as client:
        with pytest.raises(RequestError) as caught:
            await client.api.me()
        assert caught.value.code == "unauthorized"
    assert seen == []


@pytest.mark.parametrize("url", ["ws://host", "host:80", "ftp://host", ""])
def test_a_base_url_is_http(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        Client(url, token="t")


def test_an_email_needs_a_password() -> None:
    with pytest.raises(ValueError, match="together"):
        Client("http://server", email="ann@example.org")
