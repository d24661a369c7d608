"""Who may run now, who waits, who is refused. Sans-I/O.

Three bounds hold at once: a thread has one running run, a user has `max_running`, the process has `max_engines`. A run
over a bound waits: in its user's own queue, which is bounded, in the order in which it came. When places get free they
go round the waiting users, one run a turn (round robin), so a user with a thousand waiting runs delays each other user
by one run at most. Within a user the first waiting run whose thread is free goes first; a thread's runs keep their
order.

The decision is made synchronously and returned; the caller acts on it. Modelled after the way httpcore's connection
pool assigns requests (`_assign_requests_to_connections`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, Literal, TypeVar

import msgspec

from goldenpath.wire.errors import GoldenpathError

R = TypeVar("R")

Refusal = Literal["quota_exceeded", "queue_full"]


class RefusedError(GoldenpathError):
    """No place and no room to wait. `code` says whose bound it is: the user's own or the process's."""

    def __init__(self, code: Refusal, message: str) -> None:
        super().__init__(message)
        self.code: Refusal = code


class Ticket(Generic[R]):
    """One run that asks for a place. `thread` identifies its log; `run` is the caller's own record."""

    __slots__ = ("max_queued", "max_running", "run", "running", "thread", "user")

    def __init__(self, user: Hashable, thread: Hashable, run: R, *, max_running: int, max_queued: int) -> None:
        self.user = user
        self.thread = thread
        self.run = run
        self.max_running = max_running
        self.max_queued = max_queued
        self.running = False


class AdmissionStatistics(msgspec.Struct, frozen=True):
    """Who has a place and who waits now, and what was decided since the start."""

    running: int
    """Places taken."""
    waiting: int
    """Runs that wait for a place."""
    waiting_users: int
    """Users with a run that waits for a place."""
    admitted: int
    """Runs that got a place."""
    refused: int
    """Runs that were refused one."""
    refused_quota: int
    """Those of them over the places and the queue of their user."""
    refused_queue: int
    """Those because the queue of the whole process was full."""
    peak: int
    """The most places taken at once."""


class _User(Generic[R]):
    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[Ticket[R]] = deque()


class Admission(Generic[R]):
    """The places of one process. Not thread-safe: it belongs to the event loop's thread."""

    def __init__(self, *, max_running: int, max_waiting: int) -> None:
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._users: dict[Hashable, _User[R]] = {}
        self._turns: OrderedDict[Hashable, None] = OrderedDict()
        self._busy_threads: set[Hashable] = set()
        self._running = 0
        self._waiting = 0
        self._admitted = self._refused_quota = self._refused_queue = self._peak = 0

    def submit(self, ticket: Ticket[R], *, leaving: int = 0) -> bool:
        """Whether the run may start now; False means that it waits. Raises `RefusedError` and changes nothing.

        `leaving` of the user's waiting runs are released by the caller next: their places in the queue count as free.
        """
        user = self._users.get(ticket.user)
        if user is None:
            user = _User()
        # Of those that wait nobody can start, or it would have: only an earlier run of the same thread goes first.
        if self._may_start(ticket, user) and all(waiting.thread != ticket.thread for waiting in user.waiting):
            self._users[ticket.user] = user
            self._start(ticket, user)
            return True
        waiting = len(user.waiting) - leaving
        if waiting >= ticket.max_queued:
            self._refused_quota += 1
            raise RefusedError("quota_exceeded", f"{waiting} of your runs are waiting already")
        if self._waiting - leaving >= self._max_waiting:
            self._refused_queue += 1
            raise RefusedError("queue_full", "too many runs are waiting")
        self._users[ticket.user] = user
        user.waiting.append(ticket)
        self._waiting += 1
        self._turns.setdefault(ticket.user)
        return False

    def release(self, ticket: Ticket[R]) -> list[Ticket[R]]:
        """Give back what `ticket` holds, a place or a place in the queue. Returns the runs that may start now, already
        counted as running. Harmless when repeated."""
        user = self._users.get(ticket.user)
        if user is None:
            return []
        if ticket.running:
            ticket.running = False
            user.running -= 1
            self._running -= 1
            self._busy_threads.discard(ticket.thread)
        elif ticket in user.waiting:
            user.waiting.remove(ticket)
            self._waiting -= 1
        else:
            return []
        if not user.waiting:
            self._turns.pop(ticket.user, None)
            if not user.running:
                del self._users[ticket.user]
        return self._assign()

    def short(self) -> int:
        """How many users' next runs wait for nothing but a place of the process. Takes 0.1 us for each who waits."""
        if self._running < self._max_running:
            return 0
        waiting = (self._users[name] for name in self._turns)
        return sum(user.running < user.waiting[0].max_running for user in waiting)

    def _assign(self) -> list[Ticket[R]]:
        """Hand out free places, a turn to each waiting user, until nobody can take one."""
        started: list[Ticket[R]] = []
        stuck = 0  # users asked in a row that could take nothing
        while self._turns and self._running < self._max_running and stuck < len(self._turns):
            name, _ = self._turns.popitem(last=False)
            user = self._users[name]
            ticket = self._next(user)
            if ticket is not None:
                stuck = 0
                user.waiting.remove(ticket)
                self._waiting -= 1
                self._start(ticket, user)
                started.append(ticket)
            else:
                stuck += 1
            if user.waiting:
                self._turns[name] = None
        return started

    def _next(self, user: _User[R]) -> Ticket[R] | None:
        """The first waiting run of `user` that may start: an earlier one of the same thread goes before it, also where
        the user was allowed less when it came."""
        passed: set[Hashable] = set()
        for ticket in user.waiting:
            if ticket.thread not in passed and self._may_start(ticket, user):
                return ticket
            passed.add(ticket.thread)
        return None

    def _may_start(self, ticket: Ticket[R], user: _User[R]) -> bool:
        return (
            user.running < ticket.max_running
            and self._running < self._max_running
            and ticket.thread not in self._busy_threads
        )

    def _start(self, ticket: Ticket[R], user: _User[R]) -> None:
        ticket.running = True
        user.running += 1
        self._running += 1
        self._busy_threads.add(ticket.thread)
        self._admitted += 1
        self._peak = max(self._peak, self._running)

    def statistics(self) -> AdmissionStatistics:
        return AdmissionStatistics(
            running=self._running,
            waiting=self._waiting,
            waiting_users=len(self._turns),
            admitted=self._admitted,
            refused=self._refused_quota + self._refused_queue,
            refused_quota=self._refused_quota,
            refused_queue=self._refused_queue,
            peak=self._peak,
        )
