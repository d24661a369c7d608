"""The logs that are in memory, and how much of them: those in use, and idle ones whose users may come back.

A log is *quiet* while nothing is under way in it: the store has all of it, so memory holds it only to be fast. Quiet
logs may weigh so much together; beyond that the ones that have been quiet the longest go. An idle one, which nobody
uses, is forgotten; one that is in use is lightened, of its events and then of all: it is read on from the store.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from goldenpath.runtime.interfaces import LogStore, ThreadKey
from goldenpath.runtime.thread_log import ThreadLog
from goldenpath.wire.errors import RequestError

QUIET_LOGS: Final = 20_000
"""How many quiet logs stay in memory at their full weight at most."""


class LogCache:
    """One `ThreadLog` for each thread that anybody uses. `max_quiet_bytes` is what the quiet ones may weigh together.

    Belongs to one event loop. Cancelling a `load` is safe.
    """

    def __init__(self, store: LogStore, max_quiet_bytes: int) -> None:
        self.logs: dict[ThreadKey, ThreadLog] = {}
        """All in memory."""
        self.quiet_bytes = 0
        """What the quiet ones weigh, about."""
        self._unrecovered: dict[ThreadKey, asyncio.Future[None]] = {}
        """Threads with runs that an earlier process left unfinished: nobody may open them before they are ended."""
        self._store = store
        self._max_quiet_bytes = max_quiet_bytes
        self._quiet: OrderedDict[ThreadLog, int] = OrderedDict()
        """Those that rested last, in this order, with what each weighed then. One may be at work again."""
        self._opening: dict[ThreadKey, asyncio.Future[None]] = {}
        self._deleting: dict[ThreadKey, ThreadLog] = {}
        """Threads that the store still has, because the commit that deletes them is not durable."""

    @property
    def idle_count(self) -> int:
        """How many logs nobody uses. Looks at each."""
        return sum(log.idle for log in self.logs.values())

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

    # --- in use, quiet, idle ------------------------------------------------------------------------------------------

    def pin(self, log: ThreadLog) -> None:
        """Keep `log` in memory until `unpin`."""
        log.pins += 1

    def unpin(self, log: ThreadLog) -> None:
        """Undo one `pin`."""
        log.pins -= 1
        self.rest(log)

    def rest(self, log: ThreadLog) -> None:
        """Keep a log that has become quiet a while, because its user may come back, within the bounds."""
        if not log.quiet or log.deleted or self.logs.get(log.key) is not log:
            return
        if not log.durable:  # made for a run that was then refused
            if log.idle:
                del self.logs[log.key]
            return
        self._unlist(log)
        weight = self._quiet[log] = log.weight
        self.quiet_bytes += weight
        while self.quiet_bytes > self._max_quiet_bytes or len(self._quiet) > QUIET_LOGS:
            oldest, weight = self._quiet.popitem(last=False)
            self.quiet_bytes -= weight
            if oldest.idle:
                del self.logs[oldest.key]
            elif oldest.quiet:
                self._lighten(oldest)

    def _lighten(self, log: ThreadLog) -> None:
        """Its events go first: they are most of it, and seldom read again, while its next run needs the messages."""
        events = log.size
        log.drop(0)
        if log.size < events:
            weight = self._quiet[log] = log.weight
            self.quiet_bytes += weight
        else:
            log.lighten()

    def _unlist(self, log: ThreadLog) -> None:
        self.quiet_bytes -= self._quiet.pop(log, 0)

    def forget(self, log: ThreadLog) -> None:
        """Its thread is being deleted: nobody finds it here or in the store from now on."""
        if self.logs.get(log.key) is log:
            del self.logs[log.key]
        self._unlist(log)
        self._deleting[log.key] = log

    def gone(self, log: ThreadLog) -> None:
        """The store has it no longer either."""
        if self._deleting.get(log.key) is log:
            del self._deleting[log.key]
