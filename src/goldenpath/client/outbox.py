"""Commands on their way: ids, replies, and sending again what a lost connection left unanswered."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import msgspec

from goldenpath.client.errors import ConnectionLost
from goldenpath.client.frames import ServerFrame
from goldenpath.client.socket import Socket
from goldenpath.client.statistics import ClientStatistics
from goldenpath.wire.commands import Command, Limits
from goldenpath.wire.errors import RequestError

OnReply = Callable[[int, ServerFrame], None]
"""Gets the command's id and its reply, before the next frame is looked at."""

_encode = msgspec.json.Encoder().encode


class PendingCommand:
    """A command whose reply is awaited, over any number of connections. `on_reply` is called for every reply that is
    no refusal, also when nobody awaits `future` any more."""

    __slots__ = ("command", "future", "on_reply", "was_sent")

    def __init__(self, command: Command, on_reply: OnReply | None) -> None:
        self.command = command
        self.on_reply = on_reply
        self.future: asyncio.Future[ServerFrame] = asyncio.get_running_loop().create_future()
        self.was_sent = False

    def replied(self, command_id: int, reply: ServerFrame) -> None:
        """Hand the reply on."""
        error = None if reply.error is None else reply.error.error()
        if error is None and self.on_reply is not None:
            self.on_reply(command_id, reply)
        if not self.future.done():
            if error is None:
                self.future.set_result(reply)
            else:
                self.future.set_exception(error)

    def fail(self, error: Exception) -> None:
        """There will be no reply."""
        if isinstance(error, ConnectionLost) and not self.was_sent:
            error = ConnectionLost(error.args[0], code=error.code, definite=True)
        if not self.future.done():
            self.future.set_exception(error)


class Outbox:
    """Sends commands on the present connection, if there is one, and finds who waits for a reply."""

    def __init__(self, counts: ClientStatistics) -> None:
        self._counts = counts
        self._ids = itertools.count(1)
        self._socket: Socket | None = None
        self._limits: Limits | None = None
        self._pending: dict[PendingCommand, None] = {}
        self._replies: dict[int, OnReply] = {}

    @property
    def max_attached(self) -> int | None:
        """How many threads may be attached at once; None while that is not known."""
        return None if self._limits is None else self._limits.max_attached_threads

    @property
    def is_connected(self) -> bool:
        """Whether anything can be sent now."""
        return self._socket is not None

    def connected(self, socket: Socket, limits: Limits | None) -> None:
        """There is a connection; `resend` follows when what must come first was sent."""
        self._socket = socket
        self._limits = limits

    def disconnected(self) -> None:
        """There is none, and no reply comes any more."""
        self._socket = None
        self._replies.clear()

    def resend(self) -> None:
        """Send what has no reply yet, in the order of old."""
        for pending in self._pending:
            self._transmit(pending)

    async def ask(self, command: Command, on_reply: OnReply | None = None) -> ServerFrame:
        """Send a command that may be repeated harmlessly, now or when there is a connection, and return its reply.

        Raises `RequestError` when it is refused, and what `fail` was told. Cancelling stops the wait, nothing else.
        """
        pending = PendingCommand(command, on_reply)
        self._pending[pending] = None
        self._transmit(pending)
        try:
            return await pending.future
        finally:
            self._pending.pop(pending, None)

    def _transmit(self, pending: PendingCommand) -> None:
        if self._socket is None or pending.future.done():
            return
        try:
            self.send(pending.command, pending.replied)
        except RequestError as error:
            pending.fail(error)
            return
        self._counts.repeated_commands += pending.was_sent
        pending.was_sent = True

    def send(self, command: Command, on_reply: OnReply | None = None) -> int | None:
        """Send a command on this connection only. Returns its id, None where there is no connection.

        Raises `RequestError` (`payload_too_large`) over the server's limit, where sending would end the connection.
        """
        if self._socket is None:
            return None
        command.id = command_id = next(self._ids)
        line = _encode(command)
        if self._limits is not None and len(line) > self._limits.max_message_bytes:
            raise RequestError("payload_too_large", f"{len(line)} bytes of {self._limits.max_message_bytes} allowed")
        self._counts.commands += 1
        if on_reply is not None:
            self._replies[command_id] = on_reply
        self._socket.send(line)
        return command_id

    def reply(self, command_id: int, frame: ServerFrame) -> None:
        """A reply came."""
        on_reply = self._replies.pop(command_id, None)
        if on_reply is not None:
            on_reply(command_id, frame)

    def fail(self, error: Exception) -> None:
        """Nothing will be answered any more."""
        for pending in tuple(self._pending):
            pending.fail(error)
