from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from goldenpath.clock import ManualClock
from goldenpath.runtime.breakers import Breakers
from goldenpath.runtime.dependencies import policies_of
from goldenpath.runtime.interfaces import StoreError, StoreRefusedError, Unfinished
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.stores.database import WRITES, Database, DataInUse
from goldenpath.runtime.stores.sqlite_log import SCHEMA, SqliteLog
from goldenpath.wire.ids import Epoch
from tests.runtime.stores.rows import commit, journal, key, messages, run, segment, thread

TABLE = "CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY)"


@asynccontextmanager
async def opened(path: Path, *schema: str, **options: Any) -> AsyncIterator[Database]:
    database = Database(path, schema or (TABLE,), **options)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "goldenpath.db"


async def add(database: Database, word: str) -> None:
    await database.write(lambda c: c.execute("INSERT INTO words VALUES (?)", (word,)))


async def words(database: Database) -> list[str]:
    rows = await database.read(lambda c: c.execute("SELECT word FROM words ORDER BY rowid").fetchall())
    return [word for (word,) in rows]


# --- opening ----------------------------------------------------------------------------------------------------------


LOCKED = """
import fcntl, sys
with open(sys.argv[1], "r+b") as index:
    try:
        fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
    except OSError:
        print("locked")
"""
"""Whether the lock that every process holds on the WAL index, while it has the database open, is held."""


async def test_other_processes_see_that_this_one_has_the_file_open(path: Path) -> None:
    """Or they take it for dead, and cut off the WAL index under it: a backup would kill the server."""
    async with opened(path) as database:
        await add(database, "one")
        assert await words(database) == ["one"]
        command = [sys.executable, "-c", LOCKED, str(path) + "-shm"]
        assert (await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)).stdout == b"locked\n"


async def test_a_database_that_is_written_can_be_backed_up(path: Path, tmp_path: Path) -> None:
    backup = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))"
    async with opened(path) as database:
        for number in range(10):
            copy = tmp_path / f"copy{number}.db"
            done = asyncio.create_task(
                asyncio.to_thread(subprocess.run, [sys.executable, "-c", backup, str(path), str(copy)], check=True)
            )
            while not done.done():
                await add(database, f"{number}-{len(await words(database))}")
            await done
            before = len(await words(database))
            with sqlite3.connect(copy) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                assert 0 < connection.execute("SELECT count(*) FROM words").fetchone()[0] <= before


async def test_nobody_else_may_read_the_files(path: Path) -> None:
    async with opened(path) as database:
        await add(database, "secret")
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert set(modes) >= {"goldenpath.db", "goldenpath.db-wal", "goldenpath.lock"}
        assert set(modes.values()) == {0o600}, modes


async def test_a_file_that_is_open_is_refused_to_everybody_else(path: Path) -> None:
    async with opened(path) as database:
        with pytest.raises(DataInUse, match="another server"):
            await Database(path, [TABLE]).open()
        await add(database, "still works")
    async with opened(path) as database:
        assert await words(database) == ["still works"]


async def test_another_process_is_refused_until_this_one_is_gone(path: Path) -> None:
    script = (
        "import asyncio, sys, pathlib\n"
        "from goldenpath.runtime.stores.database import Database, DataInUse\n"
        "database = Database(pathlib.Path(sys.argv[1]), [])\n"
        "async def main():\n"
        "    try:\n"
        "        await database.open()\n"
        "    except DataInUse:\n"
        "        return 3\n"
        "    print('open', flush=True)\n"
        "    sys.stdin.read()\n"
        "sys.exit(asyncio.run(main()))\n"
    )

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    async with opened(path):
        with start() as refused:
            assert await asyncio.to_thread(refused.wait, 30) == 3
    with start() as holder:
        assert holder.stdout is not None
        assert await asyncio.to_thread(holder.stdout.readline) == "open\n"
        with pytest.raises(DataInUse):
            await Database(path, [TABLE]).open()
        holder.kill()  # the lock goes with the process, however it ends
        holder.wait()
    async with opened(path) as database:
        assert await words(database) == []


async def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(path: Path) -> None:
    async with opened(path) as database:
        await add(database, "old")
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 2")
    newer.close()
    before = path.read_bytes()
    for _ in range(2):  # the lock is given back each time
        with pytest.raises(StoreError, match="schema 2") as refused:
            await Database(path, [TABLE, "CREATE TABLE other (x)"]).open()
        assert not isinstance(refused.value, DataInUse)
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"hello " * 1000)
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot open"):
            await Database(path, [TABLE]).open()
    assert path.read_bytes() == b"hello " * 1000


async def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is not a directory"):
        await Database(tmp_path / "file" / "goldenpath.db", [TABLE]).open()


async def test_a_database_that_could_not_be_opened_can_be_closed(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"hello " * 1000)
    database = Database(path, [TABLE])
    with pytest.raises(StoreError):
        await database.open()
    await database.close()
    await database.close()


