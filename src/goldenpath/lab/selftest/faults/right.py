"""Servers in which nothing is wrong, though they do things that a hasty checker takes for wrong."""

from __future__ import annotations

import asyncio

from goldenpath.lab.selftest.connection import Connection, Socket
from goldenpath.lab.selftest.faults.fault import Faulty, right
from goldenpath.lab.selftest.reference import ReferenceServer


@right()
class Clean(ReferenceServer):
    """Nothing is wrong."""


@right("path", "tabs")
class Coalescing(ReferenceServer):
    """Events wait for a moment and come many in a message."""

    async def send(self, connection: Connection, socket: Socket, text: str) -> None:
        await super().send(connection, socket, text)
        await asyncio.sleep(0.02)


@right("reconnects")
class GoingAway(Faulty):
    """Now and then it lets a client go, as a server does that is replaced."""

    async def send(self, connection: Connection, socket: Socket, text: str) -> None:
        await super().send(connection, socket, text)
        if '"RUN_STARTED"' in text and self.strikes(4):
            await socket.close(1001)
