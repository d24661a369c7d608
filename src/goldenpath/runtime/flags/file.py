"""The file of the flags' rules: a TOML table for each flag. Blocking; nothing here knows which flags there are.

Both the server and `goldenpath flags` write it, under a lock and by a rename, so that nobody reads half of it and no
change gets lost between them. Whoever edits it by hand need not take the lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from goldenpath.runtime import toml
from goldenpath.runtime.flags.definition import FlagError
from goldenpath.runtime.flags.rule import Rule
from goldenpath.wire.allowed import told

FILE_NAME: Final = "flags.toml"
MAX_BYTES: Final = 512 * 1024
"""The largest file that is read, and that is written."""

_HEAD: Final = (
    "# Rules of feature flags, see docs/howto/flags.md. The server writes this file too: comments do not stay.\n"
)

Signature = tuple[int, int, int]


class FlagsFileError(FlagError):
    """The file cannot be read or written, or makes no sense; the message says where and why."""


class FlagsFileBusy(FlagsFileError):
    """Somebody else is about to write the file."""


def signature(path: Path) -> Signature | None:
    """Changes whenever the file does; None: there is no file. Raises `FlagsFileError`."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FlagsFileError(f"{path}: {error.strerror}") from None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read(path: Path) -> dict[str, Rule]:
    """The rules in the file; none where there is no file. Raises `FlagsFileError`."""
    try:
        # Where it is a pipe, nobody waits until somebody writes into it.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise FlagsFileError(f"{path}: not a regular file")
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise FlagsFileError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise FlagsFileError(f"{path}: more than {MAX_BYTES} bytes")
    try:
        return decode(data.decode())
    except ValueError as error:
        raise FlagsFileError(f"{path}: {error}") from None


def decode(text: str) -> dict[str, Rule]:
    """The rules that a TOML document holds. Raises ValueError, which says what is wrong."""
    rules = {}
    for name, table in toml.parse(text).items():
        try:
            rules[name] = msgspec.convert(table, Rule)
        except msgspec.ValidationError as error:
            raise FlagError(f"flag {name}: {told(error, Rule)}") from None
        rules[name].check_form(f"flag {name}")
    return rules


def encode(rules: Mapping[str, Rule]) -> str:
    """The TOML document of `rules`."""
    lines = [_HEAD]
    for name, rule in sorted(rules.items()):
        lines.append(f"[{_quoted(name)}]")
        for key, value in msgspec.to_builtins(rule).items():
            shown = f"[{', '.join(map(_quoted, value))}]" if isinstance(value, list | tuple) else _scalar(value)
            lines.append(f"{key} = {shown}")
        lines.append("")
    return "\n".join(lines)


def _scalar(value: object) -> str:
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    # TOML's basic strings are JSON's, but for DEL, which TOML wants escaped, and lone surrogates, which neither has.
    return json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False).replace("\x7f", "\\u007f")


def edit(path: Path, change: Callable[[dict[str, Rule]], Mapping[str, Rule]], *, wait: bool = True) -> dict[str, Rule]:
    """Read the file, let `change` say what it shall hold, and write it durably. Returns what it holds. Raises
    `FlagsFileError`, and `FlagsFileBusy` where somebody else writes it just now and `wait` is false."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(path, wait=wait):
            rules = dict(change(read(path)))
            data = encode(rules).encode()
            if len(data) > MAX_BYTES:
                raise FlagsFileError(f"cannot write {path}: it would have more than {MAX_BYTES} bytes")
            _write(path, data)
    except OSError as error:
        raise FlagsFileError(f"cannot write {path}: {error.strerror}") from None
    return rules


def merged(rules: Mapping[str, Rule], changes: Mapping[str, Rule | None]) -> dict[str, Rule]:
    """`rules` with `changes` on top, of which None takes a rule away."""
    both: dict[str, Rule | None] = {**rules, **changes}
    return {name: rule for name, rule in both.items() if rule is not None}


@contextmanager
def _locked(path: Path, *, wait: bool) -> Iterator[None]:
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise FlagsFileBusy(f"{path} is being written") from None
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
