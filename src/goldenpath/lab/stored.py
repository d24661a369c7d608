"""What a stored run is, read back from its directory. Whoever made it may have been anybody: what it says is checked
before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Final

from goldenpath.lab.formats import make_format
from goldenpath.lab.frames import UNREADABLE, Format
from goldenpath.lab.history import MANIFEST, HistoryError, load_manifest
from goldenpath.lab.quantities import UnknownQuantity, find
from goldenpath.lab.records import Manifest

_NAME: Final = re.compile(r"\w[\w.-]{0,79}")
"""Of a scenario: files have it in their names."""
_LATEST: Final = 253_402_300_799.0
"""The end of the year 9999: what a date can say."""


def stored_run(directory: Path) -> tuple[Manifest, Format]:
    """The manifest of `directory`, and how to read what the target sent. Raises `HistoryError` where there is none, or
    one that no run of the lab has written."""
    manifest = load_manifest(directory)
    try:
        format_ = make_format(manifest.format, manifest.format_options)
    except KeyError:
        raise _wrong(directory, f"there is no format {manifest.format!r}") from None
    except UNREADABLE as error:
        raise _wrong(directory, f"format_options: {error}") from None
    for why in _wrongs(manifest):
        raise _wrong(directory, why)
    return manifest, format_


def _wrong(directory: Path, why: str) -> HistoryError:
    return HistoryError(f"{directory / MANIFEST} cannot be judged by: {why}")


def _wrongs(manifest: Manifest) -> Iterator[str]:
    if not _NAME.fullmatch(manifest.scenario):
        yield f"scenario: {manifest.scenario[:100]!r} is no name"
    for name in manifest.together:
        if not _NAME.fullmatch(name):
            yield f"together: {name[:100]!r} is no name"
    if not 0 <= manifest.started_at <= _LATEST:
        yield f"started_at: {manifest.started_at:g} is no time"
    if not isfinite(manifest.zero):
        yield f"zero: {manifest.zero:g} is no time"
    for name in ("users", "cores"):
        if getattr(manifest, name) < 1:
            yield f"{name}: {getattr(manifest, name)} is not at least 1"
    for level in manifest.levels or ():
        try:
            find(level.quantity)
        except UnknownQuantity as error:
            yield f"levels.{level.name}.quantity: {error}"
        for name in ("target", "limit", "floor"):
            number = getattr(level, name)
            if number is not None and not isfinite(number):
                yield f"levels.{level.name}.{name}: {number:g} is no number to hold anything to"
