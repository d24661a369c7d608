from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldenpath.client.errors import Gap
from goldenpath.client.resume import Reader, Reception
from goldenpath.wire.commands import Cursor

Seen = tuple[str, int] | Gap


@dataclass
class Log:
    """A thread's log, as the contract has it."""

    epoch: str = "e1"
    head: int = 0
    floor: int = 1

    def attach(self, after: Cursor | None) -> tuple[str, int, int, bool]:
        if after is None:
            return self.epoch, self.head, self.head, False
        lost = after.seq + 1 < self.floor
        if (after.epoch not in (None, self.epoch)) or after.seq > self.head or lost:
            return self.epoch, self.head, self.head, True
        return self.epoch, after.seq, self.head, False


@dataclass
class Consumer:
    reader: Reader
    seen: list[Seen] = field(default_factory=list)


@dataclass
class Wire:
    """A socket to a `Log`, with a reception and consumers as the client runs them."""

    log: Log
    reception: Reception = field(default_factory=Reception)
    consumers: list[Consumer] = field(default_factory=list)
    command: int = 0
    sent: int = 0
    snapshot_at: int | None = None

    def connect(self, after: Cursor | None) -> None:
        self.command += 1
        self.reception.ask(self.command, after)
        epoch, seq, head, gap = self.log.attach(after)
        assert self.reception.attached(self.command, epoch, seq, head, gap)
        if not gap:
            for consumer in self.consumers:
                consumer.reader.place(epoch, head if after is None else seq)
        self.sent = seq
        self.snapshot_at = seq if gap else None

    def deliver(self, count: int) -> None:
        if self.snapshot_at is not None and count:
            self.frame(self.snapshot_at, is_snapshot=True)
            self.snapshot_at = None
            count -= 1
        for _ in range(min(count, self.log.head - self.sent)):
            self.sent += 1
            self.frame(self.sent)

    def frame(self, seq: int, is_snapshot: bool = False) -> None:
        kind = self.reception.receive(seq, is_snapshot)
        epoch = self.reception.epoch
        for consumer in self.consumers if kind != "stale" else ():
            if kind == "snapshot":
                gap = consumer.reader.offer_snapshot(epoch, seq, self.reception.head)
                if gap is not None:
                    consumer.seen.append(gap)
                continue
            verdict = consumer.reader.offer(epoch, seq)
            if isinstance(verdict, Gap):
                consumer.seen.append(verdict)
            if verdict is not False:
                consumer.seen.append((epoch, seq))


def check_order(seen: list[Seen], start: Cursor | None) -> None:
    """Every event once, in order, or after an explicit gap that starts where reading was and ends where it goes on."""
    place = start
    pending: Gap | None = None
    for item in seen:
        if isinstance(item, Gap):
            assert item.after == place or (place is not None and place.epoch is None)
            if item.snapshot:
                place = item.at
            else:
                pending = item
            continue
        epoch, seq = item
        if pending is not None:
            assert pending.at == Cursor(seq=seq, epoch=epoch)
            pending = None
        elif place is not None:
            assert place.epoch in (None, epoch)
            assert seq == place.seq + 1
        place = Cursor(seq=seq, epoch=epoch)


@given(st.lists(st.tuples(st.sampled_from(["append", "deliver", "cut", "expire", "recreate"]), st.integers(0, 6))))
@settings(max_examples=500)
def test_through_any_cuts_a_reader_sees_every_event_once_in_order_or_a_gap(steps: list[tuple[str, int]]) -> None:
    log = Log()
    wire = Wire(log)
    start = Cursor(seq=0)
    consumer = Consumer(Reader(start))
    wire.consumers.append(consumer)
    wire.connect(start)
    gaps_expected = False
    for step, amount in steps:
        if step == "append":
            log.head += amount
        elif step == "deliver":
            wire.deliver(amount)
        elif step == "cut":
            wire.reception.lose()
            wire.connect(consumer.reader.cursor)
        elif step == "expire":
            log.floor = min(log.floor + amount, log.head + 1)
            gaps_expected = True
        else:
            log.epoch, log.head, log.floor = log.epoch + "x", 0, 1
            gaps_expected = True
            wire.reception.lose()
            wire.connect(consumer.reader.cursor)
    wire.reception.lose()
    wire.connect(consumer.reader.cursor)
    wire.deliver(10**6)
    check_order(consumer.seen, start)
    assert (wire.reception.repeated, wire.reception.skipped, wire.reception.unfounded) == (0, 0, 0)
    if not gaps_expected:
        assert consumer.seen == [("e1", seq) for seq in range(1, log.head + 1)]
    # Complete: the reader stands at the end of the log, whichever way it came there.
    assert (consumer.reader.epoch, consumer.reader.seq) == (log.epoch, log.head)


REPLIES = st.tuples(
    st.just("reply"), st.sampled_from(["e1", "e2"]), st.integers(0, 8), st.integers(0, 8), st.booleans()
)
FRAMES = st.tuples(st.just("frame"), st.integers(0, 10), st.booleans())
CUTS = st.tuples(st.just("cut"))


