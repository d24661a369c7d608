"""Accounting: every operation has an outcome, and it is the one that the events show."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, Final

from goldenpath.lab.checker import Checker, Finding
from goldenpath.lab.records import Complete, Invoke
from goldenpath.lab.stream import SeenRun, Stream

_REFUSED: Final = 10_000
"""How many refused runs are known at a time."""


class Accounting(Checker):
    """Violations: `revived` (a run was refused for certain, and ran), `unfounded` (an ask is ok though no end of its
    run came).

    An operation without an outcome is no fault of the target's: the history is cut, and what happened is unknown."""

    name: ClassVar[str] = "accounting"

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[int, Invoke] = {}
        self._runs: dict[tuple[int, str, str], bool] = {}
        """The runs that are asked for, and whether their end came."""
        self._begun: set[tuple[int, str, str]] = set()
        """Those of them whose events come."""
        self._refused: OrderedDict[tuple[int, str, str], str] = OrderedDict()
        self._cut = ""

    def invoked(self, op: Invoke) -> None:
        self._open[op.op] = op
        if op.kind == "ask":
            key = op.user, op.thread, op.run
            self._runs[key] = False
            self._refused.pop(key, None)  # tried again

    def completed(self, op: Invoke, record: Complete) -> None:
        self.checked += 1
        del self._open[op.op]
        if op.kind != "ask":
            return
        key = op.user, op.thread, op.run
        ended, begun = self._runs.pop(key, False), key in self._begun
        self._begun.discard(key)
        if record.outcome == "ok" and not ended:
            witness = f"user {op.user}: run {op.run!r} counts as done, but its end has not come"
            self.violate("unfounded", record.at, op.user, witness, thread=op.thread, run=op.run)
        elif record.outcome == "fail" and begun:  # its events were there before whoever asked had read the refusal
            self._revived(key, record.code, record.at)
        elif record.outcome == "fail":
            self._refused[key] = record.code
            if len(self._refused) > _REFUSED:
                self._refused.popitem(last=False)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        key = stream.user, stream.thread, run.run
        if key in self._runs:
            self._runs[key] = True

    def began(self, stream: Stream, run: SeenRun, at: float) -> None:
        key = stream.user, stream.thread, run.run
        code = self._refused.pop(key, None)
        if code is not None:
            self._revived(key, code, at)
        elif key in self._runs:
            self._begun.add(key)

    def _revived(self, key: tuple[int, str, str], code: str, at: float) -> None:
        user, thread, run = key
        witness = f"user {user}: run {run!r} was refused for certain ({code}), but its events come"
        self.violate("revived", at, user, witness, thread=thread, run=run)

    def finish(self, at: float) -> None:  # noqa: ARG002
        if self._open:
            first = next(iter(self._open.values()))
            self._cut = (
                f"operations without an outcome: {len(self._open)}, the first is {first.kind} {first.op} of user "
                f"{first.user}; the history is cut"
            )

    def finding(self, broken: str = "") -> Finding:
        return super().finding(broken or self._cut)
