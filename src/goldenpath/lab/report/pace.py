"""How much came through in a run, and how much failed: a line of it on the terminal, tiles on the page."""

from __future__ import annotations

import msgspec

from goldenpath.lab.measurements import FLOOD
from goldenpath.lab.quantities import find
from goldenpath.lab.summary import ScenarioResult


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How much came through, over the whole load; and how much did not."""

    runs_per_second: float | None
    """That ended well; null: the load took no time."""
    events_per_second: float | None
    received_mb: float
    """What came over connections, in millions of bytes."""
    ended: int
    """Operations whose outcome is known."""
    failed: int
    """Of these, those that were not ok."""

    @property
    def failed_share(self) -> float | None:
        """0 to 1; None where nothing ended."""
        return self.failed / self.ended if self.ended else None

    @classmethod
    def of(cls, result: ScenarioResult) -> Pace:
        """What a result says of it."""
        facts = result.facts
        counts = [counts for kind, counts in result.measured.outcomes.items() if kind != FLOOD]
        ended = sum(sum(each.values()) for each in counts)
        return cls(
            runs_per_second=find("runs_per_second").of(facts).value,
            events_per_second=find("events_per_second").of(facts).value,
            received_mb=result.timeline.received_bytes / 1e6,
            ended=ended,
            failed=ended - sum(each.get("ok", 0) for each in counts),
        )
