"""One question an iteration, over a connection that is there already: what loads by rate are made of."""

from __future__ import annotations

import msgspec

from goldenpath.lab.user import User
from goldenpath.lab.workload import Iteration
from goldenpath.lab.workloads.filler import filler


class Asking(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Each iteration asks in one of the user's `threads`, in turn. After so many `questions` in each of them the user
    goes, comes back and begins new ones; None: never."""

    characters: int = 160
    threads: int = 10
    questions: int | None = None

    async def set_up(self, user: User) -> None:
        await user.login()
        await user.connect()

    async def iterate(self, user: User, iteration: Iteration) -> None:
        text = f"{{canary}} {filler(self.characters)}"
        sitting, turn = divmod(iteration.turn, self.threads * (self.questions or iteration.turn + 1))
        if sitting and not turn:
            user.leave()
            await user.connect()
        thread = user.thread(f"ask-{sitting}-{turn % self.threads}")
        await user.ask(text, thread=thread, answer=text)