@pytest.mark.parametrize(("durability", "synchronous"), [("process", 1), ("power", 2)])
async def test_durability_says_when_the_disk_is_waited_for(path: Path, durability: Any, synchronous: int) -> None:
    async with opened(path, durability=durability) as database:
        assert await database.write(lambda c: c.execute("PRAGMA synchronous").fetchone()) == (synchronous,)
        assert await database.write(lambda c: c.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


# --- writing and reading ----------------------------------------------------------------------------------------------


async def test_before_the_opening_and_after_the_end_every_call_is_refused(path: Path) -> None:
    database = Database(path, [TABLE])

    async def check_refused() -> None:
        with pytest.raises(StoreError, match="not open"):
            await add(database, "x")
        with pytest.raises(StoreError, match="not open"):
            await words(database)

    await check_refused()
    await database.open()
    assert await words(database) == []
    await database.close()
    await check_refused()
    await database.close()


async def test_a_write_that_fails_leaves_nothing(path: Path) -> None:
    async with opened(path) as database:
        await add(database, "one")

        def call(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO words VALUES ('two')")
            connection.execute("INSERT INTO words VALUES ('one')")

        with pytest.raises(StoreError, match="UNIQUE"):
            await database.write(call)
        assert await words(database) == ["one"]
        await add(database, "two")
        assert await words(database) == ["one", "two"]


async def test_what_a_call_raises_reaches_the_caller_and_undoes_the_write(path: Path) -> None:
    async with opened(path) as database:

        def call(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO words VALUES ('one')")
            raise LookupError("no")

        with pytest.raises(LookupError, match="no"):
            await database.write(call)
        with pytest.raises(LookupError, match="no"):
            await database.read(lambda _: (_ for _ in ()).throw(LookupError("no")))
        assert await words(database) == []


async def test_a_reader_cannot_write(path: Path) -> None:
    async with opened(path) as database:
        with pytest.raises(StoreError, match="readonly"):
            await database.read(lambda c: c.execute("INSERT INTO words VALUES ('x')"))
        assert await words(database) == []


async def test_writes_happen_in_the_order_in_which_they_were_asked_for(path: Path) -> None:
    async with opened(path) as database:
        await asyncio.gather(*(add(database, str(number)) for number in range(200)))
        assert await words(database) == [str(number) for number in range(200)]


async def test_a_cancelled_write_still_happens_and_stops_nobody(path: Path) -> None:
    async with opened(path) as database:
        release = threading.Event()
        first = asyncio.create_task(database.write(lambda _: release.wait(10)))
        second = asyncio.create_task(add(database, "cancelled"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        release.set()
        assert await first
        await add(database, "next")
        assert await words(database) == ["cancelled", "next"]


async def test_reading_does_not_wait_for_the_writer(path: Path) -> None:
    async with opened(path) as database:
        await add(database, "one")
        release, writing = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def call(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO words VALUES ('two')")
            loop.call_soon_threadsafe(writing.set)
            release.wait(10)

        slow = asyncio.create_task(database.write(call))
        await writing.wait()
        assert await words(database) == ["one"]
        release.set()
        await slow
        assert await words(database) == ["one", "two"]


async def test_closing_finishes_what_was_handed_in(path: Path) -> None:
    async with opened(path) as database:
        tasks = [asyncio.create_task(add(database, str(number))) for number in range(50)]
        await asyncio.sleep(0)
        await database.close()
        await asyncio.gather(*tasks)
    async with opened(path) as database:
        assert len(await words(database)) == 50


# --- losing the process, losing the disk ------------------------------------------------------------------------------


def copied(path: Path, to: Path) -> Path:
    """What a killed process leaves: the files as they are now, nothing closed, no checkpoint made."""
    to.mkdir()
    for file in path.parent.iterdir():
        shutil.copyfile(file, to / file.name)
    return to / path.name


async def test_what_was_committed_is_there_after_a_kill(path: Path, tmp_path: Path) -> None:
    async with opened(path, SCHEMA) as database:
        store = SqliteLog(database)
        await store.commit(commit(1, threads=[thread()], runs=[run()], journal=[journal(1, 3)]))
        first = copied(path, tmp_path / "first")
        await store.commit(commit(2, segments=[segment(1, 5)], messages=[messages(0, "a")], threads=[thread(head=5)]))
        await store.commit(commit(3, journal=[journal(6, 6)]))
        second = copied(path, tmp_path / "second")
    async with opened(first, SCHEMA) as database:
        assert await SqliteLog(database).recover() == (1, [Unfinished(thread(), [run()], 0, [journal(1, 3)])])
    async with opened(second, SCHEMA) as database:
        store = SqliteLog(database)
        assert await store.recover() == (3, [Unfinished(thread(head=5), [run()], 1, [journal(6, 6)])])
        assert await store.segments(Epoch("e1"), 0, 1000) == [segment(1, 5)]
        assert await store.messages(Epoch("e1")) == [b"a"]


async def test_a_write_cut_by_a_kill_leaves_nothing(path: Path, tmp_path: Path) -> None:
    async with opened(path) as database:
        await add(database, "whole")

        def call(connection: sqlite3.Connection) -> Path:
            connection.executemany("INSERT INTO words VALUES (?)", [(f"half {n}",) for n in range(5000)])
            return copied(path, tmp_path / "cut")

        cut = await database.write(call)
    async with opened(cut) as database:
        assert await words(database) == ["whole"]


class SmallDatabase(Database):
    """A database on a disk with room for so many pages of 4 KiB."""

    pages = 1 << 30

    def _connect(self, cache_kib: int) -> sqlite3.Connection:
        connection = super()._connect(cache_kib)
        connection.execute(f"PRAGMA max_page_count = {self.pages}")
        return connection


async def fill(store: SqliteLog) -> list[int]:
    """Commit until the disk is full. Returns the first seqs of what was committed."""
    held: list[int] = []
    for number in range(2, 10_000):
        part = segment(len(held) * 100 + 1, len(held) * 100 + 100)
        try:
            await store.commit(commit(number, segments=[part], threads=[thread(head=part.last_seq)]))
        except StoreError:
            return held
        held.append(part.first_seq)
    raise AssertionError("the disk did not become full")


async def check_full(database: Database, free: Any) -> None:
    """Fill the disk: what was committed stays, each further commit fails whole, and with room again all goes on."""
    store = SqliteLog(database)
    await store.commit(commit(1, threads=[thread()], runs=[run()], messages=[messages(0, "a")]))
    held = await fill(store)
    assert held
    for number in (20_000, 20_001):
        with pytest.raises(StoreError, match="full"):
            await store.commit(commit(number, messages=[messages(0, *["x" * 5000] * 200)]))
    row = await store.thread(key())
    assert row is not None
    assert row.head == held[-1] + 99
    parts = await store.segments(Epoch("e1"), 0, 1 << 30)
    assert [part.first_seq for part in parts] == held
    assert await store.messages(Epoch("e1")) == [b"a"]
    await free()
    await store.commit(commit(30_000, messages=[messages(1, "b")], segments=[segment(held[-1] + 100, held[-1] + 200)]))
    assert await store.messages(Epoch("e1")) == [b"a", b"b"]


async def test_a_full_disk_fails_commits_whole_and_loses_nothing(path: Path) -> None:
    database = SmallDatabase(path, [SCHEMA])
    database.pages = 60
    await database.open()
    try:
        await check_full(database, lambda: database.write(lambda c: c.execute("PRAGMA max_page_count = 1000000")))
    finally:
        await database.close()
    async with opened(path, SCHEMA) as reopened:
        assert await SqliteLog(reopened).messages(Epoch("e1")) == [b"a", b"b"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system with little room; skipped where mounting is not allowed."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "goldenpath-test", str(directory)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("cannot mount a small disk here")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


async def test_a_disk_that_is_really_full_does_the_same(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (300 << 10))

    async def free() -> None:
        ballast.unlink()

    async with opened(small_disk / "goldenpath.db", SCHEMA) as database:
        await check_full(database, free)
    async with opened(small_disk / "goldenpath.db", SCHEMA) as reopened:
        assert await SqliteLog(reopened).messages(Epoch("e1")) == [b"a", b"b"]


# --- what fails is left alone -----------------------------------------------------------------------------------------


def broken(_: sqlite3.Connection) -> None:
    raise sqlite3.OperationalError("database or disk is full")


async def test_a_write_that_would_only_fail_is_refused_but_not_to_who_insists(path: Path) -> None:
    breakers = Breakers(ManualClock(), lambda: 0.0, policies_of(Settings()))
    async with opened(path, breakers=breakers) as database:
        for _ in range(2):
            with pytest.raises(StoreError, match="full"):
                await database.write(broken)
        with pytest.raises(StoreRefusedError) as refused:
            await database.write(lambda _: None)
        assert refused.value.retry_after == Settings().breaker_recovery
        assert await database.read(lambda _: "read") == "read"
        with pytest.raises(StoreError, match="full"):
            await database.write(broken, insist=True)
        with pytest.raises(StoreRefusedError):
            await database.write(lambda _: None)
        assert await database.write(lambda _: "written", insist=True) == "written"
        assert await database.write(lambda _: "open to all", insist=False) == "open to all"


async def test_writes_that_hang_are_noticed_before_they_end(path: Path) -> None:
    clock = ManualClock()
    breakers = Breakers(clock, lambda: 0.0, policies_of(Settings()))
    go_on = threading.Event()
    async with opened(path, breakers=breakers) as database:
        writing = [asyncio.create_task(database.write(lambda _: go_on.wait(20))) for _ in range(2)]
        await asyncio.sleep(0)
        clock.advance(2.0)
        with pytest.raises(StoreRefusedError):
            await database.write(lambda _: None)
        assert breakers.is_open(WRITES)
        go_on.set()
        assert await asyncio.gather(*writing) == [True, True]
        await database.write(lambda _: None, insist=True)
        assert not breakers.is_open(WRITES)
        await database.write(lambda _: None)
