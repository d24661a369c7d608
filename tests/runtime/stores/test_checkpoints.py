"""What is in the write-ahead log gets to the database file, and the log stays small, however commits follow."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from goldenpath.runtime.stores import checkpoints as module
from goldenpath.runtime.stores.checkpoints import Checkpoints

PAGE = 4096


class Writer:
    """A database of one table, written as `Database` writes: `put` is one commit of so many pages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = self.connect()
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("CREATE TABLE pages (content BLOB)")
        self.checkpoints = Checkpoints(path, self.connect)
        self.rows = 0

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    def put(self, pages: int) -> None:
        self.connection.execute("INSERT INTO pages VALUES (?)", (b"x" * (pages * PAGE - 500),))
        self.rows += 1
        self.checkpoints.after_commit(self.connection)

    def wait(self) -> None:
        """Until the thread has moved what it is at."""
        assert self.checkpoints.at_rest.wait(30)

    def close(self) -> None:
        self.checkpoints.stop()
        self.connection.close()
        self.checkpoints.release()


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writer]:
    monkeypatch.setattr(module, "SWEEP_FRAMES", 40)
    monkeypatch.setattr(module, "CUT_FRAMES", 160)
    writer = Writer(tmp_path / "pages.db")
    yield writer
    writer.close()
    with sqlite3.connect(tmp_path / "pages.db") as connection:
        assert connection.execute("SELECT count(*) FROM pages").fetchone() == (writer.rows,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_frames_are_those_that_sqlite_counts(writer: Writer) -> None:
    for pages in (1, 3, 7):
        writer.put(pages)
        _, frames, _ = writer.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        assert writer.checkpoints.frames == frames > 0


def test_the_thread_moves_what_there_is_and_the_next_commit_starts_the_log_anew(writer: Writer) -> None:
    writer.put(20)
    assert writer.checkpoints.sweeps == 0
    writer.put(20)
    assert (writer.checkpoints.sweeps, writer.checkpoints.cuts) == (1, 0)
    writer.wait()
    assert writer.path.stat().st_size >= 40 * PAGE
    writer.put(1)
    assert writer.checkpoints.frames < 10
    writer.put(40)
    assert writer.checkpoints.sweeps == 2  # what was moved of the log before does not count for this one
    writer.wait()


def test_a_log_over_the_bound_is_cut_in_the_commit(writer: Writer) -> None:
    reader = writer.connect()
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM pages").fetchall()  # it holds its view of the log: nothing can be started anew
    for _ in range(5):
        writer.put(41)
        writer.wait()
    assert writer.checkpoints.frames > module.CUT_FRAMES
    assert writer.checkpoints.cuts > 0
    reader.execute("COMMIT")
    reader.close()
    writer.put(1)
    writer.put(1)
    assert writer.checkpoints.frames < 10


def test_a_checkpoint_that_fails_stops_nobody(writer: Writer, tmp_path: Path) -> None:
    writer.checkpoints._connection.close()  # every use of it raises sqlite3.ProgrammingError
    writer.put(41)
    writer.wait()
    writer.put(1)
    assert writer.checkpoints.sweeps == 1
    writer.checkpoints._connection = writer.connect()


def test_no_thread_is_needed_that_could_not_be_had_later(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        writer.put(41)
        writer.wait()
        writer.put(1)
    assert writer.checkpoints.sweeps == 1
    assert writer.checkpoints.frames < 10
