"""Operators: who they are, and the journal of what they change.

A change and its record are one synchronous step, so that nothing comes between them, and a request that is cancelled
leaves no change without its record; the store gets the record a moment later. Where the store cannot take it, the
change holds all the same: a switch must work on a server whose disk is full. The record then waits here, and stands in
the log of the process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog

from goldenpath.clock import Clock, timeout
from goldenpath.runtime.interfaces import ActionRow, ActionStore, StoreError
from goldenpath.wire.errors import RequestError

OPERATOR: Final = "operator"
"""The permission of those who may use `/v1/admin`."""
SERVER: Final = "server"
"""The actor of what the server does by itself."""
FILE: Final = "file"
"""The actor of what somebody wrote into a file that the server watches."""
MAX_PENDING: Final = 1_000
"""How many records may wait for the store; then the oldest are dropped, which the log tells."""
PATIENCE: Final = 5.0
"""How long whoever changed something waits for the disk, in seconds: one that hangs must not keep operators."""
MAX_WHY: Final = 500
"""The longest reason, in characters."""

_logger = structlog.get_logger("goldenpath.operators")


class ActionStatistics(msgspec.Struct, frozen=True):
    """The journal of operators since the start."""

    recorded: int
    """Changes that were recorded."""
    pending: int
    """Records that the store has not taken yet."""
    dropped: int
    """Records that stand in the log of the process only, because the store did not take them for too long."""


class Actions:
    """The journal of one server. Belongs to one event loop."""

    def __init__(self, store: ActionStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._pending: deque[ActionRow] = deque()
        self._recorded = self._dropped = 0
        self._writing: asyncio.Task[None] | None = None
        self._told: str | None = None
        """Why the store took nothing when it was last asked; None: it did."""

    def record(
        self,
        actor: str,
        area: str,
        action: str,
        subject: str,
        *,
        before: Any = None,
        after: Any = None,
        why: str = "",
    ) -> None:
        """Record a change that was made just now: `actor` (a user id, `FILE` or `SERVER`) did `action` to `subject` of
        `area`. `before` and `after` are anything msgspec writes as JSON; None: nothing. Needs a running loop; raises
        nothing."""
        row = ActionRow(
            at=self._clock.time(),
            actor=actor,
            area=area,
            action=action,
            subject=subject,
            before=None if before is None else msgspec.json.encode(before),
            after=None if after is None else msgspec.json.encode(after),
            why=why[:MAX_WHY],
        )
        self._recorded += 1
        self._pending.append(row)
        _logger.warning(
            "operator_action",
            actor=actor,
            change=f"{area}.{action}",
            subject=subject,
            before=_shown(row.before),
            after=_shown(row.after),
            why=row.why,
        )
        while len(self._pending) > MAX_PENDING:
            self._pending.popleft()
            self._dropped += 1
        self._write()

    def _write(self) -> asyncio.Task[None]:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write_pending())
        return self._writing

    async def _write_pending(self) -> None:
        while self._pending:
            rows = list(self._pending)
            try:
                await self._store.add_actions(rows)
            except StoreError as error:
                if str(error) != self._told:  # it is tried again and again
                    self._told = str(error)
                    _logger.error("operator_actions_wait", pending=len(self._pending), error=self._told)  # noqa: TRY400
                return
            self._told = None
            written = set(map(id, rows))
            while self._pending and id(self._pending[0]) in written:
                self._pending.popleft()

    def waits(self, area: str) -> bool:
        """Whether the store has not taken yet all that was recorded of `area`."""
        return any(row.area == area for row in self._pending)

    def retry(self) -> None:
        """Ask the store again where something waits for it. `FlagControl` does so whenever it looks at its file."""
        if self._pending:
            self._write()

    async def settled(self) -> None:
        """Wait until the store has what was recorded, or failed to take it, which the log tells; for `PATIENCE` seconds
        at most. Cancelling is safe."""
        if self._pending:
            with suppress(TimeoutError):
                async with timeout(self._clock, PATIENCE):
                    await asyncio.shield(self._write())

    async def latest(self, limit: int, before: int | None = None, area: str | None = None) -> list[ActionRow]:
        """See `ActionStore.actions`. Raises `StoreError`."""
        await self.settled()
        return await self._store.actions(limit, before, area)

    def statistics(self) -> ActionStatistics:
        return ActionStatistics(recorded=self._recorded, pending=len(self._pending), dropped=self._dropped)


def checked_why(why: str) -> str:
    """A reason as a client gave it, trimmed. Raises `RequestError` (`bad_request`) where it is missing or too long."""
    why = why.strip()
    if not 0 < len(why) <= MAX_WHY or not why.isprintable():
        raise RequestError("bad_request", f"why: give a reason of at most {MAX_WHY} printable characters, on one line")
    return why


def _shown(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
