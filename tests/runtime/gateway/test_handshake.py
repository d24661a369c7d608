from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.gateway.handshake import (
    SUBPROTOCOL,
    Handshake,
    WebSocketVersionError,
    bearer_token,
    read_handshake,
    read_key,
)
from goldenpath.wire.errors import RequestError

HOST = (b"host", b"chat.example.com:8700")
ALLOWED = ("https://app.example.com",)


def handshake(*headers: tuple[bytes, bytes]) -> Handshake:
    return read_handshake([HOST, *headers], ALLOWED)


def refusal(*headers: tuple[bytes, bytes]) -> str:
    with pytest.raises(RequestError) as refused:
        handshake(*headers)
    return refused.value.code


AUTH = (b"authorization", b"Bearer TOKEN")


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer TOKEN", "TOKEN"),
        ("bearer TOKEN", "TOKEN"),
        ("BEARER   TOKEN  ", "TOKEN"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic TOKEN", None),
        ("TOKEN", None),
        ("", None),
        (None, None),
    ],
)
def test_a_bearer_token_is_found_in_its_header_only(header: str | None, token: str | None) -> None:
    others = [(b"host", b"x"), (b"x-authorization", b"Bearer other")]
    given = [] if header is None else [(b"authorization", header.encode())]
    assert bearer_token([*others, *given]) == token


def test_of_two_authorization_headers_neither_is_taken() -> None:
    with pytest.raises(RequestError) as refused:
        bearer_token([AUTH, AUTH])
    assert refused.value.code == "bad_request"


def test_a_token_comes_in_the_header() -> None:
    assert handshake(AUTH) == Handshake("TOKEN", None)


@pytest.mark.parametrize(
    "offers",
    [
        [b"goldenpath.v1, bearer.TOKEN"],
        [b"bearer.TOKEN,goldenpath.v1"],
        [b"goldenpath.v1", b"bearer.TOKEN"],
        [b"other, goldenpath.v1", b" bearer.TOKEN , another"],
    ],
)
def test_a_browser_brings_its_token_as_a_subprotocol(offers: list[bytes]) -> None:
    headers = [(b"sec-websocket-protocol", offer) for offer in offers]
    assert handshake(*headers) == Handshake("TOKEN", SUBPROTOCOL)


def test_of_two_tokens_offered_as_subprotocols_none_is_chosen() -> None:
    assert refusal((b"sec-websocket-protocol", b"goldenpath.v1, bearer.TOKEN, bearer.OTHER")) == "bad_request"
    offers = [(b"sec-websocket-protocol", b"bearer.TOKEN"), (b"sec-websocket-protocol", b"bearer.TOKEN")]
    assert refusal(*offers) == "bad_request"


def test_the_header_wins_over_the_subprotocol() -> None:
    assert handshake(AUTH, (b"sec-websocket-protocol", b"goldenpath.v1, bearer.OTHER")) == Handshake(
        "TOKEN", SUBPROTOCOL
    )


@pytest.mark.parametrize("offer", [b"bearer.OTHER", b"chat", b"goldenpath.v2", b"", b"GOLDENPATH.V1"])
def test_only_our_subprotocol_is_ever_selected(offer: bytes) -> None:
    assert handshake(AUTH, (b"sec-websocket-protocol", offer)) == Handshake("TOKEN", None)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Basic abc")],
        [(b"sec-websocket-protocol", b"goldenpath.v1")],
        [(b"sec-websocket-protocol", b"goldenpath.v1, bearer.")],
        [(b"cookie", b"token=TOKEN")],
    ],
)
def test_without_a_token_there_is_no_upgrade(headers: list[tuple[bytes, bytes]]) -> None:
    assert refusal(*headers) == "unauthorized"


@pytest.mark.parametrize(
    "origin",
    [
        b"http://chat.example.com:8700",
        b"https://chat.example.com:8700",
        b"https://CHAT.example.com:8700",
        b"https://app.example.com",
    ],
)
def test_the_own_and_the_allowed_origins_may_connect(origin: bytes) -> None:
    assert handshake(AUTH, (b"origin", origin)).token == "TOKEN"


