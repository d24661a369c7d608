"""What a flag is, and the flags that the server itself has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from goldenpath.wire.errors import GoldenpathError
from goldenpath.wire.ids import is_name

AGENT: Final = "agent."
"""Before an agent's name: the flag that rolls this agent out, or takes it away."""
NEW_RUNS: Final = "new_runs"
REGISTRATION: Final = "registration"
SIMULATION: Final = "simulation"
NO_OPTIMIZATIONS: Final = "disable_timeout_optimizations"
LEGACY_TIMEOUTS: Final = "force_legacy_timeouts"
TIMEOUTS: Final = "timeouts"
CONFIGURED: Final = "configured"
ROLLED_BACK: Final = "rolled_back"
BREAKERS: Final = "breakers"
ADAPTIVE_ADMISSION: Final = "adaptive_admission"
STALL_DETECTOR: Final = "stall_detector"
AUTOMATIC_ROLLBACK: Final = "automatic_rollback"


class FlagError(GoldenpathError, ValueError):
    """A flag or a rule that cannot be; the message names it and says what is allowed."""


class UnknownFlag(GoldenpathError, LookupError):
    """There is no flag of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no flag {name!r}; an app declares its own: app.flag({name!r})")


class Flag(msgspec.Struct, frozen=True):
    """A flag, boolean or with variants.

    `variants`: None for a boolean flag; else the values by their names, any JSON. `default`: what everybody gets where
    no rule is set: a boolean, or a variant's name.
    """

    name: str
    description: str
    default: bool | str = False
    variants: dict[str, Any] | None = None

    def check(self) -> None:
        """Raises `FlagError`."""
        if not is_name(self.name):
            raise FlagError(f"a flag's name has 1 to 128 of the characters A-Z a-z 0-9 . _ : -; {self.name!r} has not")
        if self.variants is None:
            if not isinstance(self.default, bool):
                raise FlagError(f"flag {self.name}: without variants its default is true or false")
        elif self.default not in self.variants:
            raise FlagError(f"flag {self.name}: its default must be one of {', '.join(self.variants)}")

    def value(self, chosen: bool | str) -> Any:
        """What `chosen`, a boolean or a variant's name, stands for."""
        return chosen if self.variants is None else self.variants[str(chosen)]


BUILTIN: Final = (
    Flag(NEW_RUNS, "New runs are accepted. Off: `overloaded`; running and queued ones go on.", True),
    Flag(REGISTRATION, "Registration, where the settings open it. Off: `forbidden`.", True),
    Flag(SIMULATION, "Log-ins of simulated users, where the settings have a key. Off: `forbidden`.", True),
    Flag(BREAKERS, "Circuit breakers. Off: every call is let through, and none is judged.", True),
    Flag(ADAPTIVE_ADMISSION, "New runs are refused early under pressure. Off: only by limits and operators.", True),
    Flag(STALL_DETECTOR, "Who blocks the event loop is looked for. Off: its thread ends.", True),
    Flag(NO_OPTIMIZATIONS, "Kill switch: no time-out of new work is shorter than in production.", False),
    Flag(LEGACY_TIMEOUTS, "The same under its other name.", False),
    Flag(
        TIMEOUTS,
        "The time-outs of new work: those of the settings, or (rolled_back) those of production, whatever is set.",
        CONFIGURED,
        {CONFIGURED: CONFIGURED, ROLLED_BACK: ROLLED_BACK},
    ),
    Flag(AUTOMATIC_ROLLBACK, "The server rolls back by itself when its signals are bad. Off: only when told.", True),
)
"""The flags of every server; besides, each agent has one, `agent.NAME`."""


def agent_flags(names: Iterable[str]) -> list[Flag]:
    """The flags of the agents with these names."""
    return [
        Flag(agent_flag(name), f"Who may run the agent {name}; for everybody else it does not exist.", True)
        for name in names
    ]


def agent_flag(agent: str) -> str:
    """The name of an agent's flag."""
    return f"{AGENT}{agent}"[:128]
