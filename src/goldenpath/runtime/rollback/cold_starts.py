"""Starts that did not get ready: how a server that cannot start any more notices it, from one process to the next.

Each start leaves a mark in a file of the data folder, and takes it away when it is ready. Whoever finds several marks
is in a loop of cold-start failures.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

FILE_NAME: Final = "starts.json"
FAILURES: Final = 3
"""So many starts in a row that did not get ready are a cold-start failure."""
WINDOW: Final = 900.0
"""Starts longer ago than this do not count, in seconds."""
MAX_MARKS: Final = 20

_logger = structlog.get_logger("goldenpath.cold_starts")


def failed(starts: Sequence[float], now: float) -> list[float]:
    """Of the moments of starts that did not get ready, those that count at `now`; all Unix seconds."""
    return [at for at in starts if now - WINDOW <= at <= now][-MAX_MARKS:]


class ColdStarts:
    """The marks in the file at `path`; None: nothing is kept. Blocks on the disk, for microseconds. A file that cannot
    be read or written is told of in the log, and counts for nothing: it must not keep a server from starting."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def begin(self, now: float) -> int:
        """Mark a start at `now` (Unix seconds). Returns how many before it, in a row and not long ago, did not get
        ready."""
        marks = failed(self._read(), now)
        self._write([*marks, now])
        return len(marks)

    def ready(self) -> None:
        """The server is ready: all marks go."""
        self._write([])

    def _read(self) -> list[float]:
        if self._path is None:
            return []
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[float])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError) as error:
            _logger.warning("starts_not_read", path=str(self._path), error=str(error))
            return []

    def _write(self, marks: list[float]) -> None:
        if self._path is None:
            return
        draft = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(marks))
            draft.replace(self._path)
        except OSError as error:
            _logger.warning("starts_not_written", path=str(self._path), error=str(error))
