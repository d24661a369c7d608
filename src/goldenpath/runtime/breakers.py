"""The circuit breakers of one process: one for each dependency and tenant.

A tenant is a user. Each call on behalf of a user is judged twice: by the user's own breaker, which only this user's
calls open, and by the dependency's, which all users share and in which only the latest outcome of each user counts. So
a user whose calls always fail, be it by a bad key or by what they send, is refused alone, and a dependency that is down
is noticed by all as soon as a few users met it. What no user asks for, as the database, has the shared one alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec
import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.breaker import (
    BreakerPolicy,
    BreakerStatistics,
    Call,
    CircuitBreaker,
    CircuitOpenError,
    Forced,
    State,
)
from goldenpath.runtime.dependencies import DependencyUnavailableError, has_failed, kind_of
from goldenpath.runtime.run_records import CallSpan

MAX_BREAKERS: Final = 4096
"""So many are kept; of those that may be forgotten, the one that was used longest ago goes first."""
MAX_LOOKED_AT: Final = 64
"""So many are looked at for one that may be forgotten. Where none is, a user has none of their own for now."""

_logger = structlog.get_logger("goldenpath.breakers")


class BreakerKey(NamedTuple):
    """Whose breaker it is. `tenant` None: the one that all share."""

    dependency: str
    tenant: str | None = None


class BreakerChange(msgspec.Struct, frozen=True):
    """A breaker changed its state. `forced` says what an operator decided, None: nothing."""

    dependency: str
    tenant: str | None
    before: State
    state: State
    forced: Forced | None


class DependencyView(msgspec.Struct, frozen=True):
    """One dependency as operators see it. Names no user."""

    dependency: str
    breaker: BreakerStatistics
    """The one that all share."""
    tenants: int
    """Users who have a breaker of their own."""
    tenants_refused: int
    """Those of them whose own refuses their calls now."""


class BreakersStatistics(msgspec.Struct, frozen=True):
    """All breakers, and what they did since the start."""

    breakers: int
    """Breakers that are kept."""
    open: int
    """Those of one user that refuse every call now."""
    shared_open: int
    """Dependencies that nobody may ask: the breaker that all share refuses every call now."""
    forced: int
    """Those that an operator has forced."""
    calls: int
    """Calls that were let through."""
    failures: int
    """Those of them that failed."""
    refused: int
    """Calls that were refused."""
    opened: int
    """How often one opened."""
    untracked: int
    """Calls of users for whose own breaker there was no room."""


class _Kept:
    __slots__ = ("breaker", "told")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self.breaker = breaker
        self.told: tuple[State, Forced | None] = (breaker.state, breaker.forced)


class DependencyCall:
    """One call of a dependency: `with` it. Entering raises `DependencyUnavailableError`, without waiting, where the
    circuit is open; leaving tells how the call ended. Leaving by a cancel tells nothing."""

    __slots__ = ("_breakers", "_calls", "_dependency", "_span", "_tenant", "_what")

    def __init__(
        self, breakers: Breakers, dependency: str, tenant: str | None, what: str, span: CallSpan | None
    ) -> None:
        self._breakers = breakers
        self._dependency = dependency
        self._tenant = tenant
        self._what = what
        self._span = span
        self._calls: list[tuple[BreakerKey, _Kept, Call]] = []

    def __enter__(self) -> Self:
        try:
            self._calls = self._breakers._begin(self._dependency, self._tenant)  # noqa: SLF001 - its other half
        except CircuitOpenError as error:
            refused = DependencyUnavailableError(self._dependency, self._what, error.retry_after)
            if self._span is not None:
                self._span.ends(refused)
            raise refused from None
        if self._span is not None:
            self._span.begins()
        return self

    def answered(self) -> None:
        """It has begun to answer: for a stream, whose length says nothing. What fails from now on is a failure still.
        Harmless when repeated."""
        self._breakers._settle(self._calls, failed=False)  # noqa: SLF001

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._span is not None:
            self._span.ends(error)
        calls, self._calls = self._calls, []
        failed = has_failed(error)
        if failed is None:
            self._breakers._drop(calls)  # noqa: SLF001
        else:
            self._breakers._settle(calls, failed=failed)  # noqa: SLF001


class Breakers:
    """Belongs to one event loop; nothing in it waits. `policies` are by kind; other kinds have the default."""

    def __init__(
        self,
        clock: Clock,
        random: Callable[[], float],
        policies: Mapping[str, BreakerPolicy],
        limit: int = MAX_BREAKERS,
    ) -> None:
        self._clock = clock
        self._random = random
        self._policies = policies
        self._limit = limit
        self._kept: OrderedDict[BreakerKey, _Kept] = OrderedDict()
        """The one that was used longest ago first."""
        self._listeners: list[Callable[[BreakerChange], None]] = []
        self._on = True
        self._called = self._failures = self._refused = self._opened = self._untracked = 0

    def listen(self, listener: Callable[[BreakerChange], None]) -> None:
        """Have `listener` called, on the loop, with each change of a breaker's state."""
        self._listeners.append(listener)

    def switch(self, on: bool) -> None:
        """Off: every call is let through, and none is judged; what was found before holds again from the next on."""
        self._on = on

    # --- calls --------------------------------------------------------------------------------------------------------

    def call(
        self,
        dependency: str,
        tenant: str | None = None,
        *,
        what: str = "something it needs",
        span: CallSpan | None = None,
    ) -> DependencyCall:
        """A call of `dependency` for `tenant`, None for nobody in particular. Who is refused reads `what`, which must
        not name what is internal. `span` traces it."""
        return DependencyCall(self, dependency, tenant, what, span)

    def saw(self, dependency: str, began: float, *, failed: bool) -> None:
        """How a call of `dependency` ended, from `began` on the clock's monotonic time line to now, of somebody who is
        never refused. Where it went well, the circuit closes."""
        now = self._clock.monotonic()
        key = BreakerKey(dependency)
        kept = self._get(key, now) if self._on else None
        if kept is not None:
            kept.breaker.saw(began, now, failed=failed)
            self._note(key, kept)
        self._called += 1
        self._failures += failed

    def now(self) -> float:
        """The time on the line of `saw`."""
        return self._clock.monotonic()

    def _begin(self, dependency: str, tenant: str | None) -> list[tuple[BreakerKey, _Kept, Call]]:
        calls: list[tuple[BreakerKey, _Kept, Call]] = []
        if not self._on:
            self._called += 1
            return calls
        now = self._clock.monotonic()
        for key in (BreakerKey(dependency), BreakerKey(dependency, tenant))[: 1 if tenant is None else 2]:
            kept = self._get(key, now)
            if kept is None:
                self._untracked += 1
                continue
            try:
                call = kept.breaker.begin(now, tenant if key.tenant is None else None)
            except CircuitOpenError:
                self._refused += 1
                self._drop(calls)
                raise
            finally:
                self._note(key, kept)
            calls.append((key, kept, call))
        self._called += 1
        return calls

    def _settle(self, calls: Iterable[tuple[BreakerKey, _Kept, Call]], *, failed: bool) -> None:
        now = self._clock.monotonic()
        self._failures += failed
        for key, kept, call in calls:
            if failed:
                kept.breaker.failed(call, now)
            else:
                kept.breaker.answered(call, now)
            self._note(key, kept)

    def _drop(self, calls: Iterable[tuple[BreakerKey, _Kept, Call]]) -> None:
        now = self._clock.monotonic()
        for key, kept, call in calls:
            kept.breaker.dropped(call, now)
            self._note(key, kept)

    # --- the map ------------------------------------------------------------------------------------------------------

    def _get(self, key: BreakerKey, now: float) -> _Kept | None:
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= self._limit and not self._evict(now):
                return None
            policy = self._policies.get(kind_of(key.dependency), BreakerPolicy())
            kept = self._kept[key] = _Kept(CircuitBreaker(policy, self._random))
        else:
            self._kept.move_to_end(key)
        return kept

    def _evict(self, now: float) -> bool:
        """Forget one breaker that may be forgotten. Whether there was one."""
        for _ in range(MAX_LOOKED_AT):
            key, kept = next(iter(self._kept.items()))
            if kept.breaker.idle(now):
                del self._kept[key]
                return True
            self._kept.move_to_end(key)
        return False

    def _note(self, key: BreakerKey, kept: _Kept) -> None:
        """Tell of a change."""
        breaker = kept.breaker
        state = (breaker.state, breaker.forced)
        if state == kept.told:
            return
        before, kept.told = kept.told, state
        change = BreakerChange(key.dependency, key.tenant, before[0], *state)
        if change.state == "open":
            self._opened += 1
        level = "warning" if change.state == "open" or change.forced == "open" else "info"
        getattr(_logger, level)(
            "breaker_changed", dependency=key.dependency, tenant=key.tenant, state=change.state, before=change.before,
            forced=change.forced,
        )  # fmt: skip
        for listener in self._listeners:
            try:
                listener(change)
            except Exception:
                _logger.exception("breaker_listener_failed")

    # --- operators ----------------------------------------------------------------------------------------------------

    def force(self, dependency: str, forced: Forced | None, tenant: str | None = None) -> BreakerStatistics:
        """Have a breaker refuse every call (`open`), let every call through (`closed`), or decide again, from nothing
        (None). `tenant` None: the one that all share. Raises LookupError for one that is not kept: `dependency` has
        not been asked since the start, or not lately."""
        key = BreakerKey(dependency, tenant)
        kept = self._kept[key]
        now = self._clock.monotonic()
        kept.breaker.force(forced, now)
        self._note(key, kept)
        return kept.breaker.statistics(now)

    def forced(self, dependency: str, tenant: str | None = None) -> Forced | None:
        """What an operator decided of a breaker; None: nothing. Raises LookupError as `force`."""
        return self._kept[BreakerKey(dependency, tenant)].breaker.forced

    def is_open(self, dependency: str) -> bool:
        """Whether the breaker of `dependency` that all share refuses every call now; not where one may probe it."""
        kept = self._kept.get(BreakerKey(dependency))
        return self._on and kept is not None and kept.breaker.refuses(self._clock.monotonic())

    def snapshot(self) -> list[DependencyView]:
        """Every dependency that was asked lately, by name."""
        now = self._clock.monotonic()
        tenants: dict[str, list[int]] = {}
        shared: dict[str, BreakerStatistics] = {}
        for key, kept in self._kept.items():
            if key.tenant is None:
                kept.breaker.observe(now)
                self._note(key, kept)
                shared[key.dependency] = kept.breaker.statistics(now)
            else:
                counted = tenants.setdefault(key.dependency, [0, 0])
                counted[0] += 1
                counted[1] += kept.breaker.refuses(now)
        return [
            DependencyView(dependency, shared[dependency], *tenants.get(dependency, (0, 0)))
            for dependency in sorted(shared)
        ]

    def refused(self) -> list[str]:
        """The dependencies that nobody may ask now, by name; none while breakers are switched off."""
        return sorted(key.dependency for key in self._refusing() if key.tenant is None)

    def statistics(self) -> BreakersStatistics:
        refusing = [key.tenant is None for key in self._refusing()]
        return BreakersStatistics(
            breakers=len(self._kept),
            open=refusing.count(False),
            shared_open=refusing.count(True),
            forced=sum(kept.breaker.forced is not None for kept in self._kept.values()),
            calls=self._called,
            failures=self._failures,
            refused=self._refused,
            opened=self._opened,
            untracked=self._untracked,
        )

    def _refusing(self) -> list[BreakerKey]:
        """Whose breakers refuse every call now. One that may be probed does not, though nobody may ever come to."""
        if not self._on:
            return []
        now = self._clock.monotonic()
        return [key for key, kept in self._kept.items() if kept.breaker.refuses(now)]
