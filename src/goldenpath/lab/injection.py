"""Carries faults out at their times, on the lab's own server and on the network before it, and records them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress

from goldenpath.lab.faults import Fault
from goldenpath.lab.own_server import OwnServer
from goldenpath.lab.proxy import Proxy
from goldenpath.lab.recorder import Recorder
from goldenpath.lab.target import TargetError


class Injection:
    """The faults of one run. Cancelling `run` ends the faults that are on."""

    def __init__(
        self, faults: Sequence[Fault], server: OwnServer | None, proxy: Proxy | None, recorder: Recorder
    ) -> None:
        self._faults = faults
        self._server = server
        self._proxy = proxy
        self._recorder = recorder
        self._over = asyncio.Event()
        self._to_come = list(faults)

    def give_up(self) -> list[str]:
        """The load is over: faults that have not begun do not happen. Returns which, as they were asked for."""
        self._over.set()
        return [fault.spec for fault in self._to_come]

    async def run(self) -> None:
        """All of them, from now on; returns when the last is over, or `give_up` left none to come. Raises `TargetError`
        where a server that was ended does not start again."""
        async with asyncio.TaskGroup() as group:
            for fault in self._faults:
                group.create_task(self._one(fault))

    async def _one(self, fault: Fault) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(fault.at):
                await self._over.wait()
        if self._over.is_set():
            return
        self._to_come.remove(fault)
        self._recorder.injected(fault.spec, on=True)
        try:
            if fault.on_process:
                assert self._server is not None
                await self._on_process(fault, self._server)
            else:
                assert self._proxy is not None
                self._proxy.begin(fault)
                try:
                    await asyncio.sleep(fault.lasts)
                finally:
                    self._proxy.end(fault)
        finally:
            self._recorder.injected(fault.spec, on=False)

    async def _on_process(self, fault: Fault, server: OwnServer) -> None:
        match fault.kind:
            case "kill":
                await server.kill()
                await asyncio.sleep(fault.lasts)
                await server.start()
            case "restart":
                await server.stop()
                await server.start()
            case "stop":
                server.signal(signal.SIGSTOP)
                try:
                    await asyncio.sleep(fault.lasts)
                finally:
                    server.signal(signal.SIGCONT)
            case _:
                raise TargetError("abandoned", f"{fault.kind} is no fault of a process")
