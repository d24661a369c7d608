from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from goldenpath.runtime.interfaces import JournalEntry, RunRow, Segment, ThreadKey, ThreadRow
from goldenpath.runtime.thread_log import (
    KNOWN_RUNS,
    LOG_BYTES,
    READ_EVENTS,
    RECENT_RUNS,
    RUN_BYTES,
    Batch,
    Follower,
    LogDeletedError,
    ThreadLog,
    clip,
)
from goldenpath.wire import events as ev
from goldenpath.wire.events import decode_event, encode
from goldenpath.wire.ids import Epoch, RunId, ThreadId, UserId
from goldenpath.wire.messages import AssistantMessage, StartedInput, UserMessage
from goldenpath.wire.transcript import Transcript

KEY = ThreadKey(UserId("ann"), ThreadId("t1"))
EPOCH = Epoch("e1")
BIG = 1 << 30


def empty_log() -> ThreadLog:
    return ThreadLog(ThreadRow(KEY, EPOCH, 1.0, 1.0), durable=False)


def run_row(name: str, **fields: Any) -> RunRow:
    return RunRow(EPOCH, RunId(name), "echo", "finished", 1.0, **fields)


def append_run(log: ThreadLog, name: str, *sizes: int) -> list[bytes]:
    """A run of events of these sizes in bytes."""
    log.begin_run(RunId(name))
    events = [(b"%d:" % (log.head + index + 1)).ljust(size, b".") for index, size in enumerate(sizes)]
    for event in events:
        log.append(event)
    return events


def commit_all(log: ThreadLog) -> None:
    """Everything becomes durable, in segments."""
    log.take_segments()
    log.show(log.head, log.segmented)


# --- against a naive model --------------------------------------------------------------------------------------------


