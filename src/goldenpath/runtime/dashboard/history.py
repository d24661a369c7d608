"""The samples of the last ten minutes, by column, so that a page that opens shows its charts at once. Sans-I/O."""

from __future__ import annotations

from collections import deque
from typing import Final

from goldenpath.wire.live import COLUMNS, Sample

KEPT: Final = 600
"""How many samples: of ten minutes, one a second. They take 0.3 MB."""


class History:
    """The newest samples."""

    def __init__(self, kept: int = KEPT) -> None:
        self._columns: dict[str, deque[float | None]] = {name: deque(maxlen=kept) for name in COLUMNS}

    def __len__(self) -> int:
        return len(self._columns["time"])

    def add(self, sample: Sample) -> None:
        for name, column in self._columns.items():
            column.append(getattr(sample, name))

    def columns(self) -> dict[str, list[float | None]]:
        """All columns, equally long, the oldest sample first."""
        return {name: list(column) for name, column in self._columns.items()}
