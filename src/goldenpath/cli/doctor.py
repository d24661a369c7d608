"""`goldenpath doctor`: can this machine serve?"""

from __future__ import annotations

import fcntl
import os
import platform
import resource
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

from goldenpath.cli.listener import AddressInUse, ListenError, check_tls, listen
from goldenpath.runtime.environ import load
from goldenpath.runtime.settings import NO_WAY_IN, Settings, SettingsError

Verdict = Literal["ok", "warning", "problem"]
PINNED_PICOWS = "2.3.1"
WANTED_FILES = 4096
_OTHER_DATA = "let the user who serves write there (chown, chmod u+rw), or name another directory by --data-dir"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `advice` says what to do where it is not ok."""

    what: str
    verdict: Verdict
    found: str
    advice: str = ""


def doctor(**options: object) -> int:
    """Print what was found; `options` are those of `serve`. Returns 0 when nothing stops the server, else 1."""
    findings = examine(**options)
    table = Table(title="goldenpath doctor")
    for column in ("", "What", "Found", "What to do"):
        table.add_column(column, overflow="fold")
    marks = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "problem": "[red]problem[/]"}
    for finding in findings:
        table.add_row(marks[finding.verdict], finding.what, finding.found, finding.advice)
    Console().print(table)
    return 1 if any(finding.verdict == "problem" for finding in findings) else 0


def examine(**options: object) -> list[Finding]:
    """Every check, in the order in which a start with these options would meet them."""
    try:
        settings = load(None, **options)
    except SettingsError as error:
        return [_python(), Finding("settings", "problem", str(error), "correct or unset the variable")]
    return [
        _python(),
        Finding("settings", "ok", f"environment {settings.environment}"),
        _sqlite(),
        _in_memory(settings) if settings.in_memory else _data_dir(Path(settings.data_dir)),
        _package("uvloop", "the event loop is slower without it"),
        _picows(),
        _open_files(),
        _tls(settings),
        _address(settings),
        _way_in(settings),
    ]


def _python() -> Finding:
    # The package itself does not install on an older one.
    return Finding("Python", "ok", platform.python_version())


def _sqlite() -> Finding:
    found = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info >= (3, 35):
        return Finding("SQLite", "ok", found)
    return Finding("SQLite", "problem", found, "SQLite 3.35 or later is needed")


def _in_memory(settings: Settings) -> Finding:
    if settings.is_open:
        return Finding("data", "ok", "in memory")
    return Finding("data", "warning", "in memory", "everything is lost with the process: unset GOLDENPATH_DATABASE")


def _data_dir(path: Path) -> Finding:
    parent = path
    while not os.path.lexists(parent):
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        return Finding("data directory", "problem", f"{path}: {parent} cannot be written", _OTHER_DATA)
    for file in sorted(path.glob("goldenpath.*")):
        if not file.is_file() or not os.access(file, os.W_OK):
            return Finding("data directory", "problem", f"{path}: {file.name} cannot be written", _OTHER_DATA)
    if _is_locked(path / "goldenpath.lock"):
        return Finding("data directory", "warning", str(path), "a server is running on it: another one needs its own")
    stat = os.statvfs(parent)
    free = stat.f_bavail * stat.f_frsize
    if free < 1 << 30:
        return Finding("data directory", "warning", f"{path}, {free >> 20} MiB free", "make room: 1 GiB or more")
    return Finding("data directory", "ok", f"{path}, {free >> 30} GiB free")


def _is_locked(lock: Path) -> bool:
    """Whether a server holds the lock of its data directory."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _package(name: str, advice: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "warning", "not installed", advice)


def _picows() -> Finding:
    found = version("picows")
    if found == PINNED_PICOWS:
        return Finding("picows", "ok", found)
    return Finding("picows", "problem", found, f"install picows=={PINNED_PICOWS}: a private part of it is used")


def _open_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= WANTED_FILES:
        return Finding("open files", "ok", str(soft))
    return Finding("open files", "warning", str(soft), f"each connection is one: ulimit -n {WANTED_FILES} or more")


def _tls(settings: Settings) -> Finding:
    try:
        check_tls(settings)
    except ListenError as error:
        return Finding("TLS", "problem", str(error), "correct GOLDENPATH_TLS_CERT and GOLDENPATH_TLS_KEY")
    return Finding("TLS", "ok", settings.tls_cert or "not here")


def _address(settings: Settings) -> Finding:
    where = settings.uds or f"{settings.host}:{settings.port}"
    if settings.uds is None:
        try:
            listen(settings).close()
        except AddressInUse as error:
            return Finding("address", "warning", str(error), "nothing to do if that is this server; else another port")
        except ListenError as error:
            return Finding("address", "problem", str(error), "take an address of this machine, a port that is allowed")
    if not settings.is_open and settings.host == "0.0.0.0" and settings.tls_cert is None:  # noqa: S104
        return Finding("address", "warning", where, "without TLS here, a proxy must end it")
    return Finding("address", "ok", where)


def _way_in(settings: Settings) -> Finding:
    if settings.has_way_in:
        return Finding("way in", "ok", "registration is open" if settings.registration_open else "log-in elsewhere")
    return Finding("way in", "warning", "registration is closed, and there is no issuer", NO_WAY_IN)
