"""What a crowd of users saw, counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_SAMPLES = 3


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all do not exceed; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass
class Tally:
    """Latencies are seconds, from the intended start of the message."""

    expected: int = 0
    completed: int = 0
    events: int = 0
    messages: int = 0
    """WebSocket messages received: events / messages is how well the server coalesces."""
    received_bytes: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)
    """The first violations in words."""
    start_lag: list[float] = field(default_factory=list)
    first_token: list[float] = field(default_factory=list)
    run: list[float] = field(default_factory=list)

    def violate(self, kind: str, description: str) -> None:
        self.violations[kind] += 1
        if len(self.samples) < MAX_SAMPLES:
            self.samples.append(f"{kind}: {description}")

    @property
    def is_clean(self) -> bool:
        """Every run complete and no event wrong; False when nothing was to be seen."""
        return self.expected > 0 and self.completed == self.expected and not self.violations and not self.failed

    def verdict(self) -> str:
        """One line."""
        if self.is_clean:
            return f"all {self.completed} runs complete, no violation in {self.events} events"
        wrong = ", ".join(f"{count} {kind}" for kind, count in (self.failed + self.violations).items()) or "none wrong"
        return f"{self.completed} of {self.expected} runs complete; {wrong}; {'; '.join(self.samples)}"

    def latencies(self) -> dict[str, float]:
        """Percentiles in milliseconds."""
        return {
            f"{name}_p{percent:g}_ms": percentile(values, percent) * 1000
            for name, values in (("start_lag", self.start_lag), ("first_token", self.first_token), ("run", self.run))
            for percent in (50, 95, 99)
        }
