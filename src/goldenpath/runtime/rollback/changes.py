"""What each level changes of the flags. Sans-I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from goldenpath.runtime.flags.definition import BUILTIN, LEGACY_TIMEOUTS, NO_OPTIMIZATIONS, ROLLED_BACK, TIMEOUTS
from goldenpath.runtime.flags.rule import PERCENT, Rule

SWITCHES: Final = (NO_OPTIMIZATIONS, LEGACY_TIMEOUTS)
"""The kill switches of the time-outs."""
OFF: Final = Rule(stage="off")
ON: Final = Rule()
_OWN: Final = frozenset(flag.name for flag in BUILTIN)


def rolled_back(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules that the level `flags` sets where `rules` are set: the kill switches are on, and everything that is
    being rolled out, but not out yet, is off. The server's own switches are not rolled out: `new_runs` for half of the
    users is half of the load, and off it would be an outage."""
    taken_back = {name: OFF for name, rule in rules.items() if name not in _OWN and is_on_its_way(rule)}
    return {**taken_back, **dict.fromkeys(SWITCHES, ON)}


def timeouts_back() -> dict[str, Rule]:
    """The rules that the level `timeouts` sets."""
    return {TIMEOUTS: Rule(variant=ROLLED_BACK)}


def is_on_its_way(rule: Rule) -> bool:
    """Whether something is rolled out to some users, and not to all."""
    share = PERCENT[rule.stage] if rule.percent is None else rule.percent
    return rule.stage != "off" and share < 100
