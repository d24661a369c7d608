"""A user whose connection goes and comes, as in a tunnel: nothing may be lost, nothing come twice."""

from __future__ import annotations

import asyncio

import msgspec

from goldenpath.lab.user import User
from goldenpath.lab.workload import Iteration
from goldenpath.lab.workloads.filler import filler
from goldenpath.lab.workloads.together import together


class Reconnecting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Each iteration asks, vanishes `drops` times while the answer comes, each time within `within` seconds after it is
    back, and reads on where it stood."""

    characters: int = 2_000
    drops: int = 1
    within: float = 0.1

    async def set_up(self, user: User) -> None:
        user.resumes = True
        await user.login()
        await user.connect()

    async def iterate(self, user: User, iteration: Iteration) -> None:
        thread = user.thread(f"reconnecting-{iteration.turn}")
        text = f"{{canary}} {filler(self.characters)}"
        await together(user.ask(text, thread=thread, answer=text), self._vanish(user))
        await user.history(thread)

    async def _vanish(self, user: User) -> None:
        for _ in range(self.drops):
            await asyncio.sleep(user.random.uniform(0, self.within))
            user.drop()
            await user.back()
