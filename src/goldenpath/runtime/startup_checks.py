"""What a server with certain settings depends on, each as a check: its data, and whom it asks over the network.

They look and change nothing, so `goldenpath doctor` makes the same ones.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from goldenpath.runtime.auth.documents import HttpDocuments
from goldenpath.runtime.auth.key_set import BadKeySet, KeySet
from goldenpath.runtime.auth.key_source import FetchError, FetchTimeout
from goldenpath.runtime.auth.secret import FILE_NAME, MIN_BYTES
from goldenpath.runtime.deadlines import Deadlines
from goldenpath.runtime.settings import Issuer, Settings, data_path
from goldenpath.runtime.startup import Check, DefiniteNo, Doubt, NotYet

WANTED_SPACE: Final = 1 << 30
"""With less room than this for data, in bytes, something is wrong soon."""
INTEGRITY_SECONDS: Final = 0.5
"""How long the database is read for damage: a large one would keep everybody waiting."""

_OTHER_DATA: Final = "let the user who serves write there (chown, chmod u+rw), or name another directory by --data-dir"
_RESTORE: Final = "restore a backup, or move it away to begin anew"
_REACH: Final = "is it up, and can it be reached from here?"


def checks_of(settings: Settings, deadlines: Deadlines, *, serving: bool) -> list[Check]:
    """The checks; `api_response` of the time-outs then in force bounds each answer over the network.

    `serving` says that the data is this server's own: nobody else may be there otherwise.
    """
    checks = []
    if settings.in_memory:
        checks.append(Check("data", functools.partial(_in_memory, settings), required=False))
    else:
        folder = Path(settings.data_dir)
        checks = [
            Check("data directory", _threaded(_data_directory, folder, serving), required=True),
            Check("signing key", _threaded(_signing_key, settings), required=True),
            Check("database", _threaded(_database, data_path(settings, "goldenpath.db"), serving), required=True),
        ]
    for issuer in settings.issuers:
        name = f"identity provider:{issuer.issuer}"
        checks.append(Check(name, functools.partial(_identity_provider, issuer, deadlines), required=False))
    if settings.openai_base_url:
        look = functools.partial(_model_endpoint, settings.openai_base_url, settings.openai_api_key, deadlines)
        checks.append(Check("model endpoint", look, required=False))
    return checks


def _threaded(look: Callable[..., str], *arguments: object) -> Callable[[], asyncio.Future[str]]:
    return lambda: asyncio.ensure_future(asyncio.to_thread(look, *arguments))


# --- on this machine --------------------------------------------------------------------------------------------------


async def _in_memory(settings: Settings) -> str:
    if settings.is_open:
        return "in memory"
    raise Doubt("in memory", "everything is lost with the process: unset GOLDENPATH_DATABASE")


def _data_directory(path: Path, serving: bool) -> str:
    parent = path
    while not os.path.lexists(parent):
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise DefiniteNo(f"{path}: {parent} cannot be written", _OTHER_DATA)
    for file in sorted(path.glob("goldenpath.*")):
        if not file.is_file() or not os.access(file, os.W_OK):
            raise DefiniteNo(f"{path}: {file.name} cannot be written", _OTHER_DATA)
    if not serving and _is_locked(path / "goldenpath.lock"):
        raise Doubt(str(path), "a server is running on it: another one needs its own")
    stat = os.statvfs(parent)
    free = stat.f_bavail * stat.f_frsize
    if free < WANTED_SPACE:
        raise Doubt(f"{path}, {free >> 20} MiB free", "make room: 1 GiB or more")
    return f"{path}, {free >> 30} GiB free"


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


def _signing_key(settings: Settings) -> str:
    if settings.secret:
        return "from the settings"
    path = data_path(settings, FILE_NAME)
    try:
        key = path.read_bytes().strip()
    except (FileNotFoundError, NotADirectoryError):  # the latter is told of the data directory
        return "will be made at the first start"
    except OSError as error:
        raise DefiniteNo(f"{path}: {error.strerror}", _OTHER_DATA) from None
    if len(key) < MIN_BYTES:
        raise DefiniteNo(f"{path} is damaged", "restore it, or delete it, which logs everybody out")
    return str(path)


def _database(path: Path, serving: bool) -> str:
    """Read the file for damage, as far as that goes in `INTEGRITY_SECONDS`."""
    if not path.exists():
        return "will be made at the first start"
    beside = path.with_name(path.name + "-wal")
    if not serving and beside.exists() and beside.stat().st_size:
        if _is_locked(path.with_suffix(".lock")):
            return "in use"
        return "not looked at: the last server was killed, and the next start repairs it"
    # Read only, SQLite cannot make the files beside one in WAL mode; without a server nobody changes it either.
    mode = "mode=ro" if serving else "immutable=1"
    ends = time.monotonic() + INTEGRITY_SECONDS
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
        try:
            connection.set_progress_handler(lambda: int(time.monotonic() > ends), 1000)
            (told,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return f"{path.stat().st_size >> 20} MiB, no damage found in {INTEGRITY_SECONDS:g} s"
        raise Doubt(f"{path} could not be looked at: {error}", "the server will say more") from None
    except sqlite3.DatabaseError as error:
        raise DefiniteNo(f"{path} is damaged: {error}", _RESTORE) from None
    if told != "ok":
        raise DefiniteNo(f"{path} is damaged: {told.splitlines()[-1]}", _RESTORE)
    return f"{path.stat().st_size >> 20} MiB, no damage"


# --- over the network -------------------------------------------------------------------------------------------------


async def _identity_provider(issuer: Issuer, deadlines: Deadlines) -> str:
    patience = deadlines.timeouts.now.api_response
    documents = HttpDocuments(timeout=patience)
    try:
        document = await documents.fetch(issuer.jwks_url)
    except FetchTimeout:
        raise deadlines.fired("api_response", patience) from None
    except FetchError as error:
        raise NotYet(f"its keys cannot be fetched: {error}", _REACH) from None
    finally:
        await documents.close()
    try:
        KeySet.read(document, issuer.algorithms)
    except BadKeySet as error:
        raise DefiniteNo(f"its keys are of no use: {error}", "correct jwks_url and algorithms") from None
    return "has keys"


async def _model_endpoint(base_url: str, api_key: str | None, deadlines: Deadlines) -> str:
    """Ask for its models: cheap, and an answer even where there is no such call, because it says that somebody is."""
    import httpx  # noqa: PLC0415 - 250 ms

    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    try:  # in a thread: reading certificates takes long
        client = await asyncio.to_thread(httpx.AsyncClient, headers=headers, timeout=None)
    except UnicodeError:
        raise DefiniteNo("no request can hold its key", "correct GOLDENPATH_OPENAI_API_KEY") from None
    try:
        async with (
            deadlines.within(deadlines.start("api_response")),
            client.stream("GET", base_url.rstrip("/") + "/models") as response,
        ):
            status = response.status_code
    except httpx.InvalidURL:
        raise DefiniteNo("the URL is none", "correct GOLDENPATH_OPENAI_BASE_URL") from None
    except httpx.HTTPError as error:
        # Only the kind: the text may name internal hosts, and anybody may read this.
        raise NotYet(f"no answer ({type(error).__name__})", _REACH) from None
    finally:
        await client.aclose()
    if status in (401, 403):
        raise DefiniteNo(f"it refuses the key ({status})", "correct GOLDENPATH_OPENAI_API_KEY")
    if status >= 500:
        raise NotYet(f"it answers {status}", "its own log says why")
    return "answers"
