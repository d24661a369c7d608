"""Everybody tries to get at what belongs to somebody else."""

from __future__ import annotations

import msgspec

from goldenpath.lab.user import User
from goldenpath.lab.workload import Iteration
from goldenpath.lab.workloads.filler import filler


class Intruder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everybody has a private thread, whose name is easily guessed, and one whose name says whose it is. Each iteration
    tries every way to somebody else's private thread, and in, and to such threads, without being anybody; then it lists
    its own threads, and reads its own private one."""

    characters: int = 160

    async def set_up(self, user: User) -> None:
        await user.login()
        await user.connect()
        text = f"{{canary}} {filler(self.characters)}"
        await user.ask(text, thread=self._private(user, user.number), run=f"private-run-{user.number}", answer=text)
        await user.ask(text, thread=user.thread(f"{user.canary}named"), answer=text)

    async def iterate(self, user: User, iteration: Iteration) -> None:
        if iteration.users > 1:
            victim = (user.number + user.random.randrange(1, iteration.users)) % iteration.users
            await user.intrude(victim, self._private(user, victim), f"private-run-{victim}")
        anybody = (user.number + iteration.turn) % iteration.users
        await user.trespass("no token", self._private(user, anybody), f"private-run-{anybody}")
        await user.trespass("a made-up token", self._private(user, anybody), f"private-run-{anybody}")
        await user.threads()
        await user.history(self._private(user, user.number))

    @staticmethod
    def _private(user: User, owner: int) -> str:
        return user.thread(f"private-{owner}")
