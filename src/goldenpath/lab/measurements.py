"""How long things took and how many there were: read off the history, as every checker reads it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median
from typing import ClassVar, Final

import msgspec

from goldenpath.histogram import Dump, Histogram
from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import Frame
from goldenpath.lab.plain import plain
from goldenpath.lab.records import Complete, Invoke, Noted
from goldenpath.lab.stream import SeenRun, Stream
from goldenpath.lab.target import CODES

_SHOWN: Final = 200
"""Characters of a reason."""
MOST_CODES: Final = 50
"""How many different codes of the target's are counted of each kind of operation, the first that come: a target may
invent one for each answer. All others count as `OTHERS`."""
OTHERS: Final = "others"
_CODE: Final = 80
"""Characters of a code."""
FLOOD: Final = "flood"
"""As a kind of operation: what a user asks who floods the target. A refusal is what they have to get."""


_OWN: Final = frozenset((*CODES, "ok", "fail", "info", OTHERS))
"""Words of the lab's own, always counted."""


class Measured(msgspec.Struct):
    """What was measured in a run."""

    durations: dict[str, Dump] = {}
    """By name: `login`, `connect`, `first_token`, `run`, `history` ..., in seconds from the intended start. Besides:
    `golden_path`, to log in, to connect and to get the first answer, without what a user waits in between of their own
    accord; `final_delivery`, from the last piece of an answer to its run's end; `lag`, how late the lab itself was."""
    outcomes: dict[str, dict[str, int]] = {}
    """By kind of operation (or `FLOOD`): how many were ok, and how many failed, by code (or `OTHERS`)."""
    reasons: dict[str, dict[str, str]] = {}
    """By kind and code: what was said of the first that failed so, where anything was."""
    events: int = 0
    users: dict[int, Dump] = {}
    """The same durations as `run`, by user."""


class Moment(msgspec.Struct, frozen=True):
    """How far a run is, for those who watch it."""

    runs: int
    """That ended well."""
    failed: int
    first_token: float | None
    """The median of those that came since the last time, in seconds; None where none did."""


class Measurements(Checker):
    """Reads durations and counts off a history. It finds no violations."""

    name: ClassVar[str] = "measurements"

    def __init__(self) -> None:
        super().__init__()
        self._durations: dict[str, Histogram] = defaultdict(Histogram)
        self._outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self._reasons: dict[str, dict[str, str]] = defaultdict(dict)
        self._users: dict[int, Histogram] = defaultdict(Histogram)
        self._asked: dict[tuple[int, str, str], Invoke] = {}
        self._flooding: set[int] = set()
        self._flood: set[int] = set()
        self._paths: dict[int, float] = {}
        self._events = 0
        self._recent: list[float] = []
        self._begun: dict[tuple[int, str, str], SeenRun] = {}
        """Runs whose first piece is yet to be told to those who watch."""

    def invoked(self, op: Invoke) -> None:
        if op.intended != op.at:
            self._durations["lag"].record(op.at - op.intended)
        if op.kind == "ask":
            if op.user in self._flooding:
                self._flood.add(op.op)
            else:
                self._asked[op.user, op.thread, op.run] = op

    def noted(self, record: Noted) -> None:
        if record.kind == "flood_begun":
            self._flooding.add(int(record.text))
        elif record.kind == "flood_ended":
            self._flooding.discard(int(record.text))

    def events(self, stream: Stream, frames: Sequence[Frame], at: float) -> None:  # noqa: ARG002
        self._events += len(frames)

    def began(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        self._begun[stream.user, stream.thread, run.run] = run

    def left(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        self._begun.pop((stream.user, stream.thread, run.run), None)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:
        asked = stream.user, stream.thread, run.run
        to_tell, op = self._begun.pop(asked, None), self._asked.get(asked)
        if op is None:
            return
        if run.first_at is not None:
            self._durations["first_token"].record(run.first_at - op.intended)
            if to_tell is not None:
                self._recent.append(run.first_at - op.intended)
        if run.outcome == "success":
            self._durations["run"].record(at - op.intended)
            self._users[op.user].record(at - op.intended)
            if run.text_at is not None:
                self._durations["final_delivery"].record(at - run.text_at)
            begun = self._paths.pop(op.user, None)
            if begun is not None:
                self._durations["golden_path"].record(begun + at - op.intended)

    def completed(self, op: Invoke, record: Complete) -> None:
        self.checked += 1
        ok = record.outcome == "ok"
        kind = FLOOD if op.op in self._flood else op.kind
        code = self._counted(kind, "ok" if ok else record.code or record.outcome)
        self._outcomes[kind][code] += 1
        if record.detail:
            self._reasons[kind].setdefault(code, plain(record.detail[:_SHOWN]))
        if op.kind == "ask":
            self._flood.discard(op.op)
            self._asked.pop((op.user, op.thread, op.run), None)
        elif ok:
            taken = record.at - op.intended
            self._durations[op.kind].record(taken)
            if op.kind == "login":
                self._paths[op.user] = taken
            elif op.kind == "connect" and op.user in self._paths:
                self._paths[op.user] += taken

    def _counted(self, kind: str, code: str) -> str:
        """What an outcome counts as."""
        code = plain(code[:_CODE])
        counts = self._outcomes[kind]
        if code in counts or code in _OWN or len(counts.keys() - _OWN) < MOST_CODES:
            return code
        return OTHERS

    def tick(self) -> Moment:
        """How far it is. Call it every second or so: values that were recorded take no memory any more then."""
        for histogram in (*self._durations.values(), *self._users.values()):
            histogram.fold()
        for key, run in list(self._begun.items()):
            if run.first_at is not None:
                del self._begun[key]
                if key in self._asked:
                    self._recent.append(run.first_at - self._asked[key].intended)
        recent, self._recent = self._recent, []
        asked = self._outcomes["ask"]
        ok = asked["ok"]
        return Moment(runs=ok, failed=asked.total() - ok, first_token=median(recent) if recent else None)

    def measured(self) -> Measured:
        """What was measured so far."""
        return Measured(
            durations={name: histogram.dump() for name, histogram in self._durations.items()},
            outcomes={kind: dict(counts) for kind, counts in self._outcomes.items()},
            reasons={kind: dict(reasons) for kind, reasons in self._reasons.items()},
            events=self._events,
            users={user: histogram.dump() for user, histogram in self._users.items()},
        )
