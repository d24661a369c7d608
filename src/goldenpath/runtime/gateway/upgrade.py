"""What is at the paths whose WebSocket upgrades are taken, and an upgrade that was admitted."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from goldenpath.runtime.context import Principal
from goldenpath.runtime.gateway.peers import Reservation
from goldenpath.runtime.gateway.ws_transport import WsConnection, WsTransport


class SocketPath(msgspec.Struct, frozen=True):
    """What is at a path whose upgrades are taken."""

    connect: Callable[[WsTransport, Principal, Reservation | None], WsConnection]
    max_message_bytes: int
    permission: str | None = None
    """What a principal needs beside a token. Where there is one it is the operators': it takes no room from users, is
    let in where they have taken all, and says nothing of how well they are served. None: it is everybody's."""


class Upgrade(msgspec.Struct, frozen=True):
    """A WebSocket upgrade that was admitted. `reservation`: None where the user has all connections already, which the
    client is told by a close code, and where the path needs none."""

    path: SocketPath
    principal: Principal
    subprotocol: str | None
    reservation: Reservation | None

    def connect(self, transport: WsTransport) -> WsConnection:
        """The connection of this upgrade."""
        return self.path.connect(transport, self.principal, self.reservation)
