"""Moving what is in SQLite's write-ahead log (WAL) to the database file, beside the commits instead of inside one.

SQLite does this in whatever commit fills the log, and that commit, with all that wait for it, then takes 25 ms instead
of 0.2. Here a thread of its own does it while commits go on. What they add meanwhile keeps SQLite from starting its log
anew, as it does once nothing is left to move; where commits never pause, the log is therefore cut in a commit after
all, but four times as rarely and with little left to do: 10 ms.

The number of frames in the log is read where every SQLite process has it, in the header of the WAL index
(https://sqlite.org/walformat.html, "WAL-Index Header": mxFrame, four bytes at 16 in native byte order).
"""

from __future__ import annotations

import mmap
import queue
import sqlite3
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

SWEEP_FRAMES: Final = 1024
"""After this many pages, of 4 KiB each, the thread moves what there is: more at once would take the core from the event
loop for long."""
CUT_FRAMES: Final = 16 * SWEEP_FRAMES
"""With this many, a commit cuts the log."""

_FRAMES: Final = struct.Struct("=I")
_FRAMES_AT: Final = 16
_PASSIVE: Final = "PRAGMA wal_checkpoint(PASSIVE)"
_logger = structlog.get_logger("goldenpath.database")


class Checkpoints:
    """The checkpoints of one database. `connect` opens a connection to it.

    The writer's thread calls `after_commit`, and `stop` when it writes no more. `release` comes after the last
    connection of this process was closed: closing any descriptor of a file drops all locks that the process has on it
    (POSIX), so SQLite's too, and the next process that opens the database would take this one for dead.
    """

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection]) -> None:
        self.sweeps = self.cuts = 0
        """How often the thread, and a commit, have moved what there was."""
        self.at_rest = threading.Event()
        """Whether the thread moves nothing at present."""
        self.at_rest.set()
        self._connection = connect()
        self._file = path.with_name(path.name + "-shm").open("rb")
        self._index = mmap.mmap(self._file.fileno(), _FRAMES.size + _FRAMES_AT, prot=mmap.PROT_READ)
        self._moved = 0
        self._due: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """A True for each sweep, and a False at the end."""
        # Started now: the writer must not depend on whether a thread can be had later.
        self._thread = threading.Thread(target=self._sweep, name="goldenpath-checkpoint", daemon=True)
        self._thread.start()

    @property
    def frames(self) -> int:
        """How many pages are in the log."""
        (count,) = _FRAMES.unpack_from(self._index, _FRAMES_AT)  # mapped: a read would give the interpreter away
        return int(count)

    def after_commit(self, writer: sqlite3.Connection) -> None:
        """Do what is due. Raises nothing."""
        if not self.at_rest.is_set():
            return
        frames = self.frames
        if frames < self._moved:  # SQLite has started the log anew
            self._moved = 0
        if frames >= CUT_FRAMES:
            self.cuts += 1
            self._moved = self._run(writer)
        elif frames - self._moved >= SWEEP_FRAMES:
            self.sweeps += 1
            self.at_rest.clear()
            self._due.put(True)

    def _sweep(self) -> None:
        while self._due.get():
            self._moved = self._run(self._connection)
            self.at_rest.set()

    def _run(self, connection: sqlite3.Connection) -> int:
        """How many frames have been moved in all."""
        try:
            _, _, moved = connection.execute(_PASSIVE).fetchone()
        except sqlite3.Error as error:  # the disk is full, say: the next commit fails too, and tells
            _logger.error("checkpoint_failed", error=str(error))  # noqa: TRY400
            return self.frames
        return int(moved)

    def stop(self) -> None:
        """Wait for the thread, and close its connection."""
        self._due.put(False)
        self._thread.join()
        self._connection.close()

    def release(self) -> None:
        """Let go of the WAL index."""
        self._index.close()
        self._file.close()
