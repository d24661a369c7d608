"""What a WebSocket upgrade must bring, decided from its headers alone. Sans-I/O; both transports use it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Final

import msgspec

from goldenpath.wire.errors import RequestError

SUBPROTOCOL: Final = "goldenpath.v1"
_BEARER: Final = "bearer."


class Handshake(msgspec.Struct, frozen=True):
    """A well-formed upgrade: its token, and the subprotocol to select (None: none was offered)."""

    token: str
    subprotocol: str | None


class OriginError(RequestError):
    """A browser's page of an origin that may not connect."""

    def __init__(self, origin: str, host: str) -> None:
        super().__init__("forbidden", "this origin may not connect")
        self.origin = origin
        self.host = host


class WebSocketVersionError(RequestError):
    """The client speaks another version of the WebSocket protocol."""


def read_key(method: str, http_version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The Sec-WebSocket-Key of an upgrade that keeps RFC 6455. Raises `RequestError` (`bad_request`)."""
    values = _by_name(headers)
    has_body = values.get(b"content-length", [b"0"]) != [b"0"] or b"transfer-encoding" in values
    if method != "GET" or http_version != "1.1" or has_body:
        raise RequestError("bad_request", "this is not a WebSocket upgrade")
    if values.get(b"sec-websocket-version") != [b"13"]:
        raise WebSocketVersionError("bad_request", "only version 13 of the WebSocket protocol is spoken here")
    keys = values.get(b"sec-websocket-key", [])
    try:
        decoded = [base64.b64decode(key, validate=True) for key in keys]
    except binascii.Error:
        decoded = []
    if [len(key) for key in decoded] != [16]:
        raise RequestError("bad_request", "an upgrade has one Sec-WebSocket-Key, 16 bytes in base 64")
    return keys[0]


def read_handshake(headers: Iterable[tuple[bytes, bytes]], allowed_origins: tuple[str, ...]) -> Handshake:
    """The token and subprotocol from lower-case header names. Raises `RequestError`: `bad_request` where it is not
    clear which of several is meant, `forbidden` for an origin that may not connect, `unauthorized` without a token."""
    values = _by_name(headers)
    host, origin, token = _only(values, b"host"), _only(values, b"origin"), _token(values)
    if origin is not None and not _may_connect(origin, host or "", allowed_origins):
        raise OriginError(origin, host or "")
    offered = [
        name.strip()
        for value in values.get(b"sec-websocket-protocol", ())
        for name in value.decode("latin-1").split(",")
    ]
    if token is None:
        tokens = [name.removeprefix(_BEARER) for name in offered if name.startswith(_BEARER)]
        if len(tokens) > 1:
            raise RequestError("bad_request", "a client offers one token")
        token = tokens[0] if tokens else None
    if not token:
        raise RequestError("unauthorized", "an access token is needed")
    return Handshake(token, SUBPROTOCOL if SUBPROTOCOL in offered else None)


def bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The token of the Authorization header; None where there is none. Raises `RequestError` (`bad_request`) for two
    such headers: whoever stands in front may take the other one."""
    return _token(_by_name(headers))


def _token(values: dict[bytes, list[bytes]]) -> str | None:
    authorization = _only(values, b"authorization")
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    return values


def _only(values: dict[bytes, list[bytes]], name: bytes) -> str | None:
    found = values.get(name)
    if found is None:
        return None
    if len(found) > 1:
        raise RequestError("bad_request", f"a request has one {name.decode()} header")
    return found[0].decode("latin-1")


def _may_connect(origin: str, host: str, allowed: tuple[str, ...]) -> bool:
    # Behind a proxy that ends TLS the scheme we see is not the browser's, so host and port decide.
    own = (f"http://{host.lower()}", f"https://{host.lower()}") if host else ()
    return origin in allowed or origin.lower() in own
