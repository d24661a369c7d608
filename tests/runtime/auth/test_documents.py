from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator

import pytest

from goldenpath.runtime.auth.documents import HttpDocuments
from goldenpath.runtime.auth.key_source import FetchError
from tests.runtime.auth.key_server import KeyServer


@pytest.fixture
async def documents() -> AsyncIterator[HttpDocuments]:
    documents = HttpDocuments(timeout=5)
    yield documents
    await documents.close()


async def test_a_document_is_fetched(documents: HttpDocuments, key_server: KeyServer) -> None:
    assert await documents.fetch(key_server.jwks_url) == b'{"keys": []}'


async def test_an_error_status_is_no_document(documents: HttpDocuments, key_server: KeyServer) -> None:
    key_server.up = False
    with pytest.raises(FetchError, match="503"):
        await documents.fetch(key_server.jwks_url)


async def test_a_redirect_is_not_followed(documents: HttpDocuments, key_server: KeyServer) -> None:
    with pytest.raises(FetchError, match="307"):
        await documents.fetch(f"{key_server.issuer}/moved")
    assert key_server.requests == 0


async def test_a_document_that_is_too_large_is_given_up(documents: HttpDocuments, key_server: KeyServer) -> None:
    with pytest.raises(FetchError, match="more than"):
        await documents.fetch(f"{key_server.issuer}/large")


async def test_a_server_that_does_not_answer_is_given_up(key_server: KeyServer) -> None:
    key_server.gate = threading.Event()
    impatient = HttpDocuments(timeout=0.1)
    try:
        with pytest.raises(FetchError, match=r"0\.1 s|Timeout"):
            await impatient.fetch(key_server.jwks_url)
    finally:
        await impatient.close()


async def test_a_server_that_answers_drop_by_drop_is_given_up(key_server: KeyServer) -> None:
    impatient = HttpDocuments(timeout=0.3)
    try:
        with pytest.raises(FetchError, match=r"0\.3 s"):
            await impatient.fetch(f"{key_server.issuer}/endless")
    finally:
        await impatient.close()


async def test_a_server_that_is_not_there_is_an_error(documents: HttpDocuments) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(FetchError, match="ConnectError"):
        await documents.fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("url", ["not a url", "ftp://127.0.0.1/keys", "http://", "http://[::/"])
async def test_what_is_no_address_is_an_error(documents: HttpDocuments, url: str) -> None:
    with pytest.raises(FetchError):
        await documents.fetch(url)
