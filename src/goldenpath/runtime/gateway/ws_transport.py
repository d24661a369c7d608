"""A WebSocket as a connection needs it, and a connection as a WebSocket needs it.

picows_socket.py and asgi_socket.py are the kinds of sockets; `Connection` is what users have, `LiveConnection` what the
operator page has.
"""

from __future__ import annotations

from typing import Final, Protocol

from goldenpath.runtime.gateway.peers import Peer

HIGH_WATER: Final = 64 * 1024
"""A socket that has this many bytes to send gets no more for now."""


class WsTransport(Protocol):
    """A WebSocket as the connection needs it. All calls are synchronous and raise nothing after the end.

    Once `buffered` was `HIGH_WATER` or more, the transport calls the connection's `on_drained` when it is well below.
    """

    def send(self, message: bytes) -> None:
        """Send one text message."""
        ...

    def ping(self) -> None: ...

    def close(self, code: int, reason: str) -> None:
        """Send a close frame after what was sent, then end; at the latest after a few seconds."""
        ...

    def abort(self) -> None:
        """End at once."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes that the socket has not taken yet."""
        ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class WsConnection(Peer, Protocol):
    """The connection that a socket serves. The socket calls it; all calls are synchronous and raise nothing."""

    def open(self) -> None:
        """The upgrade is done: something can be sent."""
        ...

    def on_message(self, message: bytes, *, binary: bool) -> None:
        """A whole message came."""
        ...

    def on_heard(self) -> None:
        """The peer said something that is no message: a ping, a pong, a part of a message."""
        ...

    def on_drained(self) -> None:
        """The socket has room again."""
        ...

    def on_closed(self) -> None:
        """The socket is gone, for whatever reason."""
        ...
