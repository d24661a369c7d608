"""What the server still takes on when it cannot do everything: levels of degradation. Sans-I/O, but for `watch`.

At each level some tiers' new runs are refused, the lowest first; what runs goes on, and what is in the log can be read
at all of them. A level rises at once and falls a step at a time, when what it rose by has been clearly lower for a
while: at the edge of what a server can bear it would else go up and down with every run that it lets in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, get_args

import msgspec
import structlog

from goldenpath.clock import Clock
from goldenpath.wire.errors import RequestError

Level = Literal["normal", "shed_low", "shed_most", "refuse"]

LEVELS: Final[tuple[Level, ...]] = get_args(Level)
"""From the best to the worst."""
MEANINGS: Final[dict[Level, str]] = {
    "normal": "Everything is taken.",
    "shed_low": "New runs of the lowest tier are refused.",
    "shed_most": "New runs of all tiers but the highest are refused.",
    "refuse": "New runs are refused.",
}
RISES: Final = (1.0, 1.5, 2.0)
"""What must be unrelieved so that the levels after `normal` hold."""
FALLS: Final = 0.8
"""A level is left below this part of what it holds from."""
HOLD: Final = 10.0
"""For so long there must be less unrelieved before the level falls by one, in seconds."""
RETRY_AFTER: Final = 5.0
"""What who is refused is told to wait, in seconds."""
WATCH_INTERVAL: Final = 1.0

_logger = structlog.get_logger("goldenpath.degradation")


class Condition(msgspec.Struct, frozen=True):
    """How the server is doing."""

    unrelieved: float
    """How late the event loop stays though as few new runs are taken as may be, as a part of its bound: 1.0 is all."""
    can_write: bool
    """Whether the log can be written. Where it cannot, no run can be taken on."""


class DegradationStatistics(msgspec.Struct, frozen=True):
    """The level of degradation now, and what came of it since the start."""

    level: int
    """0 normal, 1 the lowest tier is refused, 2 all but the highest, 3 everybody."""
    forced: int
    """1 while an operator decides the level, else 0."""
    unrelieved: float
    """How late the event loop stays though as few new runs are taken as may be, as a part of its bound."""
    changes: int
    """How often the level changed."""
    refused: int
    """Runs that were refused because of it."""


class DegradationView(msgspec.Struct, frozen=True):
    """The level of degradation as operators see it."""

    level: Level
    meaning: str
    forced: bool
    """Whether an operator decided it."""
    refused_tiers: list[str]
    """The tiers whose new runs are refused."""
    condition: Condition


class Degradation:
    """The level of one server. `tiers` are those of the settings, the lowest first. Belongs to the event loop."""

    def __init__(self, tiers: Sequence[str]) -> None:
        self._tiers = tuple(tiers)
        self._pressed = 0
        """The level that what is unrelieved asks for, as its index."""
        self._calm_since: float | None = None
        self._condition = Condition(0.0, can_write=True)
        self._forced: Level | None = None
        self._level: Level = "normal"
        self._changes = self._refused = 0

    @property
    def level(self) -> Level:
        """The level that holds now."""
        return self._level

    @property
    def forced(self) -> Level | None:
        """The level that an operator decided; None: the server decides."""
        return self._forced

    def check(self, tier: str) -> None:
        """Raises `RequestError` (`overloaded`) where new runs of `tier` are refused now."""
        if self._level == "normal" or not self._refuses(tier):
            return
        self._refused += 1
        everybody = self._level == "refuse"
        message = "the server takes no new runs at present" if everybody else f"runs of the tier {tier} have to wait"
        raise RequestError("overloaded", message, retry_after=RETRY_AFTER)

    def _refuses(self, tier: str) -> bool:
        return self._level == "refuse" or (tier if tier in self._tiers else "free") in self._shed()

    def _shed(self) -> tuple[str, ...]:
        """The tiers that are refused."""
        if self._level == "refuse":
            return self._tiers
        if self._level == "normal" or len(self._tiers) < 2:  # of one tier nobody goes before another
            return ()
        return self._tiers[:1] if self._level == "shed_low" else self._tiers[:-1]

    # --- deciding -----------------------------------------------------------------------------------------------------

    def observe(self, condition: Condition, now: float) -> Level:
        """Take note of how the server is doing. Returns the level that holds from now on."""
        self._condition = condition
        unrelieved = condition.unrelieved
        asked = sum(unrelieved >= rise for rise in RISES)
        if asked >= self._pressed:
            self._pressed, self._calm_since = asked, None
        elif unrelieved >= FALLS * RISES[self._pressed - 1]:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= HOLD:
            self._pressed, self._calm_since = self._pressed - 1, now
        return self._decide()

    def calm(self) -> None:
        """Forget what was unrelieved: the level falls at once, as far as it came from that."""
        self._pressed, self._calm_since = 0, None
        self._condition = Condition(0.0, self._condition.can_write)
        self._decide()

    def force(self, level: Level | None) -> None:
        """Hold `level` whatever happens; None: decide again."""
        self._forced = level
        self._decide()

    def _decide(self) -> Level:
        decided = LEVELS[self._pressed] if self._condition.can_write else "refuse"
        level = self._forced or decided
        if level != self._level:
            rises = LEVELS.index(level) > LEVELS.index(self._level)
            tell = _logger.warning if rises else _logger.info
            tell(
                "degradation_changed", level=level, before=self._level, forced=self._forced is not None,
                unrelieved=round(self._condition.unrelieved, 2), can_write=self._condition.can_write,
            )  # fmt: skip
            self._level = level
            self._changes += 1
        return level

    # --- telling ------------------------------------------------------------------------------------------------------

    def view(self) -> DegradationView:
        return DegradationView(
            self._level, MEANINGS[self._level], self._forced is not None, list(self._shed()), self._condition
        )

    def statistics(self) -> DegradationStatistics:
        return DegradationStatistics(
            level=LEVELS.index(self._level),
            forced=int(self._forced is not None),
            unrelieved=self._condition.unrelieved,
            changes=self._changes,
            refused=self._refused,
        )


async def watch(degradation: Degradation, condition: Callable[[], Condition], clock: Clock) -> None:
    """Let `degradation` see how the server is doing each second, until cancelled."""
    while True:
        degradation.observe(condition(), clock.monotonic())
        await clock.sleep(WATCH_INTERVAL)