class LogAndStore(RuleBasedStateMachine):
    """A log, what the store holds of it, and what happened, as one list."""

    def __init__(self) -> None:
        super().__init__()
        self.log = empty_log()
        self.log.transcript = Transcript()
        self.all: list[tuple[RunId, bytes]] = []
        self.visible = 0
        self.runs = 0
        self.run_id = RunId("")
        self.active = False
        self.ended_at = 0
        """The last event of the last run that ended, in memory."""
        self.open_message: str | None = None
        self.taken_segments: list[Segment] = []
        self.flight: tuple[int, int, list[Segment], JournalEntry | None, int] | None = None
        self.stored: dict[int, Segment] = {}
        self.journal: list[JournalEntry] = []
        self.ended_durably = 0

    def put(self, event: ev.Event) -> None:
        data = encode(event)
        self.log.append(data)
        self.all.append((self.run_id, data))

    @precondition(lambda self: not self.active)
    @rule()
    def begin_run(self) -> None:
        self.runs += 1
        self.run_id = RunId(f"r{self.runs}")
        self.active = True
        self.log.begin_run(self.run_id)
        message = UserMessage(id=f"user-{self.runs}", content="hello")
        given = StartedInput(thread_id="t1", run_id=self.run_id, messages=[message])
        self.put(ev.RunStarted("t1", self.run_id, input=given))

    @precondition(lambda self: self.active)
    @rule(texts=st.lists(st.sampled_from(["a", "\u00e9" * 20]), min_size=1, max_size=4))
    def say(self, texts: list[str]) -> None:
        if self.open_message is None:
            self.open_message = f"m{len(self.all)}"
            self.put(ev.TextMessageStart(self.open_message, role="assistant"))
        for text in texts:
            self.put(ev.TextMessageContent(self.open_message, text))

    @precondition(lambda self: self.open_message is not None)
    @rule()
    def end_message(self) -> None:
        assert self.open_message is not None
        self.put(ev.TextMessageEnd(self.open_message))
        self.open_message = None

    @precondition(lambda self: self.active)
    @rule()
    def end_run(self) -> None:
        if self.open_message is not None:
            self.end_message()
        self.put(ev.RunFinished("t1", self.run_id))
        self.active = False
        self.ended_at = len(self.all)
        self.segment()

    @precondition(lambda self: self.active)
    @rule()
    def segment(self) -> None:
        segments = self.log.take_segments()
        first = self.taken_segments[-1].last_seq + 1 if self.taken_segments else self.last_stored + 1
        if self.flight is not None and not self.taken_segments and self.flight[2]:
            first = self.flight[2][-1].last_seq + 1
        held = [(part.run_id, event) for part in segments for event in part.events]
        assert held == self.all[first - 1 :]
        for part in segments:
            assert part.first_seq == first
            assert part.events
            first = part.last_seq + 1
        self.taken_segments += segments
        assert self.log.take_journal() is None
        assert self.log.unsegmented_size == 0

    @property
    def last_stored(self) -> int:
        return max((part.last_seq for part in self.stored.values()), default=0)

    @precondition(lambda self: self.flight is None)
    @rule()
    def take(self) -> None:
        """A commit begins, as in `EventLog._take`."""
        entry = self.log.take_journal()
        self.log.taken_size = self.log.appended_size
        self.flight = (len(self.all), self.log.segmented, self.taken_segments, entry, self.ended_at)
        self.taken_segments = []

    @precondition(lambda self: self.flight is not None)
    @rule()
    def land(self) -> None:
        """The commit under way is durable."""
        assert self.flight is not None
        head, segmented, segments, entry, self.ended_durably = self.flight
        self.flight = None
        for part in segments:
            self.stored[part.first_seq] = part
        if entry is not None:
            self.journal.append(entry)
        self.visible = head
        self.log.show(head, segmented)

    @rule(keep=st.sampled_from([0, 0, 100, 400]))
    def drop(self, keep: int) -> None:
        self.log.drop(keep)

    @rule(data=st.data())
    def fold(self, data: st.DataObject) -> None:
        self.log.fold(data.draw(st.integers(0, len(self.all)), label="seq"))

    @rule(luck=st.integers(0, 3))
    def kill(self, luck: int) -> None:
        """The process ends; another one takes up what is durable."""
        if luck:
            return
        held = self.durable()
        self.all = [(run_id, event) for run_id, event, _ in held]
        ended = self.ended_durably
        self.log = ThreadLog(ThreadRow(KEY, EPOCH, 1.0, 1.0, head=ended), durable=True)
        self.log.transcript = Transcript()
        for _, event in self.all[:ended]:
            self.log.transcript.apply(decode_event(event))
        self.log.transcript = Transcript(self.log.transcript.messages)
        entries = [
            JournalEntry(EPOCH, part.run_id, part.first_seq, part.events)
            for part in sorted(self.stored.values(), key=lambda part: part.first_seq)
            if part.first_seq > ended
        ]
        segmented = len(entries)
        entries += [entry for entry in self.journal if entry.first_seq > self.last_stored]
        if entries:
            self.log.restore(entries, segmented)
        self.active = len(self.all) > ended
        self.run_id = self.all[-1][0] if self.active else self.run_id
        self.visible = len(self.all)
        self.ended_at = ended
        self.taken_segments = []
        self.flight = None
        self.open_message = None
        for _, event in self.all[ended:]:
            decoded = decode_event(event)
            if isinstance(decoded, ev.TextMessageStart):
                self.open_message = decoded.message_id
            elif isinstance(decoded, ev.TextMessageEnd):
                self.open_message = None

    def durable(self) -> list[tuple[RunId, bytes, str]]:
        """Every event that a new process finds, in order, and where."""
        found: dict[int, tuple[RunId, bytes, str]] = {}
        for entry in self.journal:
            for seq, event in enumerate(entry.events, entry.first_seq):
                found[seq] = (entry.run_id, event, "journal")
        for part in self.stored.values():
            for seq, event in enumerate(part.events, part.first_seq):
                assert found.get(seq, (part.run_id, event, ""))[:2] == (part.run_id, event)
                found[seq] = (part.run_id, event, "segment")
        assert sorted(found) == list(range(1, len(found) + 1))
        return [found[seq] for seq in sorted(found)]

    @invariant()
    def every_follower_reads_what_follows_it_from_memory_or_from_segments(self) -> None:
        assert self.log.visible == self.visible
        assert self.log.head == len(self.all)
        held = self.durable()
        assert [(run_id, event) for run_id, event, _ in held] == self.all[: self.visible]
        for max_bytes in (0, 150, BIG):
            for after in range(self.visible % 3, self.visible, 3):
                batch = self.log.read(after, max_bytes)
                if batch is None:
                    assert held[after][2] == "segment"
                    assert self.log.tail > after + 1
                    continue
                assert batch.first_seq == after + 1
                assert [(batch.run_id, event) for event in batch.events] == self.all[after : batch.last_seq]
                assert batch.last_seq <= self.visible
                assert batch.events
                assert len(batch.events) == 1 or sum(map(len, batch.events)) <= max_bytes
                assert not self.log.removed(after)
                assert not self.log.missing(EPOCH, after)

    @invariant()
    def sizes_are_what_is_held(self) -> None:
        in_memory = [event for each in self.log.slices for event in each.events]
        assert self.log.size == sum(map(len, in_memory))
        assert in_memory == [event for _, event in self.all[len(self.all) - len(in_memory) :]]
        assert self.log.tail == len(self.all) - len(in_memory) + 1
        assert self.log.appended_size == sum(len(event) for _, event in self.all[self.visible :])

    @invariant()
    def the_transcript_is_the_fold_of_all_events_up_to_its_place(self) -> None:
        naive = Transcript()
        for _, event in self.all[: self.log.folded]:
            naive.apply(decode_event(event))
        assert self.log.transcript is not None
        assert self.log.transcript.messages == naive.messages

    def teardown(self) -> None:
        for _ in range(2):
            if self.flight is None:
                self.take()
            self.land()
        assert self.visible == len(self.all)
        if not self.active:
            self.log.drop(0)
            assert self.log.size == 0


