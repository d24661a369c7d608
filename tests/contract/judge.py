"""Says whether a history keeps the delivery contract (docs/protocol.md), and if not, what broke it.

A rule is a function from the evidence to the faults that it finds. It counts what it looked at, because a rule that had
nothing to look at has proved nothing. The rules use the package only to fold events into messages (`wire.transcript`);
what they ask of the events they say themselves.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from goldenpath.wire.events import decode_event
from goldenpath.wire.messages import Message
from goldenpath.wire.transcript import Transcript
from tests.contract import history as h

TERMINAL = ("RUN_FINISHED", "RUN_ERROR")
ENDED = ("finished", "failed", "cancelled", "interrupted")
_BRACKETS = {
    "TEXT_MESSAGE": ("START", "END", "CONTENT", "messageId"),
    "TOOL_CALL": ("START", "END", "ARGS", "toolCallId"),
    "REASONING": ("START", "END", "", "messageId"),
    "REASONING_MESSAGE": ("START", "END", "CONTENT", "messageId"),
    "STEP": ("STARTED", "FINISHED", "", "stepName"),
}
"""What opens, closes and continues, and the field that says which one."""


class Fault(NamedTuple):
    """What broke which rule, in one sentence."""

    rule: str
    sentence: str


class Event(NamedTuple):
    """An event of a log as anybody saw it."""

    run_id: str
    data: bytes
    value: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.value["type"])


class Verdict(NamedTuple):
    """`checked` counts, for each rule, how many things it looked at."""

    faults: list[Fault]
    checked: Counter[str]

    def require(self, **least: int) -> None:
        """Fail the test with every fault; and where a rule looked at less than it was expected to."""
        assert not self.faults, "\n".join(f"{fault.rule}: {fault.sentence}" for fault in self.faults[:20])
        for rule, count in least.items():
            assert self.checked[rule] >= count, f"{rule} looked at {self.checked[rule]} things, expected {count}"


class Evidence:
    """A history, sorted for the rules. `gaps` says whether a gap is a fault (False) or may happen."""

    def __init__(self, history: h.History, *, gaps: bool) -> None:
        self.records = history.records
        self.markers = history.markers
        self.gaps = gaps
        self.checked: Counter[str] = Counter()
        self.subscriptions = {r.subscription: r for r in self.records if isinstance(r, h.Opened)}
        self.logs: dict[h.Log, dict[int, Event]] = defaultdict(dict)
        for record in self.records:
            if isinstance(record, h.Saw) and record.run_id is not None:
                event = Event(record.run_id, record.event, msgspec.json.decode(record.event))
                self.logs[self.log_of(record.subscription)].setdefault(record.seq, event)

    def log_of(self, subscription: int) -> h.Log:
        opened = self.subscriptions[subscription]
        return opened.user, opened.thread_id, opened.epoch

    def runs(self) -> Iterator[tuple[h.Log, str, list[Event]]]:
        """The known events of each run, in order of seq."""
        for log, events in self.logs.items():
            found: dict[str, list[Event]] = defaultdict(list)
            for _, event in sorted(events.items()):
                found[event.run_id].append(event)
            for run_id, of_run in found.items():
                yield log, run_id, of_run


def judge(history: h.History, *, gaps: bool = False) -> Verdict:
    """Judge a history that ends when all runs have ended and every log was read from its start to its end.

    `gaps`: whether the test made the server lose events on purpose, so that it may say that it did.
    """
    evidence = Evidence(history, gaps=gaps)
    faults = [Fault(rule.__name__, sentence) for rule in RULES for sentence in rule(evidence)]
    return Verdict(faults, evidence.checked)


# --- subscriptions ----------------------------------------------------------------------------------------------------


def sequence(evidence: Evidence) -> Iterator[str]:
    """Each subscription gets every event after its start, once and in order; after a gap the snapshot comes first."""
    position: dict[int, int] = {}
    snapshot_due: dict[int, bool] = {}
    closed: set[int] = set()
    for record in evidence.records:
        match record:
            case h.Opened():
                position[record.subscription] = record.seq
                snapshot_due[record.subscription] = record.gap
            case h.Closed():
                closed.add(record.subscription)
            case h.Saw():
                number = record.subscription
                evidence.checked["sequence"] += 1
                where = f"subscription {number} of {evidence.log_of(number)}"
                if number in closed:
                    yield f"{where} got seq {record.seq} after its end"
                if snapshot_due[number]:
                    snapshot_due[number] = False
                    if record.run_id is not None or record.seq != position[number]:
                        yield f"{where} got seq {record.seq} instead of the snapshot at {position[number]}"
                    continue
                if record.run_id is None:
                    yield f"{where} got a snapshot at {record.seq} that no gap announced"
                elif record.seq != position[number] + 1:
                    yield f"{where} got seq {record.seq} after {position[number]}"
                position[number] = record.seq


def resume(evidence: Evidence) -> Iterator[str]:
    """A subscription begins where its client asked, or says that it does not."""
    for opened in evidence.subscriptions.values():
        where = f"subscription {opened.subscription} of {evidence.log_of(opened.subscription)}"
        if opened.head is not None and opened.seq > opened.head:
            yield f"{where} begins at {opened.seq}, above the head {opened.head}"
        if opened.after is None:
            if opened.gap:
                yield f"{where} has a gap, but asked for no position"
            continue
        evidence.checked["resume"] += 1
        epoch, seq = opened.after
        if opened.gap:
            if not evidence.gaps:
                yield f"{where} has a gap after {opened.after}, where nothing was lost"
        elif opened.seq != seq or epoch not in (None, opened.epoch):
            yield f"{where} begins at {opened.epoch}.{opened.seq} and not at {opened.after}, without calling it a gap"


def unchanged(evidence: Evidence) -> Iterator[str]:
    """The same seq has the same bytes and the same run for everybody, for ever."""
    for record in evidence.records:
        if isinstance(record, h.Saw) and record.run_id is not None:
            evidence.checked["unchanged"] += 1
            log = evidence.log_of(record.subscription)
            first = evidence.logs[log][record.seq]
            if (first.run_id, first.data) != (record.run_id, record.event):
                yield f"{log} seq {record.seq} was {first.run_id} {first.data!r}, then {record.run_id} {record.event!r}"


def kept(evidence: Evidence) -> Iterator[str]:
    """What was seen is never missing later: no head, no history, ends before what was seen when it was asked for; and
    a thread keeps its epoch until it is deleted."""
    seen: list[tuple[int, h.Log, int]] = []
    deletions: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, record in enumerate(evidence.records):
        match record:
            case h.Saw():
                seen.append((index, evidence.log_of(record.subscription), record.seq))
            case h.Deleting():
                deletions[record.user, record.thread_id].append(index)
    heads: dict[h.Log, list[tuple[int, int]]] = defaultdict(list)
    for index, log, seq in seen:
        if not heads[log] or heads[log][-1][1] < seq:
            heads[log].append((index, seq))
    epochs: dict[tuple[str, str], tuple[int, str]] = {}
    for index, record in enumerate(evidence.records):
        match record:
            case h.Opened(head=int(told)):
                pass
            case h.Messages(seq=told):
                pass
            case _:
                continue
        log = (record.user, record.thread_id, record.epoch)
        evidence.checked["kept"] += 1
        before_asking = bisect_left(heads[log], (record.asked_at, 0))
        known = heads[log][before_asking - 1][1] if before_asking else 0
        if told < known:
            yield f"{log} ends at {told}, but seq {known} had been seen before"
        # Since when it has had this epoch, not until when: an answer may still name it while the thread is deleted.
        since, epoch = epochs.setdefault(log[:2], (index, record.epoch))
        if epoch == record.epoch:
            continue
        if not any(since < at < index for at in deletions[log[:2]]):
            yield f"{log[:2]} changed its epoch from {epoch} to {record.epoch}, though nobody deleted it"
        epochs[log[:2]] = index, record.epoch


def deleted(evidence: Evidence) -> Iterator[str]:
    """Whoever asks once a thread is deleted is told nothing of its old logs."""
    epochs: dict[tuple[str, str], set[str]] = defaultdict(set)
    going: dict[tuple[str, str], set[str]] = defaultdict(set)
    gone: dict[h.Log, int] = {}  # since when
    deletions: set[tuple[str, str]] = set()
    for index, record in enumerate(evidence.records):
        match record:
            case h.Deleting():
                # What is named from here on may be the new log.
                going[record.user, record.thread_id] |= epochs[record.user, record.thread_id]
            case h.Deleted():
                key = record.user, record.thread_id
                deletions.add(key)
                for epoch in going[key]:
                    gone.setdefault((*key, epoch), index)
            case h.Opened() | h.Messages() | h.Accepted():
                key = record.user, record.thread_id
                evidence.checked["deleted"] += key in deletions
                # An answer may have been on its way, or waited unread in another connection.
                if record.asked_at > gone.get((*key, record.epoch), record.asked_at):
                    yield f"{key} shows epoch {record.epoch} after it was deleted"
                epochs[key].add(record.epoch)


# --- runs -------------------------------------------------------------------------------------------------------------


def contiguous(evidence: Evidence) -> Iterator[str]:
    """A log is one run after another."""
    for log, events in evidence.logs.items():
        evidence.checked["contiguous"] += 1
        over: set[str] = set()
        current = None
        for seq, event in sorted(events.items()):
            if event.run_id != current:
                if event.run_id in over:
                    yield f"{log} seq {seq} is of run {event.run_id} again, after {current}"
                if current is not None and seq - 1 in events and events[seq - 1].kind not in TERMINAL:
                    yield f"{log} run {event.run_id} begins at seq {seq} before {current} has ended"
                over.add(current or "")
                current = event.run_id


def started_once(evidence: Evidence) -> Iterator[str]:
    """A run begins with its only RUN_STARTED, which says which run it is."""
    for log, run_id, events in evidence.runs():
        evidence.checked["started_once"] += 1
        starts = [index for index, event in enumerate(events) if event.kind == "RUN_STARTED"]
        if starts != [0]:
            yield f"{log} run {run_id} has RUN_STARTED at {starts} of its {len(events)} known events"
            continue
        value = events[0].value
        if (value["threadId"], value["runId"]) != (log[1], run_id):
            yield f"{log} run {run_id} starts as {value['threadId']} {value['runId']}"


def ended_once(evidence: Evidence) -> Iterator[str]:
    """Every accepted run has exactly one terminal event, and it is its last."""
    runs = {(log, run_id): events for log, run_id, events in evidence.runs()}
    removed = {(r.user, r.thread_id) for r in evidence.records if isinstance(r, h.Deleting)}
    for record in evidence.records:
        if isinstance(record, h.Accepted) and (record.user, record.thread_id) not in removed:
            evidence.checked["ended_once"] += 1
            if ((record.user, record.thread_id, record.epoch), record.run_id) not in runs:
                yield f"{record} has no event"
    for (log, run_id), events in runs.items():
        evidence.checked["ended_once"] += 1
        ends = [index for index, event in enumerate(events) if event.kind in TERMINAL]
        if ends and ends != [len(events) - 1]:
            yield f"{log} run {run_id} has terminal events at {ends} of its {len(events)} events"
        elif not ends and log[:2] not in removed:
            yield f"{log} run {run_id} never ended: its last event is {events[-1].data!r}"


def closed(evidence: Evidence) -> Iterator[str]:
    """Within a run nothing continues or ends that is not open, and nothing is open when it ends."""
    for log, run_id, events in evidence.runs():
        evidence.checked["closed"] += 1
        opened: set[tuple[str, str]] = set()
        for event in events:
            subject, _, what = event.kind.rpartition("_")
            bracket = _BRACKETS.get(subject)
            if event.kind in TERMINAL and opened:
                yield f"{log} run {run_id} ends while {sorted(opened)} are open"
            if bracket is None or what not in bracket[:3]:
                continue
            begin, end, _, field = bracket
            key = subject, str(event.value[field])
            if (key in opened) == (what == begin):
                yield f"{log} run {run_id}: {event.data!r} has no place"
            elif what == begin:
                opened.add(key)
            elif what == end:
                opened.remove(key)


def status(evidence: Evidence) -> Iterator[str]:
    """Once the server called a run ended it calls it that for ever, and its terminal event says the same."""
    known: dict[tuple[str, str, str], str] = {}
    removed = {(r.user, r.thread_id) for r in evidence.records if isinstance(r, h.Deleting)}
    terminal: dict[tuple[str, str, str], dict[str, Any]] = {}
    for log, run_id, events in evidence.runs():
        if events[-1].kind in TERMINAL:
            terminal[log[0], log[1], run_id] = events[-1].value
    for record in evidence.records:
        if not isinstance(record, h.Status) or (record.user, record.thread_id) in removed:
            continue
        evidence.checked["status"] += 1
        key = record.user, record.thread_id, record.run_id
        before = known.setdefault(key, record.status)
        if before in ENDED and record.status != before:
            yield f"{key} was {before} and is {record.status}"
        known[key] = record.status
        if record.status in ENDED and key in terminal and _status_of(terminal[key]) != record.status:
            yield f"{key} is {record.status}, but ended with {terminal[key]}"


def _status_of(terminal: dict[str, Any]) -> str:
    if terminal["type"] == "RUN_ERROR":
        return "interrupted" if terminal.get("code") == "run_interrupted" else "failed"
    return "cancelled" if terminal.get("outcome", {}).get("type") == "cancelled" else "finished"


# --- users and history ------------------------------------------------------------------------------------------------


def private(evidence: Evidence) -> Iterator[str]:
    """No user ever reads another user's marker."""
    owners = {marker: user for user, marker in evidence.markers.items()}
    any_marker = re.compile(b"|".join(map(re.escape, owners)) or b"(?!)")
    for record in evidence.records:
        match record:
            case h.Saw():
                user, text = evidence.subscriptions[record.subscription].user, record.event
            case h.Messages():
                user, text = record.user, record.messages
            case h.Said():
                user, text = record.user, record.text
            case _:
                continue
        evidence.checked["private"] += 1
        for marker in any_marker.findall(text):
            if owners[marker] != user:
                yield f"{user} read {owners[marker]}'s marker: {text[:300]!r}"


