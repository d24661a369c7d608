"""The replaceable parts, as small Protocols, and the records that cross them.

`LogStore` keeps threads, runs, events and messages; `AccountStore` keeps users and sessions; `ActionStore` keeps what
operators changed. Each has an in-memory implementation beside the durable one, and one conformance suite runs on all of
them (tests/runtime/stores).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from goldenpath.wire.errors import GoldenpathError
from goldenpath.wire.ids import Epoch, RunId, SessionId, ThreadId, UserId

MAX_ACTIONS: Final = 10_000
"""How many changes by operators are kept, the newest."""

RunStatus = Literal["queued", "running", "finished", "failed", "cancelled", "interrupted"]


class StoreError(GoldenpathError):
    """The store could not read or write: disk full, file damaged, closed."""


class StoreRefusedError(StoreError):
    """The store is not asked at present: it failed too often. `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("the store failed, or was slow, too often and is not asked at present")
        self.retry_after = retry_after


class StoreTimedOutError(StoreError):
    """The store took too long; the message says which time-out fired."""


class ThreadKey(NamedTuple):
    """The name of a log. There is no look-up by thread alone: the owner is part of the key."""

    user_id: UserId
    thread_id: ThreadId


class ThreadRow(msgspec.Struct, gc=False):
    """A thread as the store keeps it. Times are Unix seconds."""

    key: ThreadKey
    epoch: Epoch
    """Names this one log of the thread: everything else that belongs to it is stored under the epoch."""
    created_at: float
    updated_at: float
    head: int = 0
    """The last event's seq; 0 while there is none. While a run is active the journal may hold more."""
    floor: int = 1
    """The first seq that is still held; above 1 once retention removed events."""
    message_count: int = 0
    history_bytes: int = 0


class RunRow(msgspec.Struct, gc=False):
    """A run as the store keeps it. `first_seq` and `last_seq` are 0 until it started or ended."""

    epoch: Epoch
    run_id: RunId
    agent: str
    status: RunStatus
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    error: str | None = None
    first_seq: int = 0
    last_seq: int = 0
    input: bytes | None = None
    """The run's input while it has not ended, so that recovery can show the messages of a run that was queued."""


class JournalEntry(msgspec.Struct, array_like=True, gc=False):
    """Consecutive events of one run that became durable together."""

    epoch: Epoch
    run_id: RunId
    first_seq: int
    events: list[bytes]


class Segment(msgspec.Struct, gc=False):
    """Consecutive events of one run in their final place."""

    epoch: Epoch
    run_id: RunId
    first_seq: int
    events: list[bytes]

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.events) - 1


class MessageRows(msgspec.Struct, gc=False):
    """The tail of a thread's history: replaces every message from `position` (0-based) on."""

    epoch: Epoch
    position: int
    messages: list[bytes]


class Commit(msgspec.Struct):
    """What becomes durable together: all of it or nothing.

    `threads` and `runs` are inserted or replaced by their keys. `journal` is stored as one row. `trim_journal` (a
    commit number) drops the journal rows below it, whose events all lie in segments.
    """

    number: int
    now: float
    """Unix seconds: when the segments were written, for retention by age."""
    threads: list[ThreadRow] = []
    runs: list[RunRow] = []
    journal: list[JournalEntry] = []
    segments: list[Segment] = []
    messages: list[MessageRows] = []
    deleted: list[Epoch] = []
    trim_journal: int = 0


class Unfinished(msgspec.Struct):
    """What recovery has to end: a thread, its runs without a terminal event, and the events only the journal holds."""

    thread: ThreadRow
    runs: list[RunRow]
    first_seq: int
    """The first event of these runs that lies in a segment; 0: none does."""
    journal: list[JournalEntry]


class LogStore(Protocol):
    """Durable threads. Every call is safe to run concurrently; cancelling a call leaves the store consistent, and a
    cancelled `commit` may or may not have happened. Raises `StoreError` when the store is broken or full."""

    async def commit(self, commit: Commit) -> None: ...

    async def recover(self) -> tuple[int, list[Unfinished]]:
        """A number that the journal's commits do not go beyond, and what is unfinished. Called once, before anything
        else; commits go on from that number."""
        ...

    async def thread(self, key: ThreadKey) -> ThreadRow | None: ...

    async def threads(self, user_id: UserId, limit: int, before: tuple[float, str] | None) -> list[ThreadRow]:
        """A page of a user's threads, newest `updated_at` first (ties by thread id, descending), after `before`."""
        ...

    async def run(self, epoch: Epoch, run_id: RunId) -> RunRow | None: ...

    async def runs(self, epoch: Epoch, limit: int) -> list[RunRow]:
        """The newest `limit` runs of a log, oldest first."""
        ...

    async def segments(self, epoch: Epoch, after: int, max_bytes: int) -> list[Segment]:
        """The segments that hold events after `after`, in order, at least one if there is any, then up to
        `max_bytes`."""
        ...

    async def messages(self, epoch: Epoch) -> list[bytes]: ...

    async def oversized(self, max_bytes: int) -> list[Epoch]:
        """The logs whose segments hold more than `max_bytes` together. Looks at every segment: to be asked rarely."""
        ...

    async def retain(self, before: float, epochs: Sequence[Epoch], max_bytes: int) -> list[tuple[Epoch, int]]:
        """Drop the segments written before `before` (Unix seconds) and, in those of `epochs` that hold more than
        `max_bytes`, the oldest ones; but nothing of a run that has not ended, nor what comes after it. Returns
        (epoch, new floor) of each log that lost events."""
        ...


class UserRow(msgspec.Struct):
    """A user. `provider` is "password", "simulated" or an external issuer; (provider, subject) is unique."""

    user_id: UserId
    provider: str
    subject: str
    email: str | None
    password_hash: str | None
    permissions: frozenset[str]
    tier: str
    created_at: float


class SessionRow(msgspec.Struct):
    """A login and all that was refreshed from it. `generation` counts refreshes; times are Unix seconds."""

    session_id: SessionId
    user_id: UserId
    permissions: frozenset[str]
    tier: str
    created_at: float
    generation: int = 0
    rotated_at: float = 0.0
    expires_at: float = 0.0
    revoked_at: float | None = None


class AccountStore(Protocol):
    """Durable users and sessions. Same rules as `LogStore`."""

    async def add_user(self, user: UserRow) -> bool:
        """False, and no change, when (provider, subject) is taken."""
        ...

    async def user(self, user_id: UserId) -> UserRow | None: ...

    async def user_by_subject(self, provider: str, subject: str) -> UserRow | None: ...

    async def set_password_hash(self, user_id: UserId, old: str, new: str) -> bool:
        """Replace the hash `old` by `new`; False, and no change, where the user has another one by now."""
        ...

    async def add_session(self, session: SessionRow) -> None: ...

    async def session(self, session_id: SessionId) -> SessionRow | None: ...

    async def rotate_session(
        self, session_id: SessionId, generation: int, rotated_at: float, expires_at: float
    ) -> bool:
        """Set generation + 1 if the session is at `generation` and not revoked; False, and no change, otherwise."""
        ...

    async def revoke_session(self, session_id: SessionId, revoked_at: float) -> None: ...

    async def revoked_since(self, since: float) -> Sequence[tuple[SessionId, float]]:
        """Sessions revoked at or after `since`, for filling memory at the start."""
        ...


class ActionRow(msgspec.Struct, frozen=True):
    """One change that an operator made, or the server for them. `before` and `after` are JSON; None: nothing."""

    at: float
    """Unix seconds."""
    actor: str
    """Whose it is: a user id; `file` for a file that was edited; `server` for what it does by itself."""
    area: str
    """What kind of thing was changed: `flag`, `rollback` ..."""
    action: str
    """What was done to it: `set`, `clear` ..."""
    subject: str
    """Which one."""
    before: bytes | None = None
    after: bytes | None = None
    why: str = ""
    number: int = 0
    """Given by the store, in the order in which they are added; 0 before."""


class ActionStore(Protocol):
    """The durable journal of operators. Same rules as `LogStore`. It keeps the newest rows, as many as it was made
    for."""

    async def add_actions(self, actions: Sequence[ActionRow]) -> None:
        """Add rows, in this order, all of them or none. Their numbers are ignored."""
        ...

    async def actions(self, limit: int, before: int | None = None, area: str | None = None) -> list[ActionRow]:
        """The newest `limit` rows with numbers below `before` (None: all), newest first; with `area` only those."""
        ...
