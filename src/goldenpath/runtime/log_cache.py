"""The logs that are in memory: those in use, and a bounded number of idle ones whose users may come back."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from goldenpath.runtime.interfaces import LogStore, ThreadKey
from goldenpath.runtime.thread_log import ThreadLog
from goldenpath.wire.errors import RequestError

IDLE_LOGS: Final = 20_000
"""How many logs that nobody uses stay in memory at most."""


class LogCache:
    """One `ThreadLog` for each thread that anybody uses. `max_idle_bytes` is what the idle ones may weigh together.

    Belongs to one event loop. Cancelling a `load` is safe.
    """

    def __init__(self, store: LogStore, max_idle_bytes: int) -> None:
        self.logs: dict[ThreadKey, ThreadLog] = {}
        """All in memory."""
        self.idle_bytes = 0
        """What the idle ones weigh."""
        self._unrecovered: dict[ThreadKey, asyncio.Future[None]] = {}
        """Threads with runs that an earlier process left unfinished: nobody may open them before they are ended."""
        self._store = store
        self._max_idle_bytes = max_idle_bytes
        self._idle: OrderedDict[ThreadKey, ThreadLog] = OrderedDict()
        self._opening: dict[ThreadKey, asyncio.Future[None]] = {}
        self._deleting: dict[ThreadKey, ThreadLog] = {}
        """Threads that the store still has, because the commit that deletes them is not durable."""

    @property
    def idle_count(self) -> int:
        """How many logs nobody uses."""
        return len(self._idle)

    async def load(self, key: ThreadKey) -> ThreadLog | None:
        """The log of a thread, read from the store where it is not in memory; None: there is no such thread. The caller
        pins it before anything else can run. Raises `StoreError`, and `RequestError` (`internal`) where it could not be
        recovered.
        """
        while True:
            unrecovered = self._unrecovered.get(key)
            if unrecovered is not None:
                await asyncio.wait([unrecovered])
                if key in self._unrecovered:
                    raise RequestError("internal", "the thread could not be recovered")
            log = self.logs.get(key)
            if log is not None:
                return log
            if key in self._deleting:
                return None
            opening = self._opening.get(key)
            if opening is None:
                break
            await asyncio.wait([opening])
        opened = self._opening[key] = asyncio.get_running_loop().create_future()
        try:
            row = await self._store.thread(key)
            if row is None:
                return None
            # Not laid to rest here: it could be forgotten before the caller pins it.
            log = self.logs[key] = ThreadLog(row, durable=True)
            return log
        finally:
            del self._opening[key]
            opened.set_result(None)

    # --- recovery -----------------------------------------------------------------------------------------------------

    def close(self, keys: Iterable[ThreadKey]) -> None:
        """Let nobody open these threads until they are readmitted."""
        loop = asyncio.get_running_loop()
        self._unrecovered = {key: loop.create_future() for key in keys}

    @contextmanager
    def readmit(self, log: ThreadLog) -> Iterator[None]:
        """Take in the log of a closed thread. When the context is left everybody may open it; where it is left by an
        error nobody may, and whoever tries gets `internal`."""
        tried = self._unrecovered[log.key]
        self.logs[log.key] = log
        self.pin(log)
        try:
            yield
            del self._unrecovered[log.key]
            self.unpin(log)
        finally:
            if not tried.done():
                tried.set_result(None)

    @property
    def recovering(self) -> bool:
        """Whether a thread is closed still."""
        return bool(self._unrecovered)

    async def recovery(self) -> None:
        """Wait until the recovery of every thread that needs it was tried."""
        if self._unrecovered:
            await asyncio.wait(self._unrecovered.values())

    def stop(self) -> None:
        """Let go of those who wait for recovery: it is over, as far as it got."""
        for tried in self._unrecovered.values():
            if not tried.done():
                tried.set_result(None)

    # --- in use and idle ----------------------------------------------------------------------------------------------

    def pin(self, log: ThreadLog) -> None:
        """Keep `log` in memory until `unpin`."""
        log.pins += 1
        if self._idle.pop(log.key, None) is not None:
            self.idle_bytes -= log.weight

    def unpin(self, log: ThreadLog) -> None:
        """Undo one `pin`."""
        log.pins -= 1
        self.rest(log)

    def rest(self, log: ThreadLog) -> None:
        """Let go of a log that nobody needs: keep it a while, because its user may come back, within the bounds."""
        if not log.idle or log.deleted or self.logs.get(log.key) is not log:
            return
        if not log.durable:  # made for a run that was then refused
            del self.logs[log.key]
            return
        if log.key not in self._idle:
            self._idle[log.key] = log
            self.idle_bytes += log.weight
        while self._idle and (self.idle_bytes > self._max_idle_bytes or len(self._idle) > IDLE_LOGS):
            key, oldest = self._idle.popitem(last=False)
            self.idle_bytes -= oldest.weight
            del self.logs[key]

    def forget(self, log: ThreadLog) -> None:
        """Its thread is being deleted: nobody finds it here or in the store from now on."""
        if self.logs.get(log.key) is log:
            del self.logs[log.key]
        if self._idle.pop(log.key, None) is not None:
            self.idle_bytes -= log.weight
        self._deleting[log.key] = log

    def gone(self, log: ThreadLog) -> None:
        """The store has it no longer either."""
        if self._deleting.get(log.key) is log:
            del self._deleting[log.key]