def messages(evidence: Evidence) -> Iterator[str]:
    """The history, and the snapshot after a gap, hold exactly what the events up to there fold to."""
    wanted: dict[h.Log, dict[int, set[bytes]]] = defaultdict(lambda: defaultdict(set))
    for record in evidence.records:
        if isinstance(record, h.Messages):
            wanted[record.user, record.thread_id, record.epoch][record.seq].add(record.messages)
        elif isinstance(record, h.Saw) and record.run_id is None:
            shown = msgspec.json.encode(msgspec.json.decode(record.event)["messages"])
            wanted[evidence.log_of(record.subscription)][record.seq].add(shown)
    for log, positions in wanted.items():
        transcript, folded = Transcript(), 0
        events = evidence.logs[log]
        for seq, bodies in sorted(positions.items()):
            while folded < seq and folded + 1 in events:
                folded += 1
                transcript.apply(decode_event(events[folded].data))
            if folded < seq:
                continue  # not all of it was seen by anybody: the log lost its beginning
            expected = transcript.messages
            for body in bodies:
                evidence.checked["messages"] += 1
                found = msgspec.json.decode(body, type=list[Message])
                if found != expected:
                    yield f"{log} at {seq} folds to {expected}, but the server says {found}"


RULES: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    sequence,
    resume,
    unchanged,
    kept,
    deleted,
    contiguous,
    started_once,
    ended_once,
    closed,
    status,
    private,
    messages,
)
