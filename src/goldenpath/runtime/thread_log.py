"""The log of one thread: what is in memory of it, and what a follower may read. Sans-I/O.

A thread has one log for each (user, thread). Runs append to it one after another, so the log is a row of *slices*, each
the consecutive events of one run:

    seq        1 ... 57 | 58 ... 91 | 92 ... 130 ...
    slice      run r1   | run r2    | run r3 (active)
                  ^tail                ^visible   ^head

`head` is the last appended event. `visible` is the last one that is durable, and nobody is shown more. What lies before
`tail` has left memory and is read from the store's segments; what lies before `floor` is gone, and a cursor there has a
gap. Slices hold each event's JSON once; every transport puts its own envelope around it.

A *follower* stands at a position in the log. It has no queue: one that lags costs nothing but its number.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from goldenpath.runtime.interfaces import JournalEntry, RunRow, Segment, ThreadKey, ThreadRow
from goldenpath.runtime.run_records import RunRecord
from goldenpath.runtime.run_states import ENDED
from goldenpath.wire.coalesce import decode_coalesced
from goldenpath.wire.errors import GoldenpathError
from goldenpath.wire.events import Event
from goldenpath.wire.ids import Epoch, RunId
from goldenpath.wire.transcript import Transcript

RECENT_RUNS: Final = 64
"""How many ended runs a log remembers, so that a repeated run id is usually known without a look-up."""
KNOWN_RUNS: Final = 2048
"""Of how many runs it remembers the ids, so that a new run id is known to be new without one."""
LOG_BYTES: Final = 1_000
"""About what a log takes that holds nothing."""
EVENT_BYTES: Final = 48
"""About what an event in memory takes beyond its JSON."""
MESSAGE_BYTES: Final = 350
"""About what a message of the transcript takes beyond its JSON."""
RUN_BYTES: Final = 350
"""About what remembering a run takes."""
RUN_ID_BYTES: Final = 100
"""About what remembering one id takes."""
READ_EVENTS: Final = 512
"""How many events one read returns at most."""


class LogDeletedError(GoldenpathError):
    """The thread was deleted: nothing can be appended to or read from its log any more."""


class Batch(NamedTuple):
    """Consecutive events of one run, as a follower reads them."""

    first_seq: int
    run_id: RunId
    events: list[bytes]

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.events) - 1


class _Slice:
    """The part of one run that is in memory."""

    __slots__ = ("events", "first_seq", "run_id", "size", "unsegmented_size")

    def __init__(self, run_id: RunId, first_seq: int) -> None:
        self.run_id = run_id
        self.first_seq = first_seq
        self.events: list[bytes] = []
        self.size = 0
        self.unsegmented_size = 0

    @property
    def next_seq(self) -> int:
        return self.first_seq + len(self.events)


class Follower:
    """Who is told of what becomes visible in a log. Every event up to `position` was handed to it.

    `notify` is called, on the loop, when there is more to read; `on_deleted` when the thread was deleted; neither after
    `release`.
    """

    __slots__ = ("log", "notify", "on_deleted", "position")

    def __init__(
        self, log: ThreadLog, position: int, notify: Callable[[], None], on_deleted: Callable[[], None]
    ) -> None:
        self.log = log
        self.position = position
        self.notify = notify
        self.on_deleted = on_deleted

    @property
    def behind(self) -> bool:
        """Whether something visible has not been read yet."""
        return self.position < self.log.visible

    def release(self) -> None:
        """Let go of whoever was told: they hold this, and with it the log and all its events in memory, which would
        stay until the garbage collector came."""
        self.notify = self.on_deleted = _nobody


class ThreadLog:
    """One thread's log in memory. All methods are synchronous and belong to the event loop's thread."""

    __slots__ = (
        "all_run_ids",
        "appended_size",
        "created_at",
        "deleted",
        "durable",
        "epoch",
        "floor",
        "folded",
        "followers",
        "head",
        "history_bytes",
        "journaled_from",
        "key",
        "message_count",
        "pins",
        "recent_runs",
        "recorded",
        "runs",
        "segmented",
        "size",
        "slices",
        "taken",
        "taken_size",
        "touched",
        "transcript",
        "updated_at",
        "visible",
        "words_awaited_by",
    )  # fmt: skip

    def __init__(self, row: ThreadRow, *, durable: bool) -> None:
        self.key: ThreadKey = row.key
        self.epoch: Epoch = row.epoch
        self.created_at = row.created_at
        self.updated_at = row.updated_at
        self.head = self.visible = self.taken = row.head
        self.segmented = self.recorded = row.head
        """The last event that was given to a segment; the last one whose segment is durable."""
        self.floor = row.floor
        self.message_count = row.message_count
        self.history_bytes = row.history_bytes
        self.durable = durable
        """Whether the thread itself was committed: an uncommitted one does not exist yet for anybody else."""
        self.deleted = False
        self.touched = False
        """Whether the writer has it on its list for the next commit."""
        self.slices: deque[_Slice] = deque()
        self.size = 0
        self.appended_size = 0
        """Bytes that are not visible yet: how far an agent is ahead of the disk."""
        self.taken_size = 0
        """Those of them that the commit under way holds."""
        self.followers: dict[Follower, None] = {}
        self.runs: dict[RunId, RunRow] = {}
        """The runs that have not ended, in the order in which they were accepted."""
        self.recent_runs: OrderedDict[RunId, RunRow] = OrderedDict()
        self.all_run_ids: set[RunId] | None = None if durable else set()
        """The ids of all runs that ended; None: not known, because the log was read from the store or had too many."""
        self.journaled_from = 0
        """The first commit whose journal row holds events of this log that are in no segment; 0: there is none."""
        self.transcript: Transcript | None = None
        self.folded = row.head
        """The transcript holds the events up to here."""
        self.pins = 0
        self.words_awaited_by: RunRecord | None = None
        """The record of the run whose first words are not durable yet; None: they are."""

    def row(self) -> ThreadRow:
        """The thread as it is to be stored."""
        return ThreadRow(
            self.key, self.epoch, self.created_at, self.updated_at, self.head, self.floor, self.message_count,
            self.history_bytes,
        )  # fmt: skip

    # --- appending ----------------------------------------------------------------------------------------------------

    def begin_run(self, run_id: RunId) -> None:
        """Open the slice of a run. The previous run must have ended: runs of a thread never interleave."""
        self.slices.append(_Slice(run_id, self.head + 1))

    def append(self, event: bytes) -> None:
        """Append one event of the run that was begun last. Raises `LogDeletedError`."""
        if self.deleted:
            raise LogDeletedError(self.key.thread_id)
        last = self.slices[-1]
        last.events.append(event)
        size = len(event)
        last.size += size
        last.unsegmented_size += size
        self.size += size
        self.appended_size += size
        self.head += 1

    # --- committing ---------------------------------------------------------------------------------------------------

    def take_journal(self) -> JournalEntry | None:
        """What was appended since the last take, to be stored in the journal; None when nothing was."""
        if self.taken == self.head or not self.slices:
            return None
        last = self.slices[-1]
        start = self.taken + 1
        self.taken = self.head
        return JournalEntry(self.epoch, last.run_id, start, last.events[start - last.first_seq :])

    def take_segments(self) -> list[Segment]:
        """Everything that is in no segment yet, to be stored in segments; the journal need not hold it any more."""
        segments = []
        for each in reversed(self.slices):
            if each.next_seq - 1 <= self.segmented:
                break
            first_seq = max(self.segmented + 1, each.first_seq)
            segments.append(Segment(self.epoch, each.run_id, first_seq, each.events[first_seq - each.first_seq :]))
            each.unsegmented_size = 0
        segments.reverse()
        self.segmented = self.taken = self.head
        return segments

    @property
    def unsegmented_size(self) -> int:
        """Bytes that are in memory and at most in the journal."""
        return self.slices[-1].unsegmented_size if self.slices else 0

    def show(self, head: int, segmented: int) -> None:
        """Make the events up to `head` visible: they are durable, those up to `segmented` in segments."""
        if head > self.visible:  # max() would double the cost of showing an event # noqa: PLR1730
            self.visible = head
        if segmented > self.recorded:  # noqa: PLR1730
            self.recorded = segmented
        self.appended_size -= self.taken_size
        self.taken_size = 0

    def drop(self, keep: int) -> None:
        """Forget the oldest events in memory until at most `keep` bytes remain, where segments hold them durably.

        The transcript is brought up to date first, because it can only be folded from memory.
        """
        if self.size <= keep:
            return
        self.fold(self.visible)
        while self.size > keep:
            oldest = self.slices[0]
            durable = min(self.recorded, oldest.next_seq - 1) - oldest.first_seq + 1
            freed = count = 0
            while count < durable and self.size - freed > keep:
                freed += len(oldest.events[count])
                count += 1
            del oldest.events[:count]
            oldest.first_seq += count
            oldest.size -= freed
            self.size -= freed
            if oldest.events or len(self.slices) == 1:
                break
            self.slices.popleft()

    # --- reading ------------------------------------------------------------------------------------------------------

    def missing(self, epoch: str | None, seq: int) -> bool:
        """Whether a cursor after `seq` has a gap: the epoch differs, seq is above the head, or the events are gone."""
        if epoch is not None and epoch != self.epoch:
            return True
        return seq > self.visible or self.removed(seq)

    def removed(self, after: int) -> bool:
        """Whether the event after `after` was removed by retention and is not in memory either."""
        return after + 1 < self.floor and after + 1 < self.tail

    @property
    def tail(self) -> int:
        """The first seq that is in memory; head + 1 when nothing is."""
        for each in self.slices:
            if each.events:
                return each.first_seq
        return self.head + 1

    def read(self, after: int, max_bytes: int) -> Batch | None:
        """The next visible events after `after`: some of one run, at least one, then up to `max_bytes`.

        None when they are not in memory: the caller reads the segments. The caller checks that there are any
        (`after < visible`) and that they are not `removed`.
        """
        wanted = after + 1
        for each in reversed(self.slices):
            if each.first_seq <= wanted:
                if wanted >= each.next_seq:
                    return None
                start = wanted - each.first_seq
                stop = min(len(each.events), self.visible - each.first_seq + 1, start + READ_EVENTS)
                return Batch(wanted, each.run_id, clip(each.events[start:stop], max_bytes))
        return None

    # --- history ------------------------------------------------------------------------------------------------------

    def fold(self, seq: int) -> None:
        """Bring the transcript, where there is one, up to `seq`."""
        if self.transcript is None or seq <= self.folded:
            return
        unfolded = []
        for each in reversed(self.slices):
            if each.next_seq <= self.folded + 1:
                break
            unfolded.append(each)
        for each in reversed(unfolded):
            start = max(self.folded + 1 - each.first_seq, 0)
            stop = max(seq - each.first_seq + 1, 0)
            for event in decode_coalesced(each.events[start:stop]):
                self.transcript.apply(event)
        self.folded = seq

    def fold_last(self, event: Event) -> None:
        """Bring the transcript up to the head, whose event this is: it need not be decoded again."""
        if self.transcript is None:
            return
        self.fold(self.head - 1)
        self.transcript.apply(event)
        self.folded = self.head

    def restore(self, entries: Sequence[JournalEntry], segmented: int) -> None:
        """Take back the events of runs that a lost process left unfinished; the first `segmented` entries lie in
        segments already. The transcript ends before them."""
        # The thread's row may have been stored in the middle of a run: its head says nothing about segments.
        self.segmented = self.recorded = entries[0].first_seq - 1
        for index, entry in enumerate(entries):
            if not self.slices or self.slices[-1].run_id != entry.run_id:
                self.slices.append(_Slice(entry.run_id, entry.first_seq))
            last = self.slices[-1]
            size = sum(map(len, entry.events))
            last.events += entry.events
            last.size += size
            self.size += size
            if index < segmented:
                self.segmented = self.recorded = last.next_seq - 1
            else:
                last.unsegmented_size += size
        self.head = self.visible = self.taken = self.slices[-1].next_seq - 1
        self.folded = entries[0].first_seq - 1
        self.fold(self.head)

    # --- runs ---------------------------------------------------------------------------------------------------------

    def run(self, run_id: RunId) -> RunRow | None:
        """A run that is active or was recently; None says nothing about older ones."""
        return self.runs.get(run_id) or self.recent_runs.get(run_id)

    def may_have_had(self, run_id: RunId) -> bool:
        """Whether the store may have a run of this id that `run` does not know: a look-up is needed to tell."""
        return self.all_run_ids is None or run_id in self.all_run_ids

    def end_run(self, run: RunRow) -> None:
        """Move a run that has ended from the active to the recent ones."""
        if run.status not in ENDED:
            raise ValueError(f"run {run.run_id} is {run.status}")
        del self.runs[run.run_id]
        self.recent_runs[run.run_id] = run
        while len(self.recent_runs) > RECENT_RUNS:
            self.recent_runs.popitem(last=False)
        if self.all_run_ids is not None:
            self.all_run_ids.add(RunId(run.run_id))
            if len(self.all_run_ids) > KNOWN_RUNS:
                self.all_run_ids = None

    @property
    def weight(self) -> int:
        """About how many bytes it takes in memory. Does not change while it is quiet."""
        weight = LOG_BYTES + self.size + EVENT_BYTES * (self.head - self.tail + 1)
        weight += RUN_BYTES * len(self.recent_runs) + RUN_ID_BYTES * len(self.all_run_ids or ())
        if self.transcript is not None:
            weight += self.history_bytes + MESSAGE_BYTES * self.message_count
        return weight

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way in it: all that it holds can be read from the store again."""
        return not (self.runs or self.touched or self.head > self.visible)

    @property
    def idle(self) -> bool:
        """Whether nobody needs it in memory: it may be forgotten."""
        return not (self.pins or self.followers) and self.quiet

    def lighten(self) -> None:
        """Leave to the store what it has too, of a quiet log that is in use."""
        self.transcript = None
        self.drop(0)
        self.recent_runs.clear()
        self.all_run_ids = None


def _nobody() -> None:
    """Follows no longer."""


def clip(events: list[bytes], max_bytes: int) -> list[bytes]:
    """The first of `events`, at least one, that together have at most `max_bytes`."""
    if sum(map(len, events)) <= max_bytes:
        return events
    size = 0
    for count, event in enumerate(events):
        size += len(event)
        if size > max_bytes and count:
            return events[:count]
    return events
