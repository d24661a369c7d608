"""The log in SQLite.

A commit is one row of `journal`, whatever number of runs it holds: that is what makes durability cheap. When a run
ends, or has gathered enough, its events move to `segments`, from which readers are served; journal rows whose events
all lie in segments are dropped. Everything of a log is stored under its epoch, which is found only by (user, thread).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from goldenpath.runtime.interfaces import Commit, JournalEntry, RunRow, Segment, ThreadKey, ThreadRow, Unfinished
from goldenpath.runtime.stores.database import Database
from goldenpath.wire.ids import Epoch, RunId, ThreadId, UserId

SCHEMA = """
CREATE TABLE IF NOT EXISTS threads (
    user_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    epoch TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    head INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    history_bytes INTEGER NOT NULL,
    PRIMARY KEY (user_id, thread_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS threads_newest ON threads (user_id, updated_at, thread_id);

CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY,
    epoch TEXT NOT NULL,
    run_id TEXT NOT NULL,
    agent TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    error TEXT,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    input BLOB,
    UNIQUE (epoch, run_id)
);
CREATE INDEX IF NOT EXISTS runs_unfinished ON runs (epoch) WHERE status IN ('queued', 'running');

CREATE TABLE IF NOT EXISTS journal (
    number INTEGER PRIMARY KEY,
    entries BLOB NOT NULL
);

CREATE TABLE IF NOT EXISTS segments (
    id INTEGER PRIMARY KEY,
    epoch TEXT NOT NULL,
    run_id TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    created_at REAL NOT NULL,
    events BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS segments_position ON segments (epoch, first_seq);
CREATE INDEX IF NOT EXISTS segments_age ON segments (created_at);

CREATE TABLE IF NOT EXISTS messages (
    epoch TEXT NOT NULL,
    position INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (epoch, position)
);
"""

_THREAD_COLUMNS = "user_id, thread_id, epoch, created_at, updated_at, head, floor, message_count, history_bytes"
_RUN_COLUMNS = "epoch, run_id, agent, status, created_at, started_at, finished_at, error, first_seq, last_seq, input"

_entries_encoder = msgspec.msgpack.Encoder()
_entries_decoder = msgspec.msgpack.Decoder(list[JournalEntry])


def _thread(row: tuple[object, ...]) -> ThreadRow:
    user_id, thread_id, *rest = row
    return ThreadRow(ThreadKey(UserId(str(user_id)), ThreadId(str(thread_id))), *rest)  # type: ignore[arg-type]


def _run(row: tuple[object, ...]) -> RunRow:
    return RunRow(*row)  # type: ignore[arg-type]


def _segment(row: tuple[str, str, int, bytes]) -> Segment:
    epoch, run_id, first_seq, events = row
    return Segment(Epoch(epoch), RunId(run_id), first_seq, events.split(b"\n"))


class SqliteLog:
    """`LogStore` on a `Database` whose schema includes `SCHEMA`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def commit(self, commit: Commit) -> None:
        await self._database.write(lambda connection: _write(connection, commit), insist=True)

    async def recover(self) -> tuple[int, list[Unfinished]]:
        return await self._database.read(_recover, patient=True)

    async def thread(self, key: ThreadKey) -> ThreadRow | None:
        row = await self._database.read(
            lambda c: c.execute(
                f"SELECT {_THREAD_COLUMNS} FROM threads WHERE user_id = ? AND thread_id = ?",  # noqa: S608
                key,
            ).fetchone()
        )
        return _thread(row) if row else None

    async def threads(self, user_id: UserId, limit: int, before: tuple[float, str] | None) -> list[ThreadRow]:
        where, arguments = "user_id = ?", [user_id]
        if before is not None:
            where += " AND (updated_at, thread_id) < (?, ?)"
            arguments += list(before)  # type: ignore[arg-type]
        rows = await self._database.read(
            lambda c: c.execute(
                f"SELECT {_THREAD_COLUMNS} FROM threads WHERE {where} "  # noqa: S608
                "ORDER BY updated_at DESC, thread_id DESC LIMIT ?",
                [*arguments, limit],
            ).fetchall()
        )
        return [_thread(row) for row in rows]

    async def run(self, epoch: Epoch, run_id: RunId) -> RunRow | None:
        row = await self._database.read(
            lambda c: c.execute(
                f"SELECT {_RUN_COLUMNS} FROM runs WHERE epoch = ? AND run_id = ?",  # noqa: S608
                (epoch, run_id),
            ).fetchone()
        )
        return _run(row) if row else None

    async def runs(self, epoch: Epoch, limit: int) -> list[RunRow]:
        rows = await self._database.read(
            lambda c: c.execute(
                f"SELECT {_RUN_COLUMNS} FROM runs WHERE epoch = ? ORDER BY id DESC LIMIT ?",  # noqa: S608
                (epoch, limit),
            ).fetchall()
        )
        return [_run(row) for row in reversed(rows)]

    async def segments(self, epoch: Epoch, after: int, max_bytes: int) -> list[Segment]:
        def call(connection: sqlite3.Connection) -> list[Segment]:
            # The first is the one that holds after + 1, which may begin before it; found by the index, however many
            # there are before it.
            rows = connection.execute(
                "SELECT epoch, run_id, first_seq, events FROM segments WHERE epoch = ?1 AND last_seq > ?2 "
                "AND first_seq >= coalesce("
                "(SELECT max(first_seq) FROM segments WHERE epoch = ?1 AND first_seq <= ?2 + 1), 0) "
                "ORDER BY first_seq",
                (epoch, after),
            )
            found, size = [], 0
            for row in rows:
                found.append(_segment(row))
                size += len(row[3])
                if size >= max_bytes:
                    break
            return found

        return await self._database.read(call)

    async def messages(self, epoch: Epoch) -> list[bytes]:
        rows = await self._database.read(
            lambda c: c.execute("SELECT body FROM messages WHERE epoch = ? ORDER BY position", (epoch,)).fetchall()
        )
        return [body for (body,) in rows]

    async def oversized(self, max_bytes: int) -> list[Epoch]:
        rows = await self._database.read(
            lambda c: c.execute(
                "SELECT epoch FROM segments GROUP BY epoch HAVING sum(length(events)) > ?", (max_bytes,)
            ).fetchall()
        )
        return [epoch for (epoch,) in rows]

    async def retain(self, before: float, epochs: Sequence[Epoch], max_bytes: int) -> list[tuple[Epoch, int]]:
        return await self._database.write(lambda connection: _retain(connection, before, epochs, max_bytes))


def _write(connection: sqlite3.Connection, commit: Commit) -> None:
    for epoch in commit.deleted:
        for table in ("threads", "runs", "segments", "messages"):
            connection.execute(f"DELETE FROM {table} WHERE epoch = ?", (epoch,))  # noqa: S608
    if commit.threads:
        connection.executemany(
            "INSERT INTO threads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, thread_id) DO UPDATE SET "
            "updated_at = excluded.updated_at, head = excluded.head, floor = max(floor, excluded.floor), "
            "message_count = excluded.message_count, history_bytes = excluded.history_bytes",
            [
                (*t.key, t.epoch, t.created_at, t.updated_at, t.head, t.floor, t.message_count, t.history_bytes)
                for t in commit.threads
            ],
        )
    if commit.runs:
        connection.executemany(
            f"INSERT INTO runs ({_RUN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
            "ON CONFLICT (epoch, run_id) DO UPDATE SET status = excluded.status, started_at = excluded.started_at, "
            "finished_at = excluded.finished_at, error = excluded.error, first_seq = excluded.first_seq, "
            "last_seq = excluded.last_seq, input = excluded.input",
            [
                (
                    r.epoch, r.run_id, r.agent, r.status, r.created_at, r.started_at, r.finished_at, r.error,
                    r.first_seq, r.last_seq, r.input,
                )
                for r in commit.runs
            ],
        )  # fmt: skip
    if commit.journal:
        connection.execute(
            "INSERT INTO journal VALUES (?, ?)", (commit.number, _entries_encoder.encode(commit.journal))
        )
    if commit.segments:
        connection.executemany(
            "INSERT INTO segments (epoch, run_id, first_seq, last_seq, created_at, events) VALUES (?, ?, ?, ?, ?, ?)",
            [(s.epoch, s.run_id, s.first_seq, s.last_seq, commit.now, b"\n".join(s.events)) for s in commit.segments],
        )
    for rows in commit.messages:
        connection.execute("DELETE FROM messages WHERE epoch = ? AND position >= ?", (rows.epoch, rows.position))
        connection.executemany(
            "INSERT INTO messages VALUES (?, ?, ?)",
            [(rows.epoch, rows.position + index, body) for index, body in enumerate(rows.messages)],
        )
    if commit.trim_journal:
        connection.execute("DELETE FROM journal WHERE number < ?", (commit.trim_journal,))


def _recover(connection: sqlite3.Connection) -> tuple[int, list[Unfinished]]:
    (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM journal").fetchone()
    unfinished: dict[Epoch, Unfinished] = {}
    rows = connection.execute(
        f"SELECT {_RUN_COLUMNS} FROM runs WHERE status IN ('queued', 'running') ORDER BY id"  # noqa: S608
    ).fetchall()
    for run in map(_run, rows):
        if run.epoch not in unfinished:
            row = connection.execute(
                f"SELECT {_THREAD_COLUMNS} FROM threads WHERE epoch = ?",  # noqa: S608
                (run.epoch,),
            ).fetchone()
            unfinished[run.epoch] = Unfinished(_thread(row), [], 0, [])
        unfinished[run.epoch].runs.append(run)
    segmented: dict[Epoch, int] = {}
    for epoch, left in unfinished.items():
        (segmented[epoch],) = connection.execute(
            "SELECT coalesce(max(last_seq), 0) FROM segments WHERE epoch = ?", (epoch,)
        ).fetchone()
        marks = ", ".join("?" * len(left.runs))
        (left.first_seq,) = connection.execute(
            f"SELECT coalesce(min(first_seq), 0) FROM segments WHERE epoch = ? AND run_id IN ({marks})",  # noqa: S608
            (epoch, *(run.run_id for run in left.runs)),
        ).fetchone()
    if unfinished:
        for (entries,) in connection.execute("SELECT entries FROM journal ORDER BY number"):
            for entry in _entries_decoder.decode(entries):
                if entry.epoch in unfinished and entry.first_seq > segmented[entry.epoch]:
                    unfinished[entry.epoch].journal.append(entry)
    return last, list(unfinished.values())


def _retain(
    connection: sqlite3.Connection, before: float, epochs: Sequence[Epoch], max_bytes: int
) -> list[tuple[Epoch, int]]:
    floors: dict[Epoch, int] = {}
    # What a run said is needed until it has ended: recovery makes its messages from it.
    kept: dict[Epoch, int] = dict(
        connection.execute(
            "SELECT epoch, min(segments.first_seq) FROM runs JOIN segments USING (epoch, run_id) "
            "WHERE runs.status IN ('queued', 'running') GROUP BY epoch"
        ).fetchall()
    )
    for epoch, last_seq in connection.execute(
        "SELECT epoch, max(last_seq) FROM segments WHERE created_at < ? GROUP BY epoch", (before,)
    ).fetchall():
        floors[epoch] = last_seq + 1
    for epoch in epochs:
        held = 0
        for last_seq, size in connection.execute(
            "SELECT last_seq, length(events) FROM segments WHERE epoch = ? ORDER BY first_seq DESC", (epoch,)
        ).fetchall():
            held += size
            if held > max_bytes:
                floors[epoch] = max(floors.get(epoch, 0), last_seq + 1)
                break
    lost: list[tuple[Epoch, int]] = []
    for epoch, wanted in floors.items():
        floor = min(wanted, kept.get(epoch, wanted))
        if connection.execute("DELETE FROM segments WHERE epoch = ? AND last_seq < ?", (epoch, floor)).rowcount:
            connection.execute("UPDATE threads SET floor = max(floor, ?) WHERE epoch = ?", (floor, epoch))
            lost.append((epoch, floor))
    return lost
