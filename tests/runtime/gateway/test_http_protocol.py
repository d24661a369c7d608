"""An answer too small for the event loop to speak of a full buffer, which nobody reads: its connection is cut."""

from __future__ import annotations

import asyncio
import socket

import uvicorn

from goldenpath import App
from goldenpath.runtime.gateway.http_protocol import GatewayProtocol, protocol_class
from goldenpath.runtime.settings import Settings

SMALL = 4096
SETTINGS = Settings(environment="testing", database=":memory:", write_timeout=0.2)


async def test_a_small_answer_that_nobody_reads_does_not_keep_a_connection() -> None:
    server = App(SETTINGS).build()
    async with server.running():
        config = uvicorn.Config(server.site, http=protocol_class(server.gateway, over_unix=False), lifespan="off")
        state = uvicorn.Server(config).server_state
        config.load()

        def accept() -> GatewayProtocol:
            bound: type[GatewayProtocol] = config.http_protocol_class  # type: ignore[assignment]
            return bound(config=config, server_state=state, app_state={})

        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(accept, ours)
        loop = asyncio.get_running_loop()
        theirs.setblocking(False)
        await loop.sock_sendall(theirs, b"GET /assets/chat.css HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            while not state.total_requests or state.connections:
                await asyncio.sleep(0.01)
        assert transport.is_closing()
        theirs.close()
