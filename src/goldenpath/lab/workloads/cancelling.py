"""A user who stops some answers while others go on."""

from __future__ import annotations

import asyncio

import msgspec

from goldenpath.lab.user import User
from goldenpath.lab.workload import Iteration
from goldenpath.lab.workloads.filler import filler
from goldenpath.lab.workloads.together import together


class Cancelling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Each iteration asks in two threads at once, and cancels one of the runs within `within` seconds."""

    characters: int = 2_000
    within: float = 0.1

    async def set_up(self, user: User) -> None:
        await user.login()
        await user.connect()

    async def iterate(self, user: User, iteration: Iteration) -> None:
        text = f"{{canary}} {filler(self.characters)}"
        thread, run = user.thread(f"cancelled-{iteration.turn}"), f"cancelled-{iteration.number}"
        await together(
            user.ask(text, thread=thread, run=run, answer=text),
            user.ask(text, thread=user.thread(f"kept-{iteration.turn}"), answer=text),
            self._cancel(user, thread, run),
        )
        await user.history(thread)

    async def _cancel(self, user: User, thread: str, run: str) -> None:
        await asyncio.sleep(user.random.uniform(0, self.within))
        await user.cancel(thread, run)
