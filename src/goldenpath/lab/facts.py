"""What is known of a run when it has ended: what quantities are read off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from goldenpath.histogram import Histogram
from goldenpath.lab.checker import Finding
from goldenpath.lab.measurements import FLOOD, Measured
from goldenpath.lab.records import Manifest
from goldenpath.lab.timeline import Samples, Timeline


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What quantities are read off."""

    manifest: Manifest
    findings: Mapping[str, Finding]
    measured: Measured
    timeline: Timeline

    def durations(self, name: str) -> Histogram:
        """Empty where there are none."""
        dump = self.measured.durations.get(name)
        return Histogram() if dump is None else Histogram.load(dump)

    def outcomes(self, kind: str | None) -> dict[str, int]:
        """How often operations of a kind (None: of all but floods) were ok, or failed with which code. What was
        abandoned when the run ended is neither."""
        found: dict[str, int] = {}
        for name, counts in self.measured.outcomes.items():
            if kind == name or (kind is None and name != FLOOD):
                for code, count in counts.items():
                    if code != "abandoned":
                        found[code] = found.get(code, 0) + count
        return found

    @property
    def target(self) -> Samples:
        """What the monitor read of the target."""
        return self.timeline.samples.get("target", Samples())

    @property
    def begun(self) -> bool:
        """Whether any operation began."""
        return bool(self.timeline.attempts)


class Value(msgspec.Struct, frozen=True):
    """What was measured; None: nothing was. `samples`: how many single values it comes from."""

    value: float | None
    samples: int


NOTHING: Final = Value(None, 0)
