"""Which events are new, which were seen, which are missing: resuming without losing or repeating one.

A thread's log numbers its events 1, 2, 3 ... within an epoch. A `Reader` is one consumer's place in it, and lets every
event pass once and in order, or says that there is a gap, whatever the server sends. A `Reception` is what one
socket is asked to bring of one thread, on which several readers may live: it knows where the wire stands, which frames
still belong to an earlier request, and whether the server keeps the protocol. Both are plain bookkeeping without I/O.
"""

from __future__ import annotations

from typing import Literal

from goldenpath.client.errors import Gap
from goldenpath.wire.commands import Cursor


class Reader:
    """The place of one consumer: everything up to (`epoch`, `seq`) has been passed to it.

    `epoch` is None before the first reply and while reading starts from seq 0 of a log not known yet; `is_placed` is
    False for a reader that reads from "now", until a reply says where that is.
    """

    __slots__ = ("epoch", "is_placed", "seq")

    def __init__(self, after: Cursor | None = None) -> None:
        self.is_placed = after is not None
        self.epoch = None if after is None else after.epoch
        self.seq = 0 if after is None else after.seq

    @property
    def cursor(self) -> Cursor | None:
        """The place, to ask the rest from; None for a reader that has none yet."""
        return Cursor(seq=self.seq, epoch=self.epoch) if self.is_placed else None

    def place(self, epoch: str, seq: int) -> None:
        """Say where "now" is, or which log "from the start" meant; a reader that has a place keeps it."""
        if not self.is_placed:
            self.is_placed, self.epoch, self.seq = True, epoch, seq
        elif self.epoch is None:
            self.epoch = epoch

    def offer(self, epoch: str, seq: int) -> bool | Gap:
        """Whether the event is new: True takes it, False has seen it, a Gap takes it although others are missing."""
        if epoch == self.epoch or self.epoch is None:
            if seq == self.seq + 1 or not self.is_placed:
                self.is_placed, self.epoch, self.seq = True, epoch, seq
                return True
            if seq <= self.seq:
                return False
        gap = Gap(self.cursor, Cursor(seq=seq, epoch=epoch), snapshot=False)
        self.epoch, self.seq = epoch, seq
        return gap

    def offer_snapshot(self, epoch: str, seq: int, head: int) -> Gap | None:
        """The gap that a snapshot of everything up to `seq` stands for; None for a reader that is past it anyway,
        because the snapshot is for another one. `head` is the end of the log: nobody can honestly be past that."""
        if epoch == self.epoch and seq <= self.seq <= head:
            return None
        gap = Gap(self.cursor, Cursor(seq=seq, epoch=epoch), snapshot=True)
        self.is_placed, self.epoch, self.seq = True, epoch, seq
        return gap


Frame = Literal["event", "snapshot", "stale", "repeated", "skipped"]


class Reception:
    """What one socket brings of one thread.

    Commands have rising ids. Frames that arrive between asking anew and the reply belong to what was asked before, and
    are stale. Counters of what a server must not do: `repeated` and `skipped` frames, `unfounded` replies (another
    place than was asked for, without calling it a gap).
    """

    __slots__ = (
        "_asked",
        "_asked_by",
        "_left_by",
        "_snapshot_due",
        "epoch",
        "head",
        "repeated",
        "seq",
        "skipped",
        "state",
        "unfounded",
    )

    def __init__(self) -> None:
        self.state: Literal["off", "asked", "on"] = "off"
        self.epoch = ""
        self.seq = 0
        self.head = 0
        self.repeated = self.skipped = self.unfounded = 0
        self._asked: Cursor | None = None
        self._asked_by = -1
        self._left_by = -1
        self._snapshot_due = False

    @property
    def asked(self) -> Cursor | None:
        """The place that was asked for last."""
        return self._asked

    def ask(self, command: int, after: Cursor | None) -> None:
        """`attach` was sent."""
        self.state = "asked"
        self._asked = after
        self._asked_by = command

    def leave(self, command: int) -> None:
        """`detach` was sent."""
        self.state = "off"
        self._left_by = command

    def lose(self) -> None:
        """The socket is gone, or the server ended the subscription."""
        self.state = "off"
        self._asked_by = self._left_by = -1

    def attached(self, command: int, epoch: str, seq: int, head: int, gap: bool) -> bool:
        """The reply to `attach`. False if it answers an earlier request than the last one, and says nothing."""
        if self.state != "asked" or command != self._asked_by:
            return False
        asked = self._asked
        if asked is not None and not gap and (asked.seq != seq or asked.epoch not in (None, epoch)):
            self.unfounded += 1
        self._start(epoch, seq, head, gap)
        return True

    def refused(self, command: int) -> bool:
        """The refusal of `attach`. False if it answers an earlier request than the last one."""
        if self.state != "asked" or command != self._asked_by:
            return False
        self.state = "off"
        return True

    def ran(self, command: int, epoch: str, seq: int, *, gap: bool = False) -> bool:
        """The reply to `run`, which subscribes where nothing was subscribed. False if a `detach` that was sent after
        the `run` has undone that."""
        if self.state == "off":
            if command < self._left_by:
                return False
            self._start(epoch, seq, seq, gap)
        return True

    def _start(self, epoch: str, seq: int, head: int, gap: bool) -> None:
        self.state = "on"
        self.epoch, self.seq, self.head = epoch, seq, head
        self._snapshot_due = gap

    def receive(self, seq: int, is_snapshot: bool) -> Frame:
        """What the frame with this number is. `is_snapshot`: it has no run id, as only the event after a gap has."""
        if self.state != "on":
            return "stale"
        if self._snapshot_due and is_snapshot and seq == self.seq:
            self._snapshot_due = False
            return "snapshot"
        if seq == self.seq + 1 and not self._snapshot_due:
            self.seq = seq
            return "event"
        if seq <= self.seq and not self._snapshot_due:
            self.repeated += 1
            return "repeated"
        # Also an event in the place of a snapshot that was promised.
        self._snapshot_due = False
        self.skipped += 1
        self.seq = seq
        return "skipped"
