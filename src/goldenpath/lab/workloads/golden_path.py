"""What every user does: log in, connect, ask, watch the answer stream in, find it in the history."""

from __future__ import annotations

import msgspec

from goldenpath.lab.user import User
from goldenpath.lab.workload import Iteration
from goldenpath.lab.workloads.filler import filler


class GoldenPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole path, with `messages` questions one after another in one thread."""

    messages: int = 3
    characters: int = 400
    """Of each question; an echo's answer has as many."""

    async def set_up(self, user: User) -> None:
        """Nothing: to log in and to connect belongs to the path."""

    async def iterate(self, user: User, iteration: Iteration) -> None:
        """A user's second iteration finds them logged in, and begins another thread."""
        if not user.connected:
            await user.login()
            await user.connect()
        thread = user.thread(f"path-{iteration.turn}")
        for message in range(self.messages):
            text = f"{{canary}} {message}: {filler(self.characters)}"
            await user.ask(text, thread=thread, answer=text)
        await user.history(thread)
