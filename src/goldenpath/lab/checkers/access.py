"""Access: who has not shown who they are is let in nowhere, and nobody longer than their token says."""

from __future__ import annotations

from typing import ClassVar

from goldenpath.lab.checker import Checker
from goldenpath.lab.records import Answered, Complete, Invoke


class Access(Checker):
    """Violations: `trespass`: an operation that had to be refused was not. What the user came with (no token, one
    that has ended, a connection whose token has ended ...) stands in the operation's text."""

    name: ClassVar[str] = "access"
    optional: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[int, Invoke] = {}

    def invoked(self, op: Invoke) -> None:
        if op.kind == "trespass":
            self._open[op.op] = op

    def answered(self, op: Invoke, record: Answered) -> None:
        if op.kind == "trespass" and record.status < 400:
            self._admitted(op, record.at, f"an answer has status {record.status}")

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
