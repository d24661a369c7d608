"""A rule: who gets what of one flag. Sans-I/O.

Whether a user is within a share is decided by a number that the flag and the user's id give, always the same: the
multiply-shift hash of Dietzfelbinger (Universal Hashing and k-Wise Independent Random Variables via Integer Arithmetic
without Primes, STACS 1996; strongly universal by Thorup, High Speed Hashing for Integers and Strings, 2015) over the
CRC-32 of the id, with multiplier and summand drawn from the flag's name. Who is in at 10 % is therefore in at 50 %;
of different flags it is different users.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Final, Literal
from zlib import crc32

import msgspec

from goldenpath.runtime.context import Principal
from goldenpath.runtime.flags.definition import Flag, FlagError
from goldenpath.runtime.operators import MAX_WHY, OPERATOR
from goldenpath.runtime.settings import Environment

Stage = Literal["off", "internal", "canary", "staged", "full"]
PERCENT: Final[dict[Stage, float]] = {"off": 0.0, "internal": 0.0, "canary": 10.0, "staged": 50.0, "full": 100.0}
"""The share of users that each stage lets in. From `internal` on, internal users are in too."""
INTERNAL: Final = "internal"
"""The permission of users who get everything first; operators do, too."""
MAX_NAMES: Final = 32
"""How many tiers or environments a rule may name."""
MAX_NAME: Final = 128
"""The longest name of a tier, in characters."""

_RANGE: Final = 1 << 32
_MASK: Final = (1 << 64) - 1


class Rule(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who is in, and what they get; everybody else gets false, or the flag's default variant."""

    stage: Stage = "full"
    """How far the flag is rolled out."""
    percent: float | None = None
    """The share of users who are in, instead of the stage's."""
    variant: str | None = None
    """What those get who are in; None for a boolean flag: they get true."""
    tiers: tuple[str, ...] = ()
    """Only users of these tiers are in; empty: of all. Internal users are in whatever their tier is."""
    environments: tuple[Environment, ...] = ()
    """Only in these environments is anybody in; empty: in all."""
    why: str = ""
    """Why it was set, for people."""
    by: str = ""
    """Who set it."""

    def check(self, flag: Flag) -> None:
        """Raises `FlagError` where `flag` cannot have this rule."""
        where = f"flag {flag.name}"
        self.check_form(where)
        if self.percent is not None and self.stage in ("off", "internal"):
            raise FlagError(f"{where}: a percent goes with no stage, or with canary, staged or full")
        if flag.variants is None and self.variant is not None:
            raise FlagError(f"{where} has no variants")
        if flag.variants is not None and self.stage != "off" and self.variant not in flag.variants:
            raise FlagError(f"{where}: variant is one of {', '.join(flag.variants)}")

    def check_tiers(self, where: str, tiers: Collection[str]) -> None:
        """Raises `FlagError` where the rule names another tier than these, which nobody would have: it would shut
        everybody out. For who sets a rule; one that is set stays, whatever becomes of the tiers."""
        for tier in self.tiers:
            if tier not in tiers:
                raise FlagError(f"{where}: there is no tier {tier!r}; there are {', '.join(tiers)}")

    def check_form(self, where: str) -> None:
        """Raises `FlagError` where no flag can have this rule; it is called `where`."""
        if self.percent is not None and not 0 <= self.percent <= 100:  # so written, it refuses a NaN
            raise FlagError(f"{where}: percent is from 0 to 100")
        if len(self.tiers) > MAX_NAMES or len(self.environments) > MAX_NAMES:
            raise FlagError(f"{where}: at most {MAX_NAMES} tiers and environments")
        if any(len(tier) > MAX_NAME for tier in self.tiers):
            raise FlagError(f"{where}: the name of a tier has at most {MAX_NAME} characters")
        if len(self.why) > MAX_WHY or len(self.by) > MAX_WHY:
            raise FlagError(f"{where}: why and by have at most {MAX_WHY} characters")

    @property
    def effect(self) -> Rule:
        """The rule without who set it and why: two with the same effect are the same."""
        return msgspec.structs.replace(self, why="", by="")


class Decision:
    """One flag with its rule in one environment, ready to be asked. Immutable; safe from any thread."""

    __slots__ = ("_a", "_b", "_inside", "_internal", "_outside", "_threshold", "_tiers", "same_for_all")

    def __init__(self, flag: Flag, rule: Rule | None, environment: Environment) -> None:
        """`rule` was checked; None: none is set."""
        self._inside = self._outside = flag.default
        self._threshold, self._internal, self._tiers = 0, False, rule.tiers if rule is not None else ()
        if rule is not None:
            if flag.variants is None:
                self._inside, self._outside = True, False
            elif rule.variant is not None:
                self._inside = rule.variant
            if not rule.environments or environment in rule.environments:
                percent = PERCENT[rule.stage] if rule.percent is None else rule.percent
                self._threshold = round(percent / 100 * _RANGE)
                self._internal = rule.stage != "off"
        self._a, self._b = _numbers(flag.name)
        full = self._threshold == _RANGE and not self._tiers
        self.same_for_all = full or self._inside == self._outside or not (self._threshold or self._internal)
        """Whether everybody gets the same."""
        if self.same_for_all:
            self._outside = self._inside if full else self._outside

    def of(self, principal: Principal | None) -> bool | str:
        """What `principal` gets: a boolean or a variant's name. None: what concerns nobody in particular, for which
        nobody is in unless everybody is."""
        if self.same_for_all or principal is None:
            return self._outside
        if self._internal and not principal.permissions.isdisjoint(_INTERNAL):
            return self._inside
        if self._tiers and principal.tier not in self._tiers:
            return self._outside
        # `bucket`, without the call
        number = ((self._a * crc32(principal.user_id.encode()) + self._b) & _MASK) >> 32
        return self._inside if number < self._threshold else self._outside

    def bucket(self, user_id: str) -> float:
        """Where a user stands: from 0 up to, not including, 1. Who is below a share is within it."""
        return (((self._a * crc32(user_id.encode()) + self._b) & _MASK) >> 32) / _RANGE


_INTERNAL: Final = frozenset({INTERNAL, OPERATOR})


def _numbers(flag: str) -> tuple[int, int]:
    digest = hashlib.blake2b(flag.encode(), digest_size=16, person=b"goldenpath.flags").digest()
    return int.from_bytes(digest[:8]) | 1, int.from_bytes(digest[8:])
