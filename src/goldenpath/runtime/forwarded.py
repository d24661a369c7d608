"""The client's address behind proxies that are trusted, and only behind those. Sans-I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_PORT: Final = re.compile(r"\[(?P<v6>[^]]*)\](:\d+)?|(?P<v4>[\d.]+):\d+")
"""What some proxies write: an address with the client's port, which says nothing about who it is."""


class TrustedProxies:
    """Addresses and networks whose X-Forwarded-For is believed. `names`: separated by commas; empty trusts nobody,
    `*` everybody. Raises ValueError for a malformed one."""

    def __init__(self, names: str) -> None:
        parts = [part.strip() for part in names.split(",") if part.strip()]
        self._all = "*" in parts
        self._unix = "unix" in parts
        self._networks = [ip_network(part, strict=False) for part in parts if part not in {"*", "unix"}]

    def trusts(self, address: str | None) -> bool:
        """Whether `address` is a trusted proxy; None is the other end of a Unix socket, named `unix`."""
        if self._all:
            return True
        if address is None:
            return self._unix
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client_address(self, peer: str | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Who is at the other end: the peer, or what the last trusted proxy says of it. None where nobody knows."""
        if not self.trusts(peer):
            return peer
        hops = [
            _without_port(hop.strip())
            for name, value in headers
            if name == b"x-forwarded-for"
            for hop in value.decode("latin-1").split(",")
        ]
        for hop in reversed(hops):
            if not self.trusts(hop):
                return hop[:64] or peer
        return hops[0][:64] if hops and hops[0] else peer


def neighbourhood(address: str | None) -> str | None:
    """What counts as one address: of IPv6 the network of 64 bits, which everybody is given whole; of what is no address
    the text as it is."""
    parsed = None if address is None else _parsed(address)
    if not isinstance(parsed, IPv6Address):
        return address if parsed is None else str(parsed)
    return str(IPv6Network((int(parsed) >> 64 << 64, 64)))


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    # An IPv6 socket shows IPv4 peers in this form.
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed


def _without_port(hop: str) -> str:
    found = _PORT.fullmatch(hop)
    return hop if found is None else found["v6"] or found["v4"] or hop
