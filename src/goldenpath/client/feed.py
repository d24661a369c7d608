"""What one socket brings of one thread, handed to all streams that read the thread. The I/O is its multiplexer's."""

from __future__ import annotations

from typing import Protocol

from goldenpath.client.errors import Gap, ThreadDetached
from goldenpath.client.frames import ServerFrame
from goldenpath.client.resume import Reception
from goldenpath.client.stream import Stream
from goldenpath.wire.commands import Cursor


class Sender(Protocol):
    """How a feed speaks to the server. Each call returns the command's id, or None while there is no connection."""

    def send_attach(self, thread_id: str, after: Cursor | None) -> int | None: ...

    def send_detach(self, thread_id: str) -> int | None: ...


class Feed:
    """One thread's reception and its streams.

    There is one subscription per socket and thread, so it stands where the slowest of the streams stands that does
    not lag; what the others have seen already, their readers leave out.
    """

    def __init__(self, sender: Sender, thread_id: str) -> None:
        self.thread_id = thread_id
        self.reception = Reception()
        self.gaps = 0
        self._sender = sender
        self._streams: list[Stream] = []

    @property
    def is_idle(self) -> bool:
        """Whether nobody reads."""
        return not self._streams

    @property
    def is_subscribed(self) -> bool:
        """Whether the server counts this thread among the attached ones, as far as is known."""
        return self.reception.state != "off"

    # --- streams come and go ------------------------------------------------------------------------------------

    def follow(self, stream: Stream) -> None:
        """Begin to read, from where `stream` stands."""
        self._streams.append(stream)
        reception = self.reception
        if reception.state == "on" and not stream.reader.is_placed:
            stream.place(reception.epoch, reception.seq)
        else:
            self._ask()

    def follow_run(self, stream: Stream, command: int, epoch: str, seq: int, *, gap: bool) -> None:
        """Begin to read after the reply to a `run`, which subscribed if nothing was subscribed yet. `gap`: the run is
        known and its events are gone; a snapshot at `seq` takes their place."""
        stream.place(epoch, 0 if gap else seq)
        self._streams.append(stream)
        reception = self.reception
        subscribed = reception.ran(command, epoch, seq, gap=gap)
        if reception.state == "on":
            covered = reception.epoch == epoch and reception.seq <= seq
        else:
            asked = reception.asked
            covered = subscribed and asked is not None and asked.epoch == epoch and asked.seq <= seq
        if not covered:
            self._ask()

    def leave(self, stream: Stream) -> None:
        """Stop reading. The subscription stays until something comes that nobody wants: the next run of the thread,
        which is likely, then needs no other."""
        if stream in self._streams:
            self._streams.remove(stream)

    def lag(self, stream: Stream) -> None:
        """Leave out a stream that is not read. Without any other, the server is told to send nothing."""
        if stream in self._streams and not stream.is_lagging:
            stream.is_lagging = True
            self.unsubscribe_idle()

    def catch_up(self, stream: Stream) -> None:
        """Take a lagging stream in again."""
        if stream in self._streams and stream.is_lagging:
            stream.is_lagging = False
            self._ask()

    def unsubscribe(self) -> None:
        """Ask for nothing more."""
        if self.is_subscribed:
            command = self._sender.send_detach(self.thread_id)
            if command is not None:
                self.reception.leave(command)

    def unsubscribe_idle(self) -> None:
        """Ask for nothing more if nobody would read it."""
        if all(stream.is_lagging for stream in self._streams):
            self.unsubscribe()

    # --- the connection comes and goes --------------------------------------------------------------------------

    def restore(self) -> None:
        """On a new connection: subscribe again, where anybody reads."""
        if any(not stream.is_lagging for stream in self._streams):
            self._ask()

    def lose(self) -> None:
        """The connection is gone."""
        self.reception.lose()

    def fail(self, error: Exception) -> None:
        """End all streams."""
        self.reception.lose()
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.fail(error)

    def _ask(self) -> None:
        after = self._slowest()
        command = self._sender.send_attach(self.thread_id, after)
        if command is not None:
            self.reception.ask(command, after)

    def _slowest(self) -> Cursor | None:
        """Where the subscription has to start so that no stream misses anything; None: from now."""
        cursors = [stream.reader.cursor for stream in self._streams if not stream.is_lagging]
        placed = [cursor for cursor in cursors if cursor is not None]
        if not placed:
            return None
        # One that stands in another log than the last known one has to learn of its gap first.
        known = self.reception.epoch
        astray = [cursor for cursor in placed if known and cursor.epoch not in (None, known)]
        return min(astray or placed, key=lambda cursor: cursor.seq)

    # --- frames -------------------------------------------------------------------------------------------------

    def attached(self, command: int, reply: ServerFrame) -> None:
        """The reply to `attach`."""
        if not self.reception.attached(command, reply.epoch, reply.seq, reply.head, reply.gap):
            return
        for stream in self._streams:
            if not reply.gap or not stream.reader.is_placed:
                stream.place(reply.epoch, reply.head)
            else:
                stream.open()

    def refused(self, command: int, error: Exception) -> None:
        """The refusal of `attach`."""
        if self.reception.refused(command):
            self.fail(error)

    def detached(self, reason: str) -> None:
        """The server ended the subscription."""
        self.fail(ThreadDetached(self.thread_id, reason))

    def receive(self, frame: ServerFrame) -> None:
        """An event's frame."""
        run_id, seq = frame.run_id, frame.seq
        kind = self.reception.receive(seq, run_id is None)
        if kind == "stale":
            return
        epoch = self.reception.epoch
        is_read = False
        for stream in self._streams:
            if stream.is_lagging:
                continue
            is_read = True
            verdict: bool | Gap | None
            if kind == "snapshot":
                verdict = stream.reader.offer_snapshot(epoch, seq, self.reception.head)
            else:
                verdict = stream.reader.offer(epoch, seq)
            if not verdict:
                continue
            if isinstance(verdict, Gap):
                self.gaps += 1
                stream.put_gap(verdict)
            if stream.wants(run_id):
                stream.put(epoch, seq, run_id, frame.event)
        if not is_read:
            self.unsubscribe()
