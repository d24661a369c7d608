"""What the client raises beside `RequestError`, which is for whatever the server refuses."""

from __future__ import annotations

from goldenpath.wire.commands import Cursor
from goldenpath.wire.errors import CLOSE_CODES, GoldenpathError


class ConnectionLost(GoldenpathError):
    """The server cannot be reached, and the client has stopped trying.

    `code` is the WebSocket close code of the last connection, None where there was none. `definite` says that what was
    asked for certainly had no effect.
    """

    def __init__(self, why: str, *, code: int | None = None, definite: bool = False) -> None:
        super().__init__(why)
        self.code = code
        self.definite = definite

    def __str__(self) -> str:
        why = super().__str__()
        if self.code is None:
            return why
        row = CLOSE_CODES.get(self.code)
        return f"{why} (close code {self.code}{f', {row.name}' if row else ''})"


class Gap(GoldenpathError):
    """Events are missing that the server no longer holds, or failed to send.

    `after` is the last position that was read (None: nothing yet), `at` is where reading goes on: with a
    MESSAGES_SNAPSHOT of everything up to `at` if `snapshot`, else with the event at `at`.
    """

    def __init__(self, after: Cursor | None, at: Cursor, *, snapshot: bool) -> None:
        super().__init__()
        self.after = after
        self.at = at
        self.snapshot = snapshot

    def __str__(self) -> str:
        last = "nothing" if self.after is None else f"event {self.after.seq} of log {self.after.epoch}"
        return f"events are missing: read {last}, goes on with event {self.at.seq} of log {self.at.epoch}"


class ThreadDetached(GoldenpathError):
    """The server ended the subscription to a thread. `reason` is its word for why, e.g. `deleted`."""

    def __init__(self, thread_id: str, reason: str) -> None:
        super().__init__(thread_id, reason)
        self.thread_id = thread_id
        self.reason = reason

    def __str__(self) -> str:
        return f"thread {self.thread_id}: {self.reason}"


class ClientClosed(GoldenpathError):
    """The client was closed, by its own program."""

    def __str__(self) -> str:
        return "the client is closed"


class ProtocolViolation(GoldenpathError):
    """The server sent what no server of this protocol sends."""
