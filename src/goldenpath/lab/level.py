"""A service level: a bound for one quantity of a run. Reading and changing them is in `goldenpath.lab.levels`."""

from __future__ import annotations

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, Literal

import msgspec

from goldenpath.lab.verdict import Verdict

Comparison = Literal["<=", ">="]


class Status(StrEnum):
    """What became of a level."""

    MET = "met"
    MISSED = "missed"
    """The target was missed, the limit kept."""
    BROKEN = "broken"
    """The limit was not kept: the run fails."""
    UNKNOWN = "unknown"
    """There is nothing to judge it by. Never a pass."""

    @property
    def verdict(self) -> Verdict:
        """What it says of the run."""
        return _VERDICTS[self]


_VERDICTS: Final = {
    Status.MET: Verdict.PASS,
    Status.MISSED: Verdict.PASS,
    Status.BROKEN: Verdict.FAIL,
    Status.UNKNOWN: Verdict.UNKNOWN,
}


class Level(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bound for one quantity."""

    name: str
    quantity: str
    """What is measured: a word of `goldenpath.lab.quantities`."""
    comparison: Comparison
    target: float
    """What it should be."""
    limit: float | None = None
    """What it must be; None: to miss the target fails nothing."""
    text: str = ""
    """What it says, for people."""
    source: tuple[str, ...] = ()
    """Where it comes from: rows of the requirements."""
    scenarios: tuple[str, ...] = ("*",)
    """To which it applies: patterns as of file names; one that begins with `!` takes away again. None: to no one."""
    with_faults: bool = True
    """Whether it applies to runs into which faults were injected."""
    against: str = ""
    """A scenario: the quantity is how much larger the measured is than there, where both were run together."""
    floor: float = 0.0
    """With `against`: values below count as this, because nobody notices the difference."""

    def applies_to(self, scenario: str) -> bool:
        """Whether it applies to a scenario of this name."""
        applies = False
        for pattern in self.scenarios:
            if pattern.startswith("!"):
                applies = applies and not fnmatchcase(scenario, pattern[1:])
            else:
                applies = applies or fnmatchcase(scenario, pattern)
        return applies

    def status(self, measured: float | None) -> Status:
        """What a measured value makes of it; None: there is none."""
        if measured is None:
            return Status.UNKNOWN
        if self._keeps(measured, self.target):
            return Status.MET
        if self.limit is None or self._keeps(measured, self.limit):
            return Status.MISSED
        return Status.BROKEN

    def _keeps(self, measured: float, bound: float) -> bool:
        return measured <= bound if self.comparison == "<=" else measured >= bound
