"""The state machine of one WebSocket connection. Sans-I/O: lines and the time go in, commands and effects come out.

It knows the protocol's rules about the connection itself: bad frames, the life of the token, heartbeats, readers that
read nothing. What a command does is not its business.

    OPEN ──close()──> CLOSING ──closed()──> CLOSED
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from goldenpath.wire import commands
from goldenpath.wire.commands import BadCommand, Command, ErrorReply, TokenExpiring
from goldenpath.wire.errors import GOING_AWAY, PROTOCOL_MISUSE, TOO_SLOW, UNAUTHORIZED, ErrorBody

EXPIRY_NOTICE: Final = 60.0
"""How long before its token expires a client is told, in seconds."""


class SendFrame(msgspec.Struct, frozen=True):
    """Send this frame."""

    frame: commands.Frame


class Close(msgspec.Struct, frozen=True):
    """Close the connection with this code; nothing more is taken in. `abort`: the peer does not read, do not wait."""

    code: int
    reason: str
    abort: bool = False


class Ping(msgspec.Struct, frozen=True):
    """Send a WebSocket ping."""


Effect = SendFrame | Close | Ping
State = Literal["open", "closing", "closed"]


class ConnectionState:
    """One connection's state. `now` is always monotonic seconds; the token's life is given as seconds from now."""

    __slots__ = (
        "_bad_frames", "_expires", "_heard", "_heartbeat", "_max_bad_frames", "_noticed", "_pinged", "_stuck_bytes",
        "_stuck_since", "_write_timeout", "state",
    )  # fmt: skip

    def __init__(
        self, now: float, *, token_life: float, heartbeat: float, write_timeout: float, max_bad_frames: int
    ) -> None:
        self.state: State = "open"
        self._heartbeat = heartbeat
        self._write_timeout = write_timeout
        self._max_bad_frames = max_bad_frames
        self._bad_frames = 0
        self._heard = now
        self._pinged: float | None = None
        """When the silent peer was pinged; None: it was not."""
        self._expires = now + token_life
        self._noticed = False
        self._stuck_bytes = 0
        self._stuck_since = now

    def receive(self, line: bytes, *, binary: bool) -> Command | list[Effect]:
        """Take one line: the command that it holds, or what must be answered at once; nothing where it is blank.

        Never raises. After a `Close` nothing more is taken in. `binary`: it is a whole message, of the wrong type.
        """
        if self.is_over:
            return []
        if binary:
            return self._bad(BadCommand("bad_frame", "a binary message", None))
        if not line or line.isspace():
            return []
        try:
            command = commands.decode(line)
        except BadCommand as error:
            return self._bad(error)
        self._bad_frames = 0
        return command

    @property
    def is_over(self) -> bool:
        """Whether nothing is taken in any more."""
        return self.state != "open"

    def _bad(self, error: BadCommand) -> list[Effect]:
        answers: list[Effect] = [SendFrame(ErrorReply(error.re, ErrorBody.of(error)))]
        if error.code == "bad_frame":
            self._bad_frames += 1
            if self._bad_frames >= self._max_bad_frames:
                answers.append(self.close(PROTOCOL_MISUSE, f"{self._bad_frames} bad frames in a row"))
        else:
            self._bad_frames = 0
        return answers

    def heard(self, now: float) -> None:
        """The peer sent something: a message, a ping or a pong."""
        self._heard = now
        self._pinged = None

    def wrote(self, now: float) -> None:
        """The socket took something: a reader that is slow, but not stuck, may keep it as full as it was."""
        self._stuck_since = now

    def renew(self, token_life: float, now: float) -> None:
        """A new token was accepted: it lives for `token_life` seconds."""
        self._expires = now + token_life
        self._noticed = False

    def tick(self, now: float, buffered: int) -> list[Effect]:
        """What the passing of time asks for. `buffered` is how many bytes the socket has not taken yet.

        Called about once a second; the answers are late by no more than the time between two calls.
        """
        if self.is_over:
            return []
        effects: list[Effect] = []
        left = self._expires - now
        if left <= 0:
            return [self.close(UNAUTHORIZED, "the token expired")]
        if left <= EXPIRY_NOTICE and not self._noticed:
            self._noticed = True
            effects.append(SendFrame(TokenExpiring(round(left, 3))))
        if buffered == 0 or buffered < self._stuck_bytes:
            self._stuck_since = now
        elif now - self._stuck_since >= self._write_timeout:
            return [self.close(TOO_SLOW, "nothing could be written")]
        self._stuck_bytes = buffered
        if self._pinged is None:
            if now - self._heard >= self._heartbeat:
                self._pinged = now
                effects.append(Ping())
        # However late the ping was, the peer has a heartbeat to answer it: where this process stood still, everybody
        # seems silent. A peer to which nothing can be written cannot have seen it: the write time-out is its judge.
        elif now - self._pinged >= self._heartbeat and buffered == 0:
            return [self.close(GOING_AWAY, "silent for two heartbeats", abort=True)]
        return effects

    def close(self, code: int, reason: str, *, abort: bool = False) -> Close:
        """The decision to close. The shell carries it out, then calls `closed`."""
        if self.state == "open":
            self.state = "closing"
        return Close(code, reason, abort)

    def closed(self) -> None:
        """The connection is gone."""
        self.state = "closed"
