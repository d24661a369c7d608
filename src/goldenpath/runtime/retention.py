"""Retention: what is too old, or too much of one log, is removed from the store, again and again."""

from __future__ import annotations

import asyncio

import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.group_commit import GroupCommit
from goldenpath.runtime.interfaces import LogStore, StoreError
from goldenpath.runtime.log_cache import LogCache
from goldenpath.runtime.settings import Settings
from goldenpath.wire.ids import Epoch

_logger = structlog.get_logger("goldenpath.retention")


class Retention:
    """Enforces the limits of the settings on all logs of `store`; those in `cache` learn their new floors. Belongs to
    one event loop."""

    def __init__(
        self, store: LogStore, cache: LogCache, commits: GroupCommit, clock: Clock, settings: Settings
    ) -> None:
        self._store = store
        self._cache = cache
        self._commits = commits
        self._clock = clock
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._grown: set[Epoch] = set()
        """Logs that may be over the limit."""
        self._knows_oversized = False
        """Whether those logs are known here that are over the limit since before the start."""

    def start(self) -> None:
        """Enforce once in `retention_interval` from now on."""
        self._task = asyncio.create_task(self._loop(), name="goldenpath-retention")

    async def stop(self) -> None:
        """Enforce no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _loop(self) -> None:
        while True:
            await self._clock.sleep(self._settings.retention_interval)
            try:
                await self.enforce()
            except StoreError as error:
                _logger.error("retention_failed", error=str(error))  # noqa: TRY400

    async def enforce(self) -> None:
        """Enforce the limits now. Raises `StoreError`; the next time does what this one did not."""
        if not self._knows_oversized:
            # Nobody here saw them grow: an earlier process did, perhaps under another limit.
            self._grown.update(await self._store.oversized(self._settings.retention_bytes))
            self._knows_oversized = True
        self._grown |= self._commits.take_grown()
        before = self._clock.time() - self._settings.retention_age
        floors = dict(await self._store.retain(before, sorted(self._grown), self._settings.retention_bytes))
        self._grown.clear()
        if floors:
            for log in self._cache.logs.values():
                log.floor = max(log.floor, floors.get(log.epoch, 0))
