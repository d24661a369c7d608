"""A user in two tabs of a browser: both see everything, in the same order."""

from __future__ import annotations

import msgspec

from goldenpath.lab.user import User
from goldenpath.lab.workload import Iteration
from goldenpath.lab.workloads.filler import filler
from goldenpath.lab.workloads.together import together


class TwoTabs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Each iteration opens another tab on a thread that has an answer already, then asks from both tabs at once."""

    characters: int = 400

    async def set_up(self, user: User) -> None:
        await user.login()
        await user.connect()

    async def iterate(self, user: User, iteration: Iteration) -> None:
        thread = user.thread(f"tabs-{iteration.turn}")
        text = f"{{canary}} {filler(self.characters)}"
        await user.ask(text, thread=thread, answer=text)
        tab = user.another_viewer(1 + iteration.turn)
        try:
            await tab.connect()
            if "resume" in tab.abilities:
                await tab.attach(thread, after=0)
            await together(
                user.ask(text, thread=thread, answer=text),
                tab.ask(text, thread=thread, answer=text),
            )
        finally:
            await tab.close()
        await user.history(thread)
