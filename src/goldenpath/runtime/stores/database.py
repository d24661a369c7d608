"""One SQLite file: one writer thread, a few reader threads, nothing on the event loop.

SQLite has one writer at a time whatever we do, so writes go through one thread with one connection, each in a
transaction of its own (BEGIN IMMEDIATE): they never meet "database is locked". Readers have connections of their own
and, in WAL mode, neither wait for the writer nor stop it. A lock file keeps a second server off the same data.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Literal, Self, TypeVar

from goldenpath.runtime.breakers import Breakers
from goldenpath.runtime.deadlines import Deadlines, TimedOut
from goldenpath.runtime.dependencies import DependencyUnavailableError
from goldenpath.runtime.interfaces import StoreError, StoreRefusedError, StoreTimedOutError
from goldenpath.runtime.stores.checkpoints import Checkpoints

T = TypeVar("T")
Durability = Literal["process", "power"]

READS: Final = "database:read"
WRITES: Final = "database:write"
"""What circuit breakers know reading and writing as: a file that is locked, or on a full disk, is read all the same."""

SCHEMA_VERSION = 1

WRITER_CACHE_KIB: Final = 16 << 10
"""Pages that the writer keeps, in KiB: it adds to the same ones again and again."""
READER_CACHE_KIB: Final = 2 << 10
"""Those of each reader: it seldom needs the same page twice, and the operating system keeps the file's."""


class DataInUse(StoreError):
    """Another server runs on this data directory."""


class _Job:
    __slots__ = ("call", "future")

    def __init__(self, call: Callable[[sqlite3.Connection], object], future: asyncio.Future[object]) -> None:
        self.call = call
        self.future = future


