"""What stands on the operator page beside its figures, and what of it has changed. Sans-I/O.

A section is read every few seconds, while somebody looks, and counts as changed where its JSON differs. Each viewer
remembers up to which change they have seen everything: one who was too slow for a while misses nothing that holds now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

_logger = structlog.get_logger("goldenpath.dashboard")


class Section(msgspec.Struct, frozen=True):
    """`read` gives anything msgspec writes as JSON; it is asked whether who looks may see who users are. `every`: how
    many seconds what it gave may be old."""

    read: Callable[[bool], Any]
    every: float = 2.0
    names_users: bool = False
    """Whether the answer depends on what it is asked."""


class _Kept:
    __slots__ = ("changed", "data")

    def __init__(self) -> None:
        self.data = b"null"
        self.changed = 0


class Board:
    """The sections by name. `now` is on a time line that does not go back, in seconds."""

    def __init__(self, sections: Mapping[str, Section]) -> None:
        self._sections = dict(sections)
        self._kept = {(name, names): _Kept() for name in sections for names in (False, True)}
        self._due = dict.fromkeys(sections, float("-inf"))
        self.version = 0
        """The number of the latest change; 0: nothing was read yet."""

    def refresh(self, now: float) -> None:
        """Read what is due. A section that cannot be read is logged, and stays as it was."""
        for name, section in self._sections.items():
            if now < self._due[name]:
                continue
            self._due[name] = now + section.every
            try:
                self._read(name, section)
            except Exception:
                _logger.exception("section_not_read", section=name)

    def _read(self, name: str, section: Section) -> None:
        hidden = msgspec.json.encode(section.read(False))
        shown = msgspec.json.encode(section.read(True)) if section.names_users else hidden
        for names, data in ((False, hidden), (True, shown)):
            kept = self._kept[name, names]
            if data != kept.data:
                self.version += 1
                kept.data, kept.changed = data, self.version

    def changed(self, since: int, *, names_users: bool) -> dict[str, msgspec.Raw]:
        """The sections that changed after `since`, a version; with 0 all that were read."""
        return {
            name: msgspec.Raw(kept.data)
            for (name, names), kept in self._kept.items()
            if names == names_users and kept.changed > since
        }