TestLogAndStore = LogAndStore.TestCase
TestLogAndStore.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_read_gives_events_of_one_run_only() -> None:
    log = empty_log()
    first = append_run(log, "r1", 5, 5)
    second = append_run(log, "r2", 5)
    commit_all(log)
    assert log.read(0, BIG) == Batch(1, RunId("r1"), first)
    assert log.read(1, BIG) == Batch(2, RunId("r1"), first[1:])
    assert log.read(2, BIG) == Batch(3, RunId("r2"), second)


def test_a_read_gives_a_bounded_number_of_events() -> None:
    log = empty_log()
    events = append_run(log, "r1", *[5] * (READ_EVENTS + 10))
    commit_all(log)
    batch = log.read(3, BIG)
    assert batch == Batch(4, RunId("r1"), events[3 : 3 + READ_EVENTS])


def test_a_read_gives_nothing_that_is_not_durable() -> None:
    log = empty_log()
    events = append_run(log, "r1", 5, 5, 5)
    assert log.visible == 0
    log.show(2, 0)
    assert log.read(0, BIG) == Batch(1, RunId("r1"), events[:2])


@pytest.mark.parametrize(("max_bytes", "count"), [(0, 1), (1, 1), (10, 1), (11, 1), (29, 2), (30, 3), (99, 3)])
def test_clipping_gives_what_fits_and_at_least_one(max_bytes: int, count: int) -> None:
    events = [b"x" * 10] * 3
    assert clip(events, max_bytes) == events[:count]


def test_a_follower_is_behind_while_it_has_not_read_what_is_visible() -> None:
    log = empty_log()
    follower = Follower(log, 0, lambda: None, lambda: None)
    append_run(log, "r1", 5)
    seen = [follower.behind]
    commit_all(log)
    seen.append(follower.behind)
    follower.position = 1
    seen.append(follower.behind)
    assert seen == [False, True, False]


@pytest.mark.parametrize(
    ("epoch", "seq", "missing"),
    [
        ("e1", 0, True),
        ("e1", 2, True),
        ("e1", 3, False),
        ("e1", 5, False),
        ("e1", 6, True),
        ("e2", 5, True),
        (None, 3, False),
    ],
)
def test_a_cursor_of_another_epoch_above_the_head_or_below_the_floor_has_a_gap(
    epoch: str | None, seq: int, missing: bool
) -> None:
    log = ThreadLog(ThreadRow(KEY, EPOCH, 1.0, 1.0, head=5, floor=4), durable=True)
    assert log.missing(epoch, seq) is missing


