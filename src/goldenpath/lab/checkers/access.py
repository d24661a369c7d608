"""Access: who has not shown who they are is let in nowhere, and nobody longer than their token says."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar, Final

import msgspec

from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import UNREADABLE
from goldenpath.lab.records import Answered, Closed, Complete, Invoke, Opened, Received
from goldenpath.lab.stream import SeenRun, Stream

GRACE: Final = 1.0
"""Seconds that something may still come after a token's end: it was on its way."""


class _Tokens(msgspec.Struct):
    """An answer to a login, as OAuth writes it (RFC 6749)."""

    expires_in: float | None = None


class _Welcome(msgspec.Struct):
    """What a server says of itself when a connection is open."""

    type: str
    user_id: str


_decode_tokens = msgspec.json.Decoder(_Tokens).decode
_decode_welcome = msgspec.json.Decoder(_Welcome).decode
_USERS: Final = 100_000
"""How many users are known by what the server calls them."""


class Access(Checker):
    """Violations: `trespass` (an operation that had to be refused was not; what the user came with stands in its
    text), `expired` (a token was good beyond the end that it was given with), `identity` (a connection is said to be
    another user's)."""

    name: ClassVar[str] = "access"
    optional: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[int, Invoke] = {}
        self._ends: dict[int, float] = {}
        """By user: until when the last token is good."""
        self._connected: dict[int, float] = {}
        """By user: until when the token is good that their connection was opened with, or told of last."""
        self._new: set[int] = set()
        """Connections of which nothing has come yet."""
        self._names: dict[str, int] = {}
        """Whom the server calls so."""
        self._called: dict[int, str] = {}
        """The other way round."""

    def invoked(self, op: Invoke) -> None:
        if op.kind == "trespass":
            self._open[op.op] = op

    def answered(self, op: Invoke, record: Answered) -> None:
        if record.status >= 300:
            return
        if op.kind == "trespass":
            self._admitted(op, record.at, f"an answer has status {record.status}")
        elif op.kind == "login":
            self._logged_in(record)
        else:
            how = f"{op.kind} was answered with {record.status}"
            self._still_good(op.user, op.at, how, op.thread, op.run, self._ends.get(op.user))

    def opened(self, record: Opened) -> None:
        self._new.add(record.connection)

    def closed(self, record: Closed) -> None:
        self._new.discard(record.connection)

    def mixed(self, record: Received, beside: bytes) -> None:
        if record.connection in self._new:
            self._new.discard(record.connection)
            with suppress(*UNREADABLE):  # others do not say it
                welcome = _decode_welcome(beside.partition(b"\n")[0])
                if welcome.type == "welcome":
                    self._welcomed(record, welcome.user_id)

    def _welcomed(self, record: Received, name: str) -> None:
        """Each user is called by a name of their own, on every connection."""
        self.checked += 1
        user = record.user
        owner, known = self._names.get(name, user), self._called.get(user, name)
        if owner != user or known != name:
            whose = f"which user {owner} is" if owner != user else f"and was {known!r} before"
            self.violate("identity", record.at, user, f"user {user} was welcomed as {name!r}, {whose}")
        elif len(self._names) < _USERS:
            self._names[name], self._called[user] = user, name

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        end = self._connected.get(stream.user, self._ends.get(stream.user))
        self._still_good(stream.user, at, f"run {run.run!r} ended", stream.thread, run.run, end)

    def _logged_in(self, record: Answered) -> None:
        self._ends.pop(record.user, None)
        with suppress(*UNREADABLE):  # others answer a login otherwise
            seconds = _decode_tokens(record.body).expires_in
            if seconds is not None:
                self._ends[record.user] = record.at + seconds

    def _still_good(self, user: int, at: float, what: str, thread: str, run: str, end: float | None) -> None:
        if end is None:
            return
        self.checked += 1
        if at > end + GRACE:
            witness = f"user {user}: {what} {at - end:.1f} s after their token had expired"
            self.violate("expired", at, user, witness, thread=thread, run=run)

    def completed(self, op: Invoke, record: Complete) -> None:
        if op.kind in ("connect", "refresh") and record.outcome == "ok" and op.user in self._ends:
            self._connected[op.user] = self._ends[op.user]
        if op.kind == "trespass":
            if record.outcome == "ok" or record.code == "admitted":
                self.checked += 1
            if record.code == "admitted":
                self._admitted(op, record.at, record.detail)
            self._open.pop(op.op, None)

    def _admitted(self, op: Invoke, at: float, how: str) -> None:
        """Told once for each operation."""
        if self._open.pop(op.op, None) is not None:
            self.violate("trespass", at, op.user, f"user {op.user} was let in with {op.text}: {how}")
