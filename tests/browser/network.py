"""The network between a page and its server, for tests that break it: every line of every WebSocket passes here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, WebSocketRoute

Line = dict[str, Any]
Filter = Callable[[Line], list[Line]]


def _pass(line: Line) -> list[Line]:
    return [line]


class Network:
    """Passes lines on as `outwards` and `inwards` say: as they are, changed, twice, or not at all.

    While `refuse` is set, new sockets are closed with that code. `commands` holds what the page sent, in order.
    """

    def __init__(self, page: Page) -> None:
        self.outwards: Filter = _pass
        self.inwards: Filter = _pass
        self.refuse: int | None = None
        self.commands: list[Line] = []
        self.sockets: list[WebSocketRoute] = []
        page.route_web_socket("**/v1/ws", self._opened)

    def cut(self, code: int = 4503) -> None:
        """Close the socket that is open now."""
        self.sockets[-1].close(code=code)

    def heal(self) -> None:
        """Pass everything on again."""
        self.outwards = self.inwards = _pass
        self.refuse = None

    def sent(self, op: str) -> list[Line]:
        """The commands of one kind."""
        return [line for line in self.commands if line["op"] == op]

    def _opened(self, socket: WebSocketRoute) -> None:
        if self.refuse is not None:
            socket.close(code=self.refuse)
            return
        self.sockets.append(socket)
        server = socket.connect_to_server()

        def from_page(message: str | bytes) -> None:
            for line in _lines(message):
                self.commands.append(line)
                _send(server, self.outwards(line))

        def from_server(message: str | bytes) -> None:
            _send(socket, [passed for line in _lines(message) for passed in self.inwards(line)])

        socket.on_message(from_page)
        server.on_message(from_server)


def _lines(message: str | bytes) -> list[Line]:
    return [json.loads(line) for line in str(message).split("\n") if line]


def _send(socket: WebSocketRoute, lines: list[Line]) -> None:
    if lines:
        socket.send("\n".join(json.dumps(line) for line in lines))


def once(condition: Callable[[Line], bool], instead: Filter) -> Filter:
    """A filter that treats the first line with `condition` in its own way."""
    done: list[bool] = []

    def apply(line: Line) -> list[Line]:
        if not done and condition(line):
            done.append(True)
            return instead(line)
        return [line]

    return apply
