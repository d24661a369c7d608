"""Some users do not read for a while: they lose nothing, and nobody else waits for them."""

from __future__ import annotations

import asyncio

import msgspec

from goldenpath.lab.user import User
from goldenpath.lab.workload import Iteration
from goldenpath.lab.workloads.filler import filler
from goldenpath.lab.workloads.together import together


class SlowReader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Each iteration asks. One user in `every` takes a large answer, and does not read for `seconds` meanwhile."""

    every: int = 5
    seconds: float = 1.0
    large: int = 40_000
    small: int = 200

    async def set_up(self, user: User) -> None:
        await user.login()
        await user.connect()

    async def iterate(self, user: User, iteration: Iteration) -> None:
        slow = user.number % self.every == 0
        text = f"{{canary}} {filler(self.large if slow else self.small)}"
        ask = user.ask(text, thread=user.thread(f"read-{iteration.turn}"), answer=text)
        await (together(ask, self._rest(user)) if slow else ask)

    async def _rest(self, user: User) -> None:
        user.pause(reading=False)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            user.pause(reading=True)
