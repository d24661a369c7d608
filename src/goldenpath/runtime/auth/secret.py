"""The signing secret: from the settings, or made once and kept in the data directory (or in memory, as the rest is)."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from goldenpath.runtime.settings import Settings, SettingsError, data_path

MIN_BYTES: Final = 32
FILE_NAME: Final = "secret"


def load_secret(settings: Settings) -> bytes:
    """The secret of `settings`, else the one of the data directory, which is made (with the directory) if missing. One
    of this process alone where nothing is to be written.

    Two servers that start at the same moment agree on one. Blocks on the disk: call it before the event loop runs.
    Raises `SettingsError` when the file cannot be read or made, or holds too little.
    """
    if settings.secret:
        return settings.secret.encode()
    if settings.in_memory:
        return secrets.token_bytes(MIN_BYTES)
    path = data_path(settings, FILE_NAME)
    try:
        if not path.exists():
            _create(path)
    except FileExistsError:
        raise SettingsError(f"the data directory {path.parent} is not a directory") from None
    except OSError as error:
        raise SettingsError(f"cannot use the data directory {path.parent}: {error.strerror}") from None
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    if len(secret) < MIN_BYTES:
        raise SettingsError(f"{path} is damaged: restore it, or delete it, which logs everybody out")
    return secret


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_urlsafe(48).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # A link appears whole or not at all, and unlike a rename it never replaces the secret another server just made.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
