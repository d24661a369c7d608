"""One user floods, the others ask as ever."""

from __future__ import annotations

from typing import Final

import msgspec

from goldenpath.lab.user import User
from goldenpath.lab.workload import Iteration
from goldenpath.lab.workloads.filler import filler
from goldenpath.lab.workloads.together import together

CALM: Final = 8
"""In how many threads a user asks by turns: a connection follows a bounded number of threads at once."""


class Flooding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Each iteration asks once. Once in `every` iterations user 0 asks `flood` times at once, each in a thread of its
    own."""

    flood: int = 50
    every: int = 4
    characters: int = 160

    async def set_up(self, user: User) -> None:
        await user.login()
        await user.connect()

    async def iterate(self, user: User, iteration: Iteration) -> None:
        text = f"{{canary}} {filler(self.characters)}"
        if user.number == 0 and iteration.turn % self.every == self.every // 2:
            with user.flood():
                threads = (user.thread(f"flood-{number}") for number in range(self.flood))
                await together(*(user.ask(text, thread=thread, answer=text) for thread in threads))
        else:
            await user.ask(text, thread=user.thread(f"calm-{iteration.turn % CALM}"), answer=text)
