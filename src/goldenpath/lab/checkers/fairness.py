"""Fairness: one user's flood does not cost the others.

Two figures. The slowdown of a user who does not flood: their mean run time of the runs that should have begun while
the flood was on, divided by that of all their others. Jain's index of the users who do not flood (R. Jain, D. Chiu,
W. Hawe: A Quantitative Measure of Fairness and Discrimination for Resource Allocation in Shared Computer Systems,
DEC-TR-301, 1984): (sum x)^2 / (n sum x^2), where x is what a user got, here the inverse of their mean run time; 1:
all the same, 1/n: one has all.

The history says who floods, and when. This needs the history of all users in one judge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from statistics import median
from typing import ClassVar, Final

import msgspec

from goldenpath.lab.checker import Checker
from goldenpath.lab.records import Complete, Invoke, Noted

SLOWDOWN: Final = 2.0
"""How many times longer runs may take under a flood, where nothing else is said."""
NOTICED: Final = 0.1
"""Seconds. Of two runs that are shorter nobody says which was the longer one: each counts as this."""
_LEAST: Final = 3
"""A user's mean of fewer runs says nothing."""


class _Runs:
    """One user's, in one phase."""

    __slots__ = ("failed", "ok", "seconds")

    def __init__(self) -> None:
        self.ok = self.failed = 0
        self.seconds = 0.0

    @property
    def mean(self) -> float:
        return self.seconds / self.ok


class Fairness(msgspec.Struct, frozen=True, kw_only=True):
    """How the users fared."""

    jain: float | None
    """None: fewer than two users with enough runs."""
    slowdown: float | None
    """The median user's under the flood; None: there was none, or nobody had enough runs in it and outside."""
    worst: tuple[int, float] | None
    """The user who was slowed down most, and how much."""


def jain(shares: Collection[float]) -> float | None:
    """Jain's index. None for fewer than two shares, or none above 0."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if len(shares) > 1 and squares else None


class FairShare(Checker):
    """Violations: `slowed` (the median user's slowdown is above `slowdown`), `starved` (most of a user's runs failed
    under the flood, and none outside), `unequal` (Jain's index is below `least_jain`; None: not judged, for users who
    differ)."""

    name: ClassVar[str] = "fairness"
    optional: ClassVar[bool] = True

    def __init__(self, slowdown: float = SLOWDOWN, least_jain: float | None = None) -> None:
        super().__init__()
        self._slowdown = slowdown
        self._least_jain = least_jain
        self._flooding: set[int] = set()
        self._flooders: set[int] = set()
        self._under_way: dict[int, bool] = {}
        self._calm: dict[int, _Runs] = defaultdict(_Runs)
        self._flooded: dict[int, _Runs] = defaultdict(_Runs)

    def noted(self, record: Noted) -> None:
        if record.kind == "flood_begun":
            self._flooding.add(int(record.text))
            self._flooders.add(int(record.text))
        elif record.kind == "flood_ended":
            self._flooding.discard(int(record.text))

    def invoked(self, op: Invoke) -> None:
        if op.kind == "ask":
            self._under_way[op.op] = bool(self._flooding)

    def completed(self, op: Invoke, record: Complete) -> None:
        flooded = self._under_way.pop(op.op, None)
        if flooded is None or record.code == "abandoned":
            return
        runs = (self._flooded if flooded else self._calm)[op.user]
        if record.outcome == "ok":
            runs.ok += 1
            runs.seconds += record.at - op.intended
        else:
            runs.failed += 1

    def fairness(self) -> Fairness:
        """Of what has ended so far."""
        shares = []
        for user in (self._calm.keys() | self._flooded.keys()) - self._flooders:
            calm, flooded = self._calm[user], self._flooded[user]
            seconds = calm.seconds + flooded.seconds
            if calm.ok + flooded.ok >= _LEAST and seconds:
                shares.append((calm.ok + flooded.ok) / seconds)
        slowdowns = {
            user: max(NOTICED, runs.mean) / max(NOTICED, self._calm[user].mean)
            for user, runs in self._flooded.items()
            if user not in self._flooders and min(runs.ok, self._calm[user].ok) >= _LEAST and self._calm[user].seconds
        }
        worst = max(slowdowns, key=lambda user: (slowdowns[user], -user), default=None)
        return Fairness(
            jain=jain(shares),
            slowdown=median(slowdowns.values()) if slowdowns else None,
            worst=None if worst is None else (worst, slowdowns[worst]),
        )

    def finish(self, at: float) -> None:
        fair = self.fairness()
        if fair.slowdown is not None and fair.worst is not None:
            self.checked += 1
            if fair.slowdown > self._slowdown:
                user, most = fair.worst
                witness = (
                    f"under the flood the median user's runs took {fair.slowdown:.2f} times as long as without, more "
                    f"than {self._slowdown:g}; those of user {user} {most:.2f} times"
                )
                self.violate("slowed", at, user, witness)
        for user, runs in sorted(self._flooded.items()):
            if user in self._flooders or runs.ok + runs.failed < _LEAST:
                continue
            self.checked += 1
            if runs.failed > runs.ok and not self._calm[user].failed:
                witness = f"under the flood {runs.failed} runs of user {user} failed, {runs.ok} did not; outside none"
                self.violate("starved", at, user, witness)
        if self._least_jain is not None and fair.jain is not None:
            self.checked += 1
            if fair.jain < self._least_jain:
                witness = f"Jain's index of the users is {fair.jain:.3f}, less than {self._least_jain:g}"
                self.violate("unequal", at, -1, witness)
