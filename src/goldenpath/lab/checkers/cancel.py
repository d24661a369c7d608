"""Cancel: a run that is cancelled ends soon, as cancelled, and no other run does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar, Final

from goldenpath.lab.checker import Checker, Finding
from goldenpath.lab.frames import Frame
from goldenpath.lab.records import Complete, Invoke
from goldenpath.lab.stream import SeenRun, Stream

WITHIN: Final = 5.0
"""Seconds after which a cancelled run must have ended, where nothing else is said."""
_SPARED: Final = 0.5, 20
"""Seconds, and pieces of what came, after which a run of which the target said that there was nothing to cancel can no
longer have been over then, with the rest of it on its way."""
_CALLED: Final = 100_000
"""How many cancelled runs are known at a time."""

_Run = tuple[int, str, str]


class Cancel(Checker):
    """Violations: `ignored` (a run that was cancelled goes on for more than `within` seconds, or its end does not
    come to whoever waits for it), `uncancelled` (the target said that it cancelled a run, which then ended
    otherwise), `denied` (the target said that there was nothing to cancel, and the run went on), `collateral` (a run
    ended as cancelled, or was said to be, that nobody cancelled).

    Between the cancel's reply and the end anything may still come: it was on its way. A cancel that came too late has
    no effect; the run ends as it would have. Where that is so of all of them, nothing is known."""

    name: ClassVar[str] = "cancel"
    optional: ClassVar[bool] = True

    def __init__(self, within: float = WITHIN) -> None:
        super().__init__()
        self._within = within
        self._cancels: dict[int, Invoke] = {}
        self._asks: dict[int, dict[int, Invoke]] = {}
        self._called: OrderedDict[_Run, None] = OrderedDict()
        """Runs for which somebody sent a cancel."""
        self._ending: dict[_Run, tuple[float, bool]] = {}
        """Since when a run has to end, and whether the target said that it ends as cancelled."""
        self._spared: dict[_Run, tuple[float, int]] = {}
        """Runs of which the target said that there was nothing to cancel: since when, and how often something came."""
        self._sent = self._stopped = 0
        """How many cancels were taken, and how many runs ended so."""

    def invoked(self, op: Invoke) -> None:
        if op.kind == "ask":
            self._asks.setdefault(op.user, {})[op.op] = op
        elif op.kind == "cancel":
            self._cancels[op.op] = op
            for run in self._runs_of(op):
                self._called[op.user, op.thread, run] = None
            while len(self._called) > _CALLED:
                self._called.popitem(last=False)

    def _runs_of(self, op: Invoke) -> list[str]:
        """The runs that a cancel names; without a name all of the thread that are under way."""
        if op.run:
            return [op.run]
        return [ask.run for ask in self._asks.get(op.user, {}).values() if ask.thread == op.thread]

    def replied(self, user: int, frame: Frame, at: float) -> None:
        op = self._cancels.get(frame.re) if isinstance(frame.re, int) else None
        if op is None or op.user != user or not frame.ok or frame.cancelled is None:
            return
        if op.run and not frame.cancelled and self._waited_for((user, op.thread, op.run)):
            self._spared[user, op.thread, op.run] = at, 0
        for run in frame.cancelled:
            if op.run and run != op.run:
                witness = f"user {user} cancelled run {op.run!r}, and the target says that it cancelled {run!r}"
                self.violate("collateral", at, user, witness, thread=op.thread, run=run)
            key = user, op.thread, run
            self._called[key] = None
            if self._waited_for(key):
                self._ending[key] = at, True

    def completed(self, op: Invoke, record: Complete) -> None:
        if op.kind == "cancel":
            self._cancels.pop(op.op, None)
            if record.outcome == "ok":
                self.checked += 1
                self._sent += 1
                for run in self._runs_of(op):
                    key = op.user, op.thread, run
                    if self._waited_for(key):
                        self._ending.setdefault(key, (record.at, False))
        elif op.kind == "ask":
            asks = self._asks.get(op.user, {})
            asks.pop(op.op, None)
            if not asks:
                self._asks.pop(op.user, None)
            self._spared.pop((op.user, op.thread, op.run), None)
            since = self._ending.pop((op.user, op.thread, op.run), None)
            if since is not None and record.code == "timeout" and record.at > since[0] + self._within:
                self._ignored(op.user, op.thread, op.run, since[0], record.at, "no end of it has come")

    def _waited_for(self, key: _Run) -> bool:
        user, thread, run = key
        return any((ask.thread, ask.run) == (thread, run) for ask in self._asks.get(user, {}).values())

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:
        if not self._ending and not self._spared:
            return
        key = stream.user, stream.thread, frames[0].run_id or ""
        if key in self._spared:
            self._goes_on(key, at)
        since = self._ending.get(key)
        if since is not None and at > since[0] + self._within:
            del self._ending[key]
            event = frames[0].event
            assert event is not None
            self._ignored(*key, since[0], at, f"{event.type} comes")

    def _goes_on(self, key: _Run, at: float) -> None:
        """More comes of a run of which there was nothing to cancel."""
        since, came = self._spared[key]
        self._spared[key] = since, came + 1
        seconds, pieces = _SPARED
        if came > pieces and at - since > seconds:
            del self._spared[key]
            user, thread, run = key
            witness = (
                f"user {user} cancelled run {run!r}, and the target said that there was nothing to cancel; "
                f"{at - since:.1f} s later it still goes on"
            )
            self.violate("denied", at, user, witness, thread=thread, run=run)

    def _ignored(self, user: int, thread: str, run: str, since: float, at: float, what: str) -> None:
        witness = f"user {user}: {at - since:.1f} s after run {run!r} was cancelled {what}"
        self.violate("ignored", at, user, witness, thread=thread, run=run)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        key = stream.user, stream.thread, run.run
        since = self._ending.pop(key, None)
        self._spared.pop(key, None)
        where = f"user {stream.user}, thread {stream.thread!r}: run {run.run!r}"
        if run.outcome == "cancelled":
            self.checked += 1
            self._stopped += 1
            if key not in self._called:
                witness = f"{where} ended as cancelled, but nobody cancelled it"
                self.violate("collateral", at, stream.user, witness, thread=stream.thread, run=run.run)
        elif since is not None and since[1] and run.error != "run_interrupted":
            end = run.error or run.outcome
            witness = f"{where} was cancelled, as the target itself says, but ended with {end}"
            self.violate("uncancelled", at, stream.user, witness, thread=stream.thread, run=run.run)

    def finding(self, broken: str = "") -> Finding:
        idle = ""
        if self._sent and not self._stopped and not self.violated:
            idle = f"of {self._sent:,} cancels none stopped a run"
        return super().finding(broken or idle)
