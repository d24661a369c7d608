"""Every time-out as one hierarchy: which there are, which lies within which, and which are in force now.

The values come from the settings, which have those of their environment. docs/timeouts.md says what each level bounds,
and docs/design/0009 why.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

import msgspec
import structlog

from goldenpath.wire.errors import GoldenpathError

Level = Literal[
    "run",
    "queue",
    "factory",
    "websocket_recv",
    "agent_execution",
    "tool",
    "model",
    "model_connect",
    "database",
    "orchestration",
    "startup",
    "health_wait",
    "health_check",
    "api_response",
]
"""What a time-out bounds. Its setting has the same name with `_timeout` after it."""

LEVELS: Final[tuple[Level, ...]] = get_args(Level)

_logger = structlog.get_logger("goldenpath.timeouts")


class Nesting(NamedTuple):
    """`child` lies within `parent`: strictly below it where it must be told which of the two fired."""

    parent: Level
    child: Level
    strict: bool

    @property
    def sign(self) -> str:
        return ">" if self.strict else ">="

    def holds(self, parent: float, child: float) -> bool:
        """Whether it does for these seconds."""
        return parent > child or (parent == child and not self.strict)


HIERARCHY: Final = (
    Nesting("websocket_recv", "agent_execution", strict=True),
    Nesting("agent_execution", "tool", strict=True),
    Nesting("tool", "model_connect", strict=True),
    Nesting("websocket_recv", "database", strict=True),
    Nesting("factory", "database", strict=True),
    Nesting("model", "model_connect", strict=True),
    Nesting("orchestration", "startup", strict=False),
    Nesting("orchestration", "health_wait", strict=False),
    Nesting("startup", "health_check", strict=False),
    Nesting("health_wait", "health_check", strict=True),
    Nesting("health_check", "api_response", strict=True),
)
"""Parents come before their children. A run's own limits (`run`, `queue`) are no part of it: whatever they are, nothing
outlives them, because a deadline is never later than the one that it was made from."""

FIT: Final = 0.8
"""What a level that was not set gets of its parent's seconds where its own would be too long, and is of its parent's
where that would be too short."""


class HierarchyError(GoldenpathError, ValueError):
    """Time-outs of which a child would outlive its parent. `rule` is the first that is broken."""

    def __init__(self, rule: Nesting, parent: float, child: float) -> None:
        super().__init__(
            f"{rule.parent}_timeout ({parent:g} s) must be {'above' if rule.strict else 'at least'}"
            f" {rule.child}_timeout ({child:g} s)"
        )
        self.rule = rule


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The seconds of every level."""

    run: float
    queue: float
    factory: float
    websocket_recv: float
    agent_execution: float
    tool: float
    model: float
    model_connect: float
    database: float
    orchestration: float
    startup: float
    health_wait: float
    health_check: float
    api_response: float

    def of(self, level: Level) -> float:
        """The seconds of `level`."""
        seconds: float = getattr(self, level)
        return seconds

    def broken(self) -> list[Nesting]:
        """The rules of the hierarchy that do not hold."""
        return [rule for rule in HIERARCHY if not rule.holds(self.of(rule.parent), self.of(rule.child))]

    def check(self) -> bool:
        """Whether the hierarchy holds: no child outlives its parent."""
        return not self.broken()

    def validate(self) -> None:
        """Raises `HierarchyError` where a child outlives its parent."""
        for rule in self.broken():
            raise HierarchyError(rule, self.of(rule.parent), self.of(rule.child))

    def at_least(self, other: Timeouts) -> Timeouts:
        """The longer of both at every level. Where the hierarchy holds in both it holds in the result."""
        return Timeouts(**{level: max(self.of(level), other.of(level)) for level in LEVELS})


class CurrentTimeouts:
    """The time-outs in force for new work. What is at work keeps its own. Belongs to the event loop; `now` may be read
    from any thread."""

    def __init__(self, timeouts: Timeouts) -> None:
        """Raises `HierarchyError`."""
        timeouts.validate()
        self.configured: Final = timeouts
        """Those that the server started with."""
        self._now = timeouts

    @property
    def now(self) -> Timeouts:
        """Those in force: for new work."""
        return self._now

    def replace(self, timeouts: Timeouts, why: str) -> Timeouts:
        """Put `timeouts` in force at once, for new work. Returns those before. Raises `HierarchyError`, and changes
        nothing then."""
        timeouts.validate()
        before, self._now = self._now, timeouts
        changed = {
            level: (before.of(level), timeouts.of(level)) for level in LEVELS if before.of(level) != timeouts.of(level)
        }
        _logger.warning("timeouts_replaced", why=why, changed=changed)
        return before
