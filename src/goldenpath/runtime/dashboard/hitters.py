"""Who weighs most, in bounded memory: Space-Saving.

A. Metwally, D. Agrawal, A. El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, ICDT 2005,
with weights. As many keys are counted as there is room for; a new key takes the place of the lightest one, and its
weight as an error on top of its own. So whoever weighs more than the total divided by the room is among them, and no
weight is told too low.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappush, heapreplace


class HeavyHitters:
    """The heaviest keys. Adding takes a microsecond, whatever the room."""

    __slots__ = ("_heap", "_room", "_weights", "total")

    def __init__(self, room: int) -> None:
        if room < 1:
            raise ValueError("there is room for one key at least")
        self._room = room
        self._weights: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        """Every key once, with what it weighed when it was last looked at: at most what it weighs now."""
        self.total = 0.0
        """What all keys weigh, those that are not counted any more included."""

    def __len__(self) -> int:
        return len(self._weights)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return iter(self._weights.items())

    def add(self, key: str, weight: float) -> None:
        """Count `weight`, above 0, for `key`; nothing where it is 0 or less."""
        if weight <= 0:
            return
        self.total += weight
        weights = self._weights
        if key in weights:
            weights[key] += weight
        elif len(weights) < self._room:
            weights[key] = weight
            heappush(self._heap, (weight, key))
        else:
            least = self._lightest()
            weights[key] = weights.pop(least) + weight
            heapreplace(self._heap, (weights[key], key))

    def _lightest(self) -> str:
        heap = self._heap
        while heap[0][0] != (actual := self._weights[heap[0][1]]):
            heapreplace(heap, (actual, heap[0][1]))
        return heap[0][1]