def test_a_cursor_at_the_start_of_an_empty_log_has_no_gap() -> None:
    assert not empty_log().missing(None, 0)
    assert empty_log().missing(EPOCH, 1)


def test_what_retention_removed_is_lost_only_where_memory_does_not_hold_it() -> None:
    log = empty_log()
    append_run(log, "r1", 10, 10, 10, 10)
    commit_all(log)
    log.drop(25)
    log.floor = 5
    assert [log.removed(after) for after in range(5)] == [True, True, False, False, False]
    log.drop(0)
    assert [log.removed(after) for after in range(5)] == [True, True, True, True, False]


# --- dropping ---------------------------------------------------------------------------------------------------------


def test_dropping_leaves_what_no_segment_holds_yet() -> None:
    log = empty_log()
    append_run(log, "r1", 10, 10)
    log.take_journal()
    log.show(log.head, log.segmented)
    log.drop(0)
    assert log.size == 20


def test_dropping_leaves_what_segments_hold_only_when_the_commit_under_way_is_durable() -> None:
    log = empty_log()
    append_run(log, "r1", 10, 10)
    log.take_journal()
    head, segmented = log.head, log.segmented  # a commit takes the journal entry and is under way
    log.take_segments()  # the run ends meanwhile: its segment goes with the next commit
    log.show(head, segmented)
    log.drop(0)
    assert log.read(0, BIG) is not None
    log.show(log.head, log.segmented)
    log.drop(0)
    assert log.size == 0
    assert log.read(0, BIG) is None


def test_a_run_of_which_nothing_is_held_does_not_keep_later_runs_in_memory() -> None:
    log = empty_log()
    append_run(log, "r1", 100)
    commit_all(log)
    log.drop(50)
    assert log.size == 0
    for number in range(2, 5):
        append_run(log, f"r{number}", 40, 40)
        commit_all(log)
        log.drop(50)
        assert log.size == 40


def test_dropping_brings_the_transcript_up_to_date_first() -> None:
    log = empty_log()
    log.transcript = Transcript()
    log.begin_run(RunId("r1"))
    for event in (ev.TextMessageStart("m1"), ev.TextMessageContent("m1", "hello"), ev.TextMessageEnd("m1")):
        log.append(encode(event))
    commit_all(log)
    log.drop(0)
    assert log.transcript.messages == [AssistantMessage(id="m1", content="hello")]


def test_restored_events_that_no_segment_holds_go_into_one_though_the_stored_head_is_above_them() -> None:
    # The thread's row was stored again in the middle of the run, when another run was accepted.
    log = ThreadLog(ThreadRow(KEY, EPOCH, 1.0, 1.0, head=5), durable=True)
    events = [encode(ev.Custom("n", number)) for number in range(4)]
    log.restore([JournalEntry(EPOCH, RunId("r2"), 3, events)], segmented=0)
    assert log.take_segments() == [Segment(EPOCH, RunId("r2"), 3, events)]


def test_folding_the_last_event_gives_what_folding_its_bytes_gives() -> None:
    log = empty_log()
    log.transcript = Transcript()
    append: list[ev.Event] = [
        ev.TextMessageStart("m1"),
        ev.TextMessageContent("m1", "a"),
        ev.TextMessageContent("m1", "b"),
    ]
    log.begin_run(RunId("r1"))
    for event in append:
        log.append(encode(event))
    log.fold_last(append[-1])
    log.fold(log.head)
    assert log.folded == 3
    assert log.transcript.messages == [AssistantMessage(id="m1", content="ab")]


def test_a_log_without_a_transcript_folds_nothing() -> None:
    log = empty_log()
    log.begin_run(RunId("r1"))
    log.append(encode(ev.TextMessageStart("m1")))
    log.fold(1)
    log.fold_last(ev.TextMessageStart("m1"))
    assert log.folded == 0


# --- deleting, resting ------------------------------------------------------------------------------------------------


