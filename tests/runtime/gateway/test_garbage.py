"""A connection that is gone, and a thread that is followed no longer, leave nothing that only the garbage collector
could find: it comes seldom, and what it would find holds whole logs."""

from __future__ import annotations

import json

from goldenpath.runtime.gateway.connection import Connection
from goldenpath.runtime.server import Server
from tests.runtime.gateway.test_connection import Wire, connect, ends, run
from tests.runtime.gateway.test_isolation import server  # noqa: F401
from tests.runtime.test_garbage import garbage_of


async def followed(server: Server, name: str) -> tuple[Connection, Wire]:  # noqa: F811
    connection, wire = connect(server)
    for thread in ("one", "two"):
        run(connection, f"{thread}-{name}", thread_id=f"{thread}-{name}")
        await wire.until(ends(f"{thread}-{name}"))
    return connection, wire


async def test_a_connection_that_closes(server: Server) -> None:  # noqa: F811
    async def call(name: str) -> None:
        connection, _ = await followed(server, name)
        connection.on_closed()

    assert not await garbage_of(call)


async def test_a_thread_that_is_detached_or_deleted(server: Server) -> None:  # noqa: F811
    connection, wire = connect(server)

    async def call(name: str) -> None:
        for thread in ("detached", "deleted"):
            run(connection, f"{thread}-{name}", thread_id=f"{thread}-{name}")
            await wire.until(ends(f"{thread}-{name}"))
        detach = {"id": name, "op": "detach", "thread_id": f"detached-{name}"}
        connection.on_message(json.dumps(detach).encode(), binary=False)
        await wire.until(lambda frame: frame.get("re") == name and frame["ok"])
        await server.dispatcher.delete(connection.principal, f"deleted-{name}")
        await server.event_log.commits.committed()

    assert not await garbage_of(call)