@given(st.lists(st.one_of(REPLIES, FRAMES, FRAMES, FRAMES, CUTS), max_size=40), st.integers(0, 3))
@settings(max_examples=1000)
def test_whatever_a_broken_server_sends_nothing_is_repeated_reordered_or_silently_skipped(
    steps: list[tuple[Any, ...]], first: int
) -> None:
    start = Cursor(seq=first, epoch="e1" if first else None)
    wire = Wire(Log())
    consumer = Consumer(Reader(start))
    wire.consumers.append(consumer)
    for step in steps:
        if step[0] == "reply":
            _, epoch, seq, head, gap = step
            wire.command += 1
            wire.reception.ask(wire.command, consumer.reader.cursor)
            wire.reception.attached(wire.command, epoch, seq, max(seq, head), gap)
            if not gap:
                consumer.reader.place(epoch, seq)
        elif step[0] == "frame":
            wire.frame(step[1], is_snapshot=step[2])
        else:
            wire.reception.lose()
    check_order(consumer.seen, start)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.integers(0, 30), st.data())
def test_readers_that_share_a_subscription_each_see_their_own_rest_once(
    places: list[int], late: int, data: st.DataObject
) -> None:
    log = Log(head=30)
    wire = Wire(log)
    wire.consumers = [Consumer(Reader(Cursor(seq=place, epoch="e1"))) for place in places]
    wire.connect(Cursor(seq=min(places), epoch="e1"))
    wire.deliver(data.draw(st.integers(0, 30)))
    # A slow one comes back, and the reception moves to its place.
    wire.consumers.append(Consumer(Reader(Cursor(seq=late, epoch="e1"))))
    wire.connect(Cursor(seq=min(late, *(consumer.reader.seq for consumer in wire.consumers)), epoch="e1"))
    wire.deliver(100)
    for place, consumer in zip([*places, late], wire.consumers, strict=True):
        assert consumer.seen == [("e1", seq) for seq in range(place + 1, 31)]


def test_a_reader_from_now_starts_where_the_reply_says() -> None:
    assert Reader().cursor is None
    reader = Reader()
    reader.place("e", 7)
    assert reader.cursor == Cursor(seq=7, epoch="e")
    assert reader.offer("e", 8) is True


def test_frames_before_the_reply_belong_to_what_was_asked_before() -> None:
    reception = Reception()
    reception.ask(1, None)
    assert reception.receive(5, is_snapshot=False) == "stale"
    reception.attached(1, "e", 4, 9, gap=False)
    reception.ask(2, Cursor(seq=1, epoch="e"))
    assert reception.receive(5, is_snapshot=False) == "stale"
    assert not reception.attached(1, "e", 4, 9, gap=False)
    assert reception.attached(2, "e", 1, 9, gap=False)
    assert reception.receive(2, is_snapshot=False) == "event"


def test_a_run_subscribes_only_where_nothing_is_subscribed() -> None:
    reception = Reception()
    assert reception.ran(1, "e", 3)
    assert (reception.state, reception.seq) == ("on", 3)
    assert reception.receive(4, is_snapshot=False) == "event"
    assert reception.ran(2, "e", 4)
    assert reception.receive(5, is_snapshot=False) == "event"


def test_a_detach_sent_after_a_run_undoes_its_subscription() -> None:
    reception = Reception()
    reception.ran(1, "e", 3)
    reception.leave(3)
    assert not reception.ran(2, "e", 3)
    assert reception.state == "off"
    assert reception.ran(4, "e", 3)


def test_a_cursor_beyond_the_end_of_the_log_is_a_gap() -> None:
    reader = Reader(Cursor(seq=100, epoch="e"))
    gap = reader.offer_snapshot("e", 5, head=5)
    assert gap is not None
    assert gap.at == Cursor(seq=5, epoch="e")
    assert reader.offer("e", 6) is True


def test_a_snapshot_meant_for_a_slower_reader_is_none_for_a_faster_one() -> None:
    reader = Reader(Cursor(seq=8, epoch="e"))
    assert reader.offer_snapshot("e", 5, head=9) is None
    assert [reader.offer("e", seq) for seq in (6, 7, 8, 9)] == [False, False, False, True]


def test_a_reply_with_another_place_than_asked_and_no_gap_is_counted() -> None:
    reception = Reception()
    reception.ask(1, Cursor(seq=4, epoch="e"))
    assert reception.attached(1, "e", 6, 9, gap=False)
    assert reception.unfounded == 1


@pytest.mark.parametrize("command", [1, 3])
def test_the_refusal_of_an_earlier_request_says_nothing(command: int) -> None:
    reception = Reception()
    reception.ask(1, None)
    reception.ask(2, None)
    assert not reception.refused(command)
    assert reception.refused(2)
    assert reception.state == "off"
