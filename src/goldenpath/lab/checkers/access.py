"""Access: who has not shown who they are is let in nowhere, and nobody longer than their token says."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar, Final

import msgspec

from goldenpath.lab.checker import Checker
from goldenpath.lab.records import Answered, Complete, Invoke
from goldenpath.lab.stream import SeenRun, Stream

GRACE: Final = 1.0
"""Seconds that something may still come after a token's end: it was on its way."""


class _Tokens(msgspec.Struct):
    """An answer to a login, as OAuth writes it (RFC 6749)."""

    expires_in: float | None = None


_decode_tokens = msgspec.json.Decoder(_Tokens).decode


class Access(Checker):
    """Violations: `trespass` (an operation that had to be refused was not; what the user came with stands in its
    text), `expired` (a token was good beyond the end that it was given with)."""

    name: ClassVar[str] = "access"
    optional: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[int, Invoke] = {}
        self._ends: dict[int, float] = {}
        """By user: until when the last token is good."""

    def invoked(self, op: Invoke) -> None:
        if op.kind == "trespass":
            self._open[op.op] = op

    def answered(self, op: Invoke, record: Answered) -> None:
        if record.status >= 400:
            return
        if op.kind == "trespass":
            self._admitted(op, record.at, f"an answer has status {record.status}")
        elif op.kind == "login":
            self._logged_in(record)
        else:
            self._still_good(op.user, op.at, f"{op.kind} was answered with {record.status}", op.thread, op.run)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        self._still_good(stream.user, at, f"run {run.run!r} ended", stream.thread, run.run)

    def _logged_in(self, record: Answered) -> None:
        self._ends.pop(record.user, None)
        with suppress(msgspec.MsgspecError):  # others answer a login otherwise
            seconds = _decode_tokens(record.body).expires_in
            if seconds is not None:
                self._ends[record.user] = record.at + seconds

    def _still_good(self, user: int, at: float, what: str, thread: str, run: str) -> None:
        end = self._ends.get(user)
        if end is None:
            return
        self.checked += 1
        if at > end + GRACE:
            witness = f"user {user}: {what} {at - end:.1f} s after their token had expired"
            self.violate("expired", at, user, witness, thread=thread, run=run)

    def completed(self, op: Invoke, record: Complete) -> None:
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
