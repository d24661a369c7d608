"""The history of a run on disk: append-only files, one for each worker process, read back as one.

A file is a sequence of records, each a length (4 bytes, big-endian) and that much MessagePack. A file that was cut, as
kill -9 or a full disk cuts it, is read up to its last whole record.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import msgspec

from goldenpath.lab.records import Manifest, Record

MANIFEST: Final = "manifest.json"
_BUFFER: Final = 256 * 1024
"""How many bytes are collected before they are written."""
_LENGTH: Final = 4
_MAX_RECORD: Final = 64 * 1024 * 1024


class HistoryError(Exception):
    """A directory that holds no history, or one that cannot be read; the message says which and why."""


class HistoryWriter:
    """One file of a history. Not safe across threads. As a context manager it closes the file at the end."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")
        self._buffer = bytearray()
        self._encode = msgspec.msgpack.Encoder().encode_into
        self.size = 0
        """How many bytes were written or wait to be."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, record: Record) -> None:
        """Append one record. Raises OSError when the disk does not take it."""
        buffer = self._buffer
        start = len(buffer)
        self._encode(record, buffer, start + _LENGTH)
        length = len(buffer) - start - _LENGTH
        buffer[start : start + _LENGTH] = length.to_bytes(_LENGTH, "big")
        self.size += length + _LENGTH
        if len(buffer) > _BUFFER:
            self.flush()

    def flush(self) -> None:
        """Write what is collected. Raises OSError."""
        self._file.write(self._buffer)
        self._file.flush()
        self._buffer.clear()

    def close(self) -> None:
        """Write the rest. Harmless when repeated. Raises OSError."""
        if not self._file.closed:
            self.flush()
            self._file.close()


def save_manifest(directory: Path, manifest: Manifest) -> None:
    """Write what the history of `directory` is."""
    (directory / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))


def load_manifest(directory: Path) -> Manifest:
    """What the history of `directory` is. Raises `HistoryError`."""
    try:
        return msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise HistoryError(f"{directory} holds no stored run: there is no {MANIFEST}") from None
    except (msgspec.MsgspecError, OSError) as error:
        raise HistoryError(f"{directory / MANIFEST} cannot be read: {error}") from None


def path_of(directory: Path, worker: int) -> Path:
    """Where a worker writes. Worker 0 is the one that starts the others and watches the target."""
    return directory / f"history-{worker}.bin"


def read_history(directory: Path) -> Iterator[Record]:
    """All records of all files, in the order of their times. Memory: one record of each file.

    Raises `HistoryError` for a directory without history and for a damaged file.
    """
    paths = sorted(directory.glob("history-*.bin"))
    if not paths:
        raise HistoryError(f"{directory} holds no history")
    return heapq.merge(*(read_file(path) for path in paths), key=attrgetter("at"))


def read_file(path: Path) -> Iterator[Record]:
    """The records of one file, in the order in which they were written. Raises `HistoryError`."""
    decode = msgspec.msgpack.Decoder(Record).decode
    with path.open("rb") as file:
        while len(head := file.read(_LENGTH)) == _LENGTH:
            length = int.from_bytes(head, "big")
            if length > _MAX_RECORD:
                raise HistoryError(f"{path}: damaged, a record of {length} bytes before {file.tell()}")
            body = file.read(length)
            if len(body) < length:
                return
            try:
                record: Record = decode(body)
            except msgspec.MsgspecError as error:
                raise HistoryError(f"{path}: damaged before {file.tell()}: {error}") from None
            yield record
