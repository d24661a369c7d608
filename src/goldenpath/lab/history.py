"""The history of a run on disk: append-only files, one for each worker process, read back as one.

A file is a sequence of batches: a length and a checksum (CRC-32), each 4 bytes, big-endian, and so much MessagePack: an
array of records. The last record of a file is `Last`, with the number of those before it and the run that it is of. A
file that was cut, as kill -9 or a full disk cuts it, is read up to its last whole batch, and known to be cut; one in
which a byte is not what was written, up to the batch before.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import struct
from collections.abc import Iterator
from itertools import chain
from math import isfinite
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from zlib import crc32

import msgspec

from goldenpath.lab.records import Last, Manifest, Record

MANIFEST: Final = "manifest.json"
_BATCH: Final = 256 * 1024
"""How many bytes, about, are collected before they are written."""
_RECORD: Final = 64
"""How many bytes a record takes, about, besides what it carries."""
_HEAD: Final = struct.Struct(">II")
_MAX_BATCH: Final = 256 * 1024 * 1024
"""More bytes are neither written nor read. One record carries less, as adapters bound what they take of a target."""
_MOST_FILES: Final = 1_024
"""How many files a history has at most: a manifest that asks for more was made by nobody."""
_NAMED: Final = 3
"""How many files that are missing are named."""


_at: Final = attrgetter("at")


class HistoryError(Exception):
    """A directory that holds no history, or one that cannot be read; the message says which and why."""


class HistoryWriter:
    """One file of a history. Not safe across threads. As a context manager it closes the file at the end."""

    def __init__(self, path: Path, run: str) -> None:
        """`run`: the nonce of the run that it is of."""
        self._run = run
        self._file = path.open("wb", buffering=0)
        self._waiting: list[Record] = []
        self._size = 0
        self._written = 0
        self._at = 0.0
        self._encode = msgspec.msgpack.Encoder().encode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, record: Record, carries: int = 0) -> None:
        """Append one record, which carries so many bytes of others', about. Raises OSError when the disk does not take
        it; nothing more can be written then."""
        self._waiting.append(record)
        self._size += carries + _RECORD
        if self._size > _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what is collected. Raises OSError, also for more than a reader takes (EFBIG); the file is closed then,
        and ends somewhere in a batch."""
        if not self._waiting:
            return
        batch = self._encode(self._waiting)
        self._written += len(self._waiting)
        self._at = self._waiting[-1].at
        self._waiting.clear()
        self._size = 0
        if len(batch) > _MAX_BATCH:
            self._file.close()
            raise OSError(errno.EFBIG, f"a record of {len(batch):,} bytes is too large")
        try:
            with memoryview(_HEAD.pack(len(batch), crc32(batch)) + batch) as left:
                done = 0
                while done < len(left):
                    done += self._file.write(left[done:])
        except OSError:
            self._file.close()
            raise

    def close(self) -> None:
        """Write the rest, and that this is the end. Harmless when repeated, and after an error. Raises OSError."""
        if not self._file.closed:
            self.flush()
            self._waiting.append(Last(self._at, self._written, self._run))
            self.flush()
            self._file.close()


def save_manifest(directory: Path, manifest: Manifest) -> str:
    """Write what the history of `directory` is. Returns its digest, for the history itself (`Noted`, sealed). Raises
    OSError; what was there before is still there then."""
    new = directory / f"{MANIFEST}.new"
    content = msgspec.json.format(msgspec.json.encode(manifest))
    try:
        new.write_bytes(content)
        new.replace(directory / MANIFEST)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    return _digest(content)


def manifest_digest(directory: Path) -> str:
    """The digest of the manifest as it stands there now. Raises `HistoryError`."""
    try:
        return _digest((directory / MANIFEST).read_bytes())
    except OSError as error:
        raise HistoryError(f"{directory / MANIFEST} cannot be read: {error}") from None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def load_manifest(directory: Path) -> Manifest:
    """What the history of `directory` is. Raises `HistoryError`."""
    try:
        return msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise HistoryError(f"{directory} holds no stored run: there is no {MANIFEST}") from None
    except (ValueError, RecursionError, OSError) as error:
        raise HistoryError(f"{directory / MANIFEST} cannot be read: {error}") from None


def path_of(directory: Path, worker: int) -> Path:
    """Where a worker writes. Worker 0 is the one that starts the others and watches the target."""
    return directory / f"history-{worker}.bin"


def read_history(directory: Path, workers: int | None = None, run: str | None = None) -> Iterator[Record]:
    """All records of all files, in the order of their times. Memory: one batch of each file. `workers`: how many there
    were, so that the file of each has to be there; None: those that are there are all. `run`: the nonce of the run that
    all have to be of; None: of any.

    Raises `HistoryError` for a directory without history; in the end, after everything that can be read, for files that
    are missing, damaged, of another run, or have no end.
    """
    paths = sorted(directory.glob("history-*.bin"))
    if not paths:
        raise HistoryError(f"{directory} holds no history")
    damage: list[str] = []
    if workers is not None:
        expected = {path_of(directory, number) for number in range(min(workers, _MOST_FILES) + 1)}
        missing = sorted(expected.difference(paths))
        damage += [f"{path} is missing" for path in missing[:_NAMED]]
        damage += [f"{len(missing) - _NAMED:,} more files are missing"] if len(missing) > _NAMED else []
        damage += [f"{path} is of no worker of this run" for path in sorted(set(paths) - expected)[:_NAMED]]
    files = [_read_file(path, run, damage) for path in paths]
    return chain(heapq.merge(*files, key=_at), _told(damage))


def _told(damage: list[str]) -> Iterator[Record]:
    """Nothing; what is wrong with the files is known now."""
    if damage:
        raise HistoryError("; ".join(damage))
    yield from ()


def _read_file(path: Path, run: str | None, damage: list[str]) -> Iterator[Record]:
    """The records of one file, in the order in which they were written; says in `damage` why they are not all."""
    decode = msgspec.msgpack.Decoder(list[Record]).decode
    read = 0
    last: Record | None = None
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            if len(head) < _HEAD.size:
                last = None  # behind an end nothing stands
                break
            length, checksum = _HEAD.unpack(head)
            if length > _MAX_BATCH:
                damage.append(f"{path}: damaged, a batch of {length} bytes before {file.tell()}")
                return
            body = file.read(length)
            if len(body) < length:
                last = None
                break
            if crc32(body) != checksum:
                damage.append(f"{path}: damaged before {file.tell()}: it is not what was written")
                return
            try:
                batch: list[Record] = decode(body)
            except (ValueError, RecursionError) as error:
                damage.append(f"{path}: damaged before {file.tell()}: {error}")
                return
            if not isfinite(sum(map(_at, batch))):
                damage.append(f"{path}: damaged before {file.tell()}: a record whose time is none")
                return
            last = batch.pop() if batch and isinstance(batch[-1], Last) else None
            read += len(batch)
            yield from batch
    if not isinstance(last, Last) or last.records != read:
        damage.append(f"{path} was cut: {read:,} records can be read, and the end is not among them")
    elif run is not None and last.run != run:
        damage.append(f"{path} is of another run")
