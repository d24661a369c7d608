"""Passwords: argon2id in a few threads of their own, so that a storm of logins never stalls the event loop.

A hash takes about 25 ms of one core and 19 MiB by design. Hence a small pool whose threads run at low priority, a
bound on how many may wait for it, and the same work for an account that does not exist as for one that does.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from goldenpath.clock import Clock
from goldenpath.wire.errors import RequestError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

T = TypeVar("T")

MIN_BYTES: Final = 8
MAX_BYTES: Final = 1024


class PasswordCost(msgspec.Struct, frozen=True):
    """What one argon2id hash costs: passes, memory in KiB, lanes. The default is OWASP's first choice."""

    passes: int = 2
    memory: int = 19_456
    lanes: int = 1


class PasswordStatistics(msgspec.Struct, frozen=True):
    """`pending` counts hashes that run or wait now, `refused` those turned away since the start; `seconds` is the
    smoothed time of one hash, 0 before the first."""

    pending: int
    refused: int
    seconds: float


def password_bytes(password: str) -> bytes | None:
    """The bytes of an acceptable password; None when it has fewer than 8 or more than 1,024, or is no valid text."""
    if len(password) > MAX_BYTES:
        return None
    try:
        encoded = password.encode()
    except UnicodeEncodeError:
        return None
    return encoded if MIN_BYTES <= len(encoded) <= MAX_BYTES else None


class Passwords:
    """Hashes and verifies passwords.

    `workers` hashes run at once; up to `max_waiting` more wait, and beyond that callers are refused. Belongs to one
    event loop; its methods may be called concurrently, and cancelling one frees its place.
    """

    def __init__(
        self, clock: Clock, *, workers: int = 2, max_waiting: int = 1000, cost: PasswordCost | None = None
    ) -> None:
        self._clock = clock
        self._cost = cost or PasswordCost()
        self._workers = max(1, workers)
        self._max_pending = self._workers + max_waiting
        self._executor = ThreadPoolExecutor(self._workers, "goldenpath-password", initializer=_yield_to_others)
        self._hasher: PasswordHasher | None = None
        self._pending = self._refused = 0
        self._seconds = 0.0
        self._closed = False
        # No password has this all-zero hash: verifying against it costs what any other costs, and fails.
        self._nobody = (
            f"$argon2id$v=19$m={self._cost.memory},t={self._cost.passes},p={self._cost.lanes}${'A' * 22}${'A' * 43}"
        )

    async def hash(self, password: str) -> str:
        """The encoded argon2id hash, with its parameters and salt.

        Raises `RequestError`: `bad_request` for an unacceptable password, `overloaded` (with `retry_after`) when too
        many wait, `draining` after `close`.
        """
        secret = password_bytes(password)
        if secret is None:
            raise RequestError("bad_request", f"The password must have {MIN_BYTES} to {MAX_BYTES:,} bytes.")
        return await self._run(lambda: self._argon2().hash(secret))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one that was hashed into `stored`. None (no such account) and unacceptable
        passwords take the same time and are False. Raises `RequestError` `overloaded` or `draining` as `hash` does.
        """
        secret = password_bytes(password)
        if stored is None or secret is None:
            await self._run(lambda: self._matches(self._nobody, b""))
            return False
        return await self._run(lambda: self._matches(stored, secret))

    def outdated(self, stored: str) -> bool:
        """Whether `stored`, a hash that a password matched, was made with other parameters than those of today."""
        return self._argon2().check_needs_rehash(stored)

    def _argon2(self) -> PasswordHasher:
        if self._hasher is None:
            from argon2 import PasswordHasher  # noqa: PLC0415 - 30 ms that the start-up need not wait for

            self._hasher = PasswordHasher(self._cost.passes, self._cost.memory, self._cost.lanes)
        return self._hasher

    def _matches(self, stored: str, secret: bytes) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415

        try:
            return self._argon2().verify(stored, secret)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, call: Callable[[], T]) -> T:
        if self._closed:
            raise _draining()
        if self._pending >= self._max_pending:
            self._refused += 1
            wait = self._pending * self._seconds / self._workers
            raise RequestError(
                "overloaded", "Too many people are logging in; try again soon.", retry_after=max(1.0, math.ceil(wait))
            )
        self._pending += 1
        try:
            seconds, result = await asyncio.get_running_loop().run_in_executor(self._executor, self._timed, call)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise _draining() from None  # nobody cancelled us: `close` dropped it
        finally:
            self._pending -= 1
        self._seconds = seconds if not self._seconds else 0.9 * self._seconds + 0.1 * seconds
        return result

    def _timed(self, call: Callable[[], T]) -> tuple[float, T]:
        start = self._clock.monotonic()
        result = call()
        return self._clock.monotonic() - start, result

    async def prepare(self, call: Callable[[], object]) -> None:
        """Run `call` on a password thread: for imports that would stall the loop. `close` cancels it."""
        await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def statistics(self) -> PasswordStatistics:
        """A snapshot of the counts."""
        return PasswordStatistics(self._pending, self._refused, self._seconds)

    async def close(self) -> None:
        """Refuse what waits, wait for the hashes that run, end the threads. Harmless when repeated."""
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._executor.shutdown)


def _draining() -> RequestError:
    return RequestError("draining", "The server is shutting down.")


def _yield_to_others() -> None:
    # Linux gives threads priorities of their own. At 5, a busy event loop keeps 3/5 of its core against two of these,
    # and logins still go on. Elsewhere the call would slow down the whole process.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
