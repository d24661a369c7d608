"""What adapters begin with: a client that can do nothing but be there."""

from __future__ import annotations

from collections.abc import Callable

from goldenpath.lab.records import Closed, Invoke
from goldenpath.lab.target import Sink, TargetError


class UnableClient:
    """A client with no abilities: what a target has, its own client overrides."""

    in_turn = False

    def __init__(self, user: int, viewer: int | None, sink: Sink) -> None:
        self.user = user
        self.viewer = viewer
        self.sink = sink
        self.on_closed: Callable[[Closed, int], None] | None = None

    @property
    def connection(self) -> int:
        return 0

    async def login(self, op: Invoke) -> None:
        raise _unable(op.kind)

    @property
    def good_for(self) -> float | None:
        return None

    async def refresh(self, op: Invoke) -> None:
        raise _unable(op.kind)

    async def connect(self) -> None:
        raise _unable("connect")

    def settled(self, op: Invoke, *, ended: bool) -> None:
        """Nothing is kept of an `ask`."""

    async def attach(self, op: Invoke) -> None:
        raise _unable(op.kind)

    async def cancel(self, op: Invoke) -> None:
        raise _unable(op.kind)

    async def history(self, op: Invoke) -> None:
        raise _unable(op.kind)

    async def threads(self, op: Invoke) -> None:
        raise _unable(op.kind)

    async def intrude(self, op: Invoke) -> bool:
        raise _unable(op.kind)

    async def trespass(self, op: Invoke) -> None:
        raise _unable(op.kind)


def _unable(what: str) -> TargetError:
    return TargetError("unable", f"{what}: the target does not have this ability")