def test_a_deleted_log_takes_no_more_events() -> None:
    log = empty_log()
    append_run(log, "r1", 5)
    log.deleted = True
    with pytest.raises(LogDeletedError):
        log.append(b"x")
    assert log.head == 1


def test_visible_never_goes_back() -> None:
    log = empty_log()
    append_run(log, "r1", 5, 5)
    log.show(2, 0)
    log.show(1, 0)
    assert log.visible == 2


def needed(log: ThreadLog) -> bool:
    return not log.idle


def test_a_log_is_idle_when_nobody_needs_it() -> None:
    log = empty_log()
    assert not needed(log)
    log.pins = 1
    assert needed(log)
    log.pins = 0
    log.touched = True
    assert needed(log)
    log.touched = False
    append_run(log, "r1", 5)
    assert needed(log)
    commit_all(log)
    assert not needed(log)
    log.runs[RunId("r2")] = run_row("r2")
    assert needed(log)
    log.runs.clear()
    log.followers[Follower(log, 0, lambda: None, lambda: None)] = None
    assert needed(log)


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_is_known_while_it_is_active_and_for_a_while_afterwards() -> None:
    log = empty_log()
    rows = [run_row(f"r{number}") for number in range(RECENT_RUNS + 1)]
    for row in rows:
        log.runs[row.run_id] = row
        assert log.run(row.run_id) is row
        log.end_run(row)
    assert log.run(rows[0].run_id) is None
    assert log.may_have_had(RunId(rows[0].run_id))
    assert not log.may_have_had(RunId("another"))
    assert [log.run(row.run_id) for row in rows[1:]] == rows[1:]
    assert log.runs == {}


def test_a_log_that_had_too_many_runs_remembers_no_ids() -> None:
    log = empty_log()
    for number in range(KNOWN_RUNS + 1):
        assert not log.may_have_had(RunId("another"))
        row = run_row(f"r{number}")
        log.runs[row.run_id] = row
        log.end_run(row)
    assert log.may_have_had(RunId("another"))
    assert log.weight == LOG_BYTES + RUN_BYTES * RECENT_RUNS


def test_a_lightened_log_weighs_next_to_nothing_and_knows_that_it_forgot() -> None:
    log = empty_log()
    log.transcript = Transcript()
    row = run_row("r1")
    log.runs[row.run_id] = row
    log.begin_run(RunId("r1"))
    events = [b'{"type":"CUSTOM","name":"n","value":%d}' % number for number in range(10)]
    for event in events:
        log.append(event)
    quiet = [log.quiet]
    log.end_run(row)
    segments = log.take_segments()
    quiet.append(log.quiet)
    log.show(log.head, log.segmented)
    assert [*quiet, log.quiet] == [False, False, True]
    assert log.weight > LOG_BYTES + log.size
    log.lighten()
    assert (log.weight, log.size) == (LOG_BYTES, 0)
    assert (log.head, log.visible, log.tail) == (10, 10, 11)
    assert log.read(0, 1000) is None  # the segments have it
    assert [event for segment in segments for event in segment.events] == events
    assert log.run(RunId("r1")) is None
    assert log.may_have_had(RunId("r1"))
    log.begin_run(RunId("r2"))
    log.append(b"{}")
    assert (log.head, log.tail) == (11, 11)


def test_a_log_of_an_earlier_process_may_have_had_any_run() -> None:
    assert ThreadLog(ThreadRow(KEY, EPOCH, 1.0, 1.0), durable=True).may_have_had(RunId("r1"))


def test_a_run_that_has_not_ended_cannot_be_put_away() -> None:
    log = empty_log()
    row = RunRow(EPOCH, RunId("r1"), "echo", "running", 1.0)
    log.runs[row.run_id] = row
    with pytest.raises(ValueError, match="r1 is running"):
        log.end_run(row)
    assert log.runs == {"r1": row}


def test_a_log_is_stored_as_it_is_now() -> None:
    row = ThreadRow(KEY, EPOCH, 1.0, 2.0, head=4, floor=2, message_count=3, history_bytes=99)
    log = ThreadLog(row, durable=True)
    assert log.row() == row
    append_run(log, "r9", 5)
    assert log.row().head == 5
