"""Canaries: markers that users send and that must come back to nobody else.

Every text that a user sends carries `canary-NONCE-USER.OP.`: whose it is, and which operation sent it. Whatever a user
receives is scanned for the markers of others.
"""

from __future__ import annotations

import re
import secrets
from typing import Final, NamedTuple

from goldenpath.lab.disguise import Disguises

LONGEST: Final = 64
"""No canary has more bytes."""


class Canary(NamedTuple):
    """A canary that was found: who sent it, in which operation."""

    user: int
    op: int


def new_nonce() -> str:
    """What tells this run's canaries from those of other runs against the same target."""
    return secrets.token_hex(4)


class Canaries:
    """The canaries of one run."""

    def __init__(self, nonce: str) -> None:
        self.nonce = nonce
        self._head = f"canary-{nonce}-"
        self.mark = self._head.encode()
        """What every canary begins with: where it is not, there is none."""
        self._pattern = re.compile(re.escape(self.mark) + rb"(\d{1,9})\.(\d{1,12})\.")
        self._own: dict[int, bytes] = {}
        self._disguises = Disguises(self.mark)

    def make(self, user: int, op: int) -> str:
        """The canary of an operation."""
        return f"{self._head}{user}.{op}."

    def owns(self, user: int, text: str) -> bool:
        """Whether a canary of the user's is in `text`."""
        return f"{self._head}{user}." in text

    def foreign(self, user: int, payload: bytes) -> Canary | None:
        """The first canary in `payload` that is not the user's own; None where there is none.

        One that is cut off at the end of `payload` is not found: whoever reads in pieces has to give the end of the
        last piece again."""
        count = payload.count(self.mark)
        if not count:
            return None
        own = self._own.get(user)
        if own is None:
            own = self._own[user] = f"{self._head}{user}.".encode()
        if payload.count(own) == count:
            return None
        for match in self._pattern.finditer(payload):
            if int(match[1]) != user:
                return Canary(int(match[1]), int(match[2]))
        return None

    def disguised(self, user: int, payload: bytes) -> tuple[Canary, bytes] | None:
        """The first canary that is not the user's own of those that are escaped or encoded in a common way; and what it
        was found in."""
        for undone in self._disguises.undone(payload):
            found = self.foreign(user, undone)
            if found is not None:
                return found, undone
        return None

    def foreign_anyhow(self, user: int, payload: bytes) -> tuple[Canary, bytes] | None:
        """As `foreign`, and as `disguised` where there is none."""
        found = self.foreign(user, payload)
        return (found, payload) if found is not None else self.disguised(user, payload)
