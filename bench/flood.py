"""One user who takes all it can: many sockets, several runs asked for on each at any time, no pause."""

from __future__ import annotations

import asyncio

from bench import workload
from bench.lab import Lab
from goldenpath.lab.operations import OperationError
from goldenpath.lab.user import User

SOCKETS = 16
OUTSTANDING = 4
REFUSED_PAUSE = 0.01
_LOST = "disconnected"


class Flood:
    """`finished`, `refused` and `disconnected` count since it was made."""

    def __init__(self, lab: Lab, number: int) -> None:
        self._user = lab.user(number)
        self.finished = self.refused = self.disconnected = 0
        self._asked = self._floods = 0
        self._sockets: list[User] = []
        self._asking: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Log in, connect and begin."""
        await self._user.login()
        self._floods += 1  # in threads of its own: a chat without a log begins to count again on a new connection
        self._sockets = [self._user.another_viewer(viewer) for viewer in range(1, SOCKETS + 1)]
        for socket in self._sockets:
            await socket.connect()
        self._asking = [
            asyncio.create_task(self._ask(socket, f"flood-{self._floods}-{number}-{place}"))
            for number, socket in enumerate(self._sockets)
            for place in range(OUTSTANDING)
        ]

    async def _ask(self, socket: User, name: str) -> None:
        """Ask again at once when a run ends, after a pause when it was refused."""
        mark, thread = workload.marker(socket.number, 0), socket.thread(name)
        while True:
            self._asked += 1
            # A run id that was used before would ask for its replay instead of a run.
            run = f"r{self._asked}"
            try:
                await socket.ask(workload.prompt(mark), thread=thread, run=run, answer=workload.answer(mark))
                self.finished += 1
            except OperationError as error:
                if error.code == _LOST:
                    self.disconnected += 1
                    return
                self.refused += 1
                await asyncio.sleep(REFUSED_PAUSE)

    async def stop(self) -> None:
        """Give up what was asked for, and leave."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        await asyncio.gather(*(socket.close() for socket in self._sockets))
        await asyncio.sleep(0.5)