@pytest.mark.parametrize(
    "origin",
    [
        b"https://evil.example.com",
        b"https://chat.example.com",
        b"https://chat.example.com:8700.evil.com",
        b"https://evil@chat.example.com:8700",
        b"https://app.example.com.evil.com",
        b"https://APP.example.com:443",
        b"http://app.example.com",
        b"ftp://chat.example.com:8700",
        b"chat.example.com:8700",
        b"null",
        b"",
        b"https://[",
        b"http://chat.example.com:8700/",
        b"http://chat.example.com:8700/x",
        b"http://chat.example.com:8700?",
        b"http://chat.example.com:8700#x",
        b"\xff\xfe",
    ],
)
def test_any_other_origin_is_refused_also_with_a_token(origin: bytes) -> None:
    assert refusal(AUTH, (b"origin", origin)) == "forbidden"


@pytest.mark.parametrize("name", [b"host", b"origin", b"authorization"])
def test_of_two_headers_none_is_chosen(name: bytes) -> None:
    given = {b"host": b"chat.example.com:8700", b"origin": ALLOWED[0].encode(), b"authorization": b"Bearer TOKEN"}
    headers = list(given.items())
    assert read_handshake(headers, ALLOWED).token == "TOKEN"
    with pytest.raises(RequestError) as refused:
        read_handshake([*headers, (name, given[name])], ALLOWED)
    assert refused.value.code == "bad_request"


KEY = (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
VERSION = (b"sec-websocket-version", b"13")


def test_the_key_of_a_good_upgrade_is_found() -> None:
    assert read_key("GET", "1.1", [HOST, VERSION, KEY]) == KEY[1]
    assert read_key("GET", "1.1", [HOST, VERSION, KEY, (b"content-length", b"0")]) == KEY[1]


@pytest.mark.parametrize(
    ("method", "http_version", "headers"),
    [
        ("POST", "1.1", [VERSION, KEY]),
        ("GET", "1.0", [VERSION, KEY]),
        ("GET", "2", [VERSION, KEY]),
        ("GET", "1.1", [VERSION]),
        ("GET", "1.1", [VERSION, KEY, KEY]),
        ("GET", "1.1", [VERSION, (KEY[0], b"eA==")]),
        ("GET", "1.1", [VERSION, (KEY[0], b"")]),
        ("GET", "1.1", [VERSION, (KEY[0], b"!" * 24)]),
        ("GET", "1.1", [VERSION, (KEY[0], b"\xff" * 24)]),
        ("GET", "1.1", [VERSION, KEY, (b"content-length", b"5")]),
        ("GET", "1.1", [VERSION, KEY, (b"content-length", b"0"), (b"content-length", b"5")]),
        ("GET", "1.1", [VERSION, KEY, (b"transfer-encoding", b"chunked")]),
    ],
)
def test_what_is_no_upgrade_is_a_bad_request(
    method: str, http_version: str, headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(RequestError) as refused:
        read_key(method, http_version, headers)
    assert refused.value.code == "bad_request"
    assert not isinstance(refused.value, WebSocketVersionError)


@pytest.mark.parametrize("versions", [[], [b"8"], [b"13, 8"], [b"13", b"13"], [b"013"], [b""]])
def test_another_version_of_the_protocol_is_told_apart(versions: list[bytes]) -> None:
    with pytest.raises(WebSocketVersionError):
        read_key("GET", "1.1", [KEY, *((VERSION[0], version) for version in versions)])


def test_an_origin_is_not_compared_with_a_host_that_is_missing() -> None:
    with pytest.raises(RequestError) as refused:
        read_handshake([AUTH, (b"origin", b"http://")], ())
    assert refused.value.code == "forbidden"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"origin", b"host", b"authorization", b"sec-websocket-protocol", b"x"]),
            st.binary(max_size=30),
        ),
        max_size=5,
    )
)
def test_no_headers_do_worse_than_a_refusal(headers: list[tuple[bytes, bytes]]) -> None:
    try:
        found = read_handshake(headers, ALLOWED)
    except RequestError as error:
        code: str | None = error.code
    else:
        code = None
        assert found.token
    assert code in {None, "bad_request", "forbidden", "unauthorized"}
