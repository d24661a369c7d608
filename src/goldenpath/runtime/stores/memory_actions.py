"""What operators changed, in memory: for tests, and for a server without a disk."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence

import msgspec

from goldenpath.runtime.interfaces import MAX_ACTIONS, ActionRow


class MemoryActions:
    """`ActionStore` without a file, of the newest `capacity` rows."""

    def __init__(self, capacity: int = MAX_ACTIONS) -> None:
        self._rows: deque[ActionRow] = deque(maxlen=capacity)
        self._numbers = itertools.count(1)

    async def add_actions(self, actions: Sequence[ActionRow]) -> None:
        self._rows.extend(msgspec.structs.replace(row, number=next(self._numbers)) for row in actions)

    async def actions(self, limit: int, before: int | None = None, area: str | None = None) -> list[ActionRow]:
        found = (
            row
            for row in reversed(self._rows)
            if (before is None or row.number < before) and (area is None or row.area == area)
        )
        return list(itertools.islice(found, limit))