class Database:
    """An open SQLite file.

    `open` and `close`, or `async with`, are called once each, from the loop that uses it. `write` and `read` may be
    called concurrently. A cancelled `write` still happens; a cancelled `read` is abandoned.
    """

    def __init__(
        self,
        path: Path,
        schema: Iterable[str],
        *,
        durability: Durability = "process",
        readers: int = 2,
        breakers: Breakers | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        self.path = path
        self._breakers = breakers
        self._deadlines = deadlines
        self._schema = tuple(schema)
        self._synchronous = "FULL" if durability == "power" else "NORMAL"
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._checkpoints: Checkpoints | None = None
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="goldenpath-reader")
        self._local = threading.local()
        self._reader_connections: list[sqlite3.Connection] = []
        self._lock_file: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Take the lock, create or check the file, start the threads. Raises `DataInUse` or `StoreError`."""
        self._loop = asyncio.get_running_loop()
        connection = await asyncio.to_thread(self._prepare)
        self._writer = threading.Thread(
            target=self._write_loop, args=(connection,), name="goldenpath-writer", daemon=True
        )
        self._writer.start()

    def _prepare(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise StoreError(f"the data directory {self.path.parent} is not a directory") from None
        except OSError as error:
            lock_path = self.path.with_suffix(".lock")
            if lock_path.exists():
                raise StoreError(f"cannot write {lock_path}: {error.strerror}") from None
            raise StoreError(f"cannot use the data directory {self.path.parent}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise DataInUse(f"another server is running on {self.path.parent}") from None
        self._lock_file = lock
        connection: sqlite3.Connection | None = None
        try:
            # Made before SQLite sees it, because its side files get the same permissions.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self.path.chmod(0o600)
            self._check_side_files()
            connection = self._connect(WRITER_CACHE_KIB)
            connection.execute("PRAGMA journal_mode = WAL")
            self._create(connection)
            self._checkpoints = Checkpoints(self.path, partial(self._connect, READER_CACHE_KIB))
        except (sqlite3.Error, OSError, StoreError) as error:
            if connection is not None:
                connection.close()
            self._unlock()
            if isinstance(error, StoreError):
                raise
            if isinstance(error, OSError):
                raise StoreError(f"cannot write {error.filename}: {error.strerror}") from None
            raise StoreError(f"cannot open {self.path}: {error}") from None
        return connection

    def _check_side_files(self) -> None:
        """See that SQLite can write what an earlier server left beside the file: its own error would not say which one
        it cannot. Raises `OSError`."""
        for ending in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.close(os.open(f"{self.path}{ending}", os.O_RDWR | os.O_CLOEXEC))

    def _create(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA_VERSION):
            raise StoreError(f"{self.path} has schema {version}; this version of goldenpath reads {SCHEMA_VERSION}")
        connection.execute("BEGIN IMMEDIATE")
        for script in self._schema:
            for statement in script.split(";"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")

    def _connect(self, cache_kib: int) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=256)
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `Checkpoints`
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        return connection

    async def write(self, call: Callable[[sqlite3.Connection], T], *, insist: bool = False) -> T:
        """Run `call` on the writer thread inside one transaction: committed when it returns, undone when it raises.

        Raises `StoreError` for any SQLite error, else what `call` raises. After too many that failed, or were slow,
        `StoreRefusedError`, at once; but not for who must `insist`, and by whose success writing is open to all again.
        """
        breakers = self._breakers
        if breakers is None:
            return await self._write(call)
        if not insist:
            with self._asking(breakers, WRITES):
                return await self._write(call)
        began = breakers.now()
        try:
            result = await self._write(call)
        except StoreError:
            breakers.saw(WRITES, began, failed=True)
            raise
        breakers.saw(WRITES, began, failed=False)
        return result

    async def _write(self, call: Callable[[sqlite3.Connection], T]) -> T:
        if self._loop is None or self._writer is None:
            raise StoreError("the database is not open")
        future: asyncio.Future[object] = self._loop.create_future()
        self._jobs.put(_Job(call, future))
        return await future  # type: ignore[return-value]

    async def read(self, call: Callable[[sqlite3.Connection], T], *, patient: bool = False) -> T:
        """Run `call` on a reader thread. Raises `StoreError` for any SQLite error, else what `call` raises; after
        `database_timeout` `StoreTimedOutError`, unless who asks is `patient`; after too many that failed, or were slow,
        `StoreRefusedError`, at once."""
        if self._loop is None:
            raise StoreError("the database is not open")
        if self._breakers is None:
            return await self._read_in_time(call, patient=patient)
        with self._asking(self._breakers, READS):
            return await self._read_in_time(call, patient=patient)

    async def _read_in_time(self, call: Callable[[sqlite3.Connection], T], *, patient: bool) -> T:
        assert self._loop is not None
        reading = self._loop.run_in_executor(self._readers, self._read, call)
        if patient or self._deadlines is None:
            return await reading
        try:
            async with self._deadlines.within(self._deadlines.start("database")):
                return await reading
        except TimedOut as late:
            raise StoreTimedOutError(late.message) from None

    @contextlib.contextmanager
    def _asking(self, breakers: Breakers, dependency: str) -> Iterator[None]:
        """Tell the circuit breaker how what is in the block ends. Raises `StoreRefusedError`."""
        with contextlib.ExitStack() as asked:
            try:
                asked.enter_context(breakers.call(dependency))
            except DependencyUnavailableError as error:
                raise StoreRefusedError(error.retry_after or 1.0) from None
            yield

    def _read(self, call: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = self._connect(READER_CACHE_KIB)
                connection.execute("PRAGMA query_only = ON")
                self._reader_connections.append(connection)
            return call(connection)
        except sqlite3.Error as error:
            raise StoreError(f"reading {self.path.name}: {error}") from error

    def _write_loop(self, connection: sqlite3.Connection) -> None:
        loop = self._loop
        assert loop is not None
        checkpoints = self._checkpoints
        assert checkpoints is not None
        while (job := self._jobs.get()) is not None:
            result: object = None
            failure: BaseException | None = None
            try:
                connection.execute("BEGIN IMMEDIATE")
                result = job.call(connection)
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo(connection)
                failure = StoreError(f"writing {self.path.name}: {error}")
                failure.__cause__ = error
            except Exception as error:  # noqa: BLE001 - handed to the caller
                self._undo(connection)
                failure = error
            try:
                loop.call_soon_threadsafe(_resolve, job.future, result, failure)
            except RuntimeError:  # the loop was closed under us: nobody waits any more
                break
            checkpoints.after_commit(connection)
        checkpoints.stop()
        connection.close()

    @staticmethod
    def _undo(connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            # Where even this fails the next BEGIN does too, and tells its caller: the writer must live on.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")

    async def close(self) -> None:
        """Finish what was handed in, then release threads, file and lock. Harmless when repeated. What is asked for
        from then on raises `StoreError`."""
        self._loop = None
        if self._writer is not None:
            self._jobs.put(None)
            writer, self._writer = self._writer, None
            await asyncio.to_thread(writer.join)
        self._readers.shutdown(wait=True)
        while self._reader_connections:
            self._reader_connections.pop().close()
        if self._checkpoints is not None:
            self._checkpoints.release()
            self._checkpoints = None
        self._unlock()

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def _resolve(future: asyncio.Future[object], result: object, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)
