"""What a WebSocket upgrade must bring, decided from its headers alone. Sans-I/O; both transports use it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from goldenpath.wire.errors import RequestError

SUBPROTOCOL: Final = "goldenpath.v1"
_BEARER: Final = "bearer."


class Handshake(msgspec.Struct, frozen=True):
    """A well-formed upgrade: its token, and the subprotocol to select (None: none was offered)."""

    token: str
    subprotocol: str | None


def read_handshake(headers: Iterable[tuple[bytes, bytes]], allowed_origins: tuple[str, ...]) -> Handshake:
    """The token and subprotocol from lower-case header names. Raises `RequestError`: `forbidden` for an origin that may
    not connect, `unauthorized` where there is no token."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    origin = _first(values, b"origin")
    if origin is not None and not _may_connect(origin, _first(values, b"host") or "", allowed_origins):
        raise RequestError("forbidden", "this origin may not connect")
    offered = [
        name.strip()
        for value in values.get(b"sec-websocket-protocol", ())
        for name in value.decode("latin-1").split(",")
    ]
    token = bearer_token(_first(values, b"authorization"))
    if token is None:
        token = next((name.removeprefix(_BEARER) for name in offered if name.startswith(_BEARER)), None)
    if not token:
        raise RequestError("unauthorized", "an access token is needed")
    return Handshake(token, SUBPROTOCOL if SUBPROTOCOL in offered else None)


def bearer_token(authorization: str | None) -> str | None:
    """The token of an Authorization header; None where it holds none."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _first(values: dict[bytes, list[bytes]], name: bytes) -> str | None:
    found = values.get(name)
    return found[0].decode("latin-1") if found else None


def _may_connect(origin: str, host: str, allowed: tuple[str, ...]) -> bool:
    if origin in allowed:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    # Behind a proxy that ends TLS the scheme we see is not the browser's, so host and port decide.
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower() != ""
