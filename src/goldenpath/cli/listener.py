"""What a server listens on: a TCP or Unix socket, and the files of its TLS."""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path

from goldenpath.runtime.settings import Settings
from goldenpath.wire.errors import GoldenpathError


class ListenError(GoldenpathError):
    """The server cannot listen as its settings say; the message says why."""


class AddressInUse(ListenError):
    """Somebody else listens there."""


def listen(settings: Settings) -> socket.socket:
    """A bound socket, not listening yet. A Unix socket that a dead server left is replaced. Raises `ListenError`."""
    if settings.uds is not None:
        return _bound(socket.socket(socket.AF_UNIX), settings.uds, settings.uds, "--uds or GOLDENPATH_UDS")
    host, port = settings.host, settings.port
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return _bound(listener, (host, port), f"{host}:{port}", "--port or GOLDENPATH_PORT")


def _bound(listener: socket.socket, address: str | tuple[str, int], where: str, setting: str) -> socket.socket:
    try:
        if isinstance(address, str):
            _remove_dead(Path(address))
        listener.bind(address)
    except (OSError, UnicodeError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise AddressInUse(f"cannot listen on {where}: {reason}; name another one by {setting}") from None
        raise ListenError(f"cannot listen on {where}: {reason}") from None
    except ListenError:
        listener.close()
        raise
    return listener


def _remove_dead(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise AddressInUse(
                f"cannot listen on {path}: another server does; name another one by --uds or GOLDENPATH_UDS"
            )


def check_tls(settings: Settings) -> None:
    """See that the TLS files can be used, without a question for a password. Raises `ListenError`."""
    if settings.tls_cert is None or settings.tls_key is None:
        return
    cert, key = _read(settings.tls_cert), _read(settings.tls_key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            why = "they do not belong together"
        elif b"PRIVATE KEY-----" in cert and b"-----BEGIN CERTIFICATE" in key:
            why = "the first is a key and the second a certificate"
        else:
            why = "PEM is needed, not encrypted"
        raise ListenError(f"cannot use {settings.tls_cert} with the key {settings.tls_key}: {why}") from None


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise ListenError(f"cannot read {name}: {error.strerror}") from None
