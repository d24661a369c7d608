"""Users who lose their connections and come back: how they do, and when they have what they missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar

from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Frame
from goldenpath.lab.stream import Stream
from goldenpath.lab.target import Sink, TargetError
from goldenpath.lab.targets.goldenpath import GoldenpathClient, GoldenpathTarget, Options


class Network:
    """What is between users and a server. They connect while it is `up`, `at_once` of them together, and try again
    `retry` seconds after they could not."""

    def __init__(self, *, at_once: int, retry: float) -> None:
        self.up = asyncio.Event()
        self.up.set()
        self.places = asyncio.Semaphore(at_once)
        self.retry = retry
        self.failures = 0
        """How many attempts were in vain."""


class _Client(GoldenpathClient):
    """Connects when the network lets it."""

    def __init__(self, target: GoldenpathTarget, user: int, viewer: int, sink: Sink, network: Network) -> None:
        super().__init__(target, user, viewer, sink)
        self._network = network

    async def connect(self) -> None:
        network = self._network
        while True:
            await network.up.wait()
            try:
                async with network.places:
                    return await super().connect()
            except TargetError:
                network.failures += 1
                await asyncio.sleep(network.retry)


class BehindNetwork(GoldenpathTarget):
    """A server whose users reach it over `network`."""

    def __init__(self, options: Options, network: Network) -> None:
        super().__init__(options)
        self._network = network

    def client(self, user: int, viewer: int, sink: Sink) -> GoldenpathClient:
        return _Client(self, user, viewer, sink, self._network)


class Returned(Checker):
    """When each user who attaches has what they missed, from `begin` on. It finds no violations."""

    name: ClassVar[str] = "returned"

    def __init__(self) -> None:
        super().__init__()
        self._watching = False
        self.heads: dict[int, int] = {}
        """The last event that there was when a user attached, by user."""
        self.first: dict[int, float] = {}
        """When their first event came after that; times of `perf_counter`."""
        self.caught_up: dict[int, float] = {}
        """When they had every event up to their head."""
        self.on_caught_up: Callable[[int], None] | None = None

    def begin(self) -> None:
        """From now on who attaches is watched; what was before is forgotten."""
        self._watching = True
        for times in (self.heads, self.first, self.caught_up):
            times.clear()

    def subscribed(self, stream: Stream, frame: Frame, at: float) -> None:  # noqa: ARG002
        if self._watching:
            self.heads.setdefault(stream.user, frame.head)

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        user = stream.user
        if user in self.caught_up or user not in self.heads:
            return
        self.checked += 1
        self.first.setdefault(user, at)
        if frames[-1].seq >= self.heads[user]:
            self.caught_up[user] = at
            if self.on_caught_up is not None:
                self.on_caught_up(user)
