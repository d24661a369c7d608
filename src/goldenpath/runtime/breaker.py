"""A circuit breaker: whether a dependency may be asked now, from how it answered of late. Sans-I/O.

Closed, it lets every call through and remembers the latest outcomes. When too many of them failed, or were slow, it
opens: calls are refused at once, without waiting for what will not answer. After a delay it is half-open: exactly one
call, the probe, goes through; its outcome closes the breaker, or opens it again for longer. A call that is cancelled
tells nothing of the dependency: it counts neither way, and a cancelled probe leaves its place to the next call.

The pattern is Michael Nygard's ("Release It!", 2007, chapter 5.2). From resilience4j come the window of the latest
calls, the rate of slow calls beside that of failed ones, and the least number of calls to judge by; from sony/gobreaker
the generation, by which an outcome that comes after a change of state is known to be of the time before. Ours are: a
call counts as slow from the moment it is late, not when it ends, because one that hangs does not end; and a caller may
be given, of whom then only the latest outcome counts, so that nobody alone can open a breaker that many share.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Literal

import msgspec

from goldenpath.wire.errors import GoldenpathError

State = Literal["closed", "open", "half_open"]
Forced = Literal["open", "closed"]

JITTER: Final = 0.25
"""A delay is longer by up to this part of it: those who were refused together must not come back together."""
LEAST_WAIT: Final = 0.1
"""The shortest wait that is told to who is refused, in seconds."""


class CircuitOpenError(GoldenpathError):
    """The dependency is not asked now. `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the circuit is open; try again in {retry_after:.1f} s")
        self.retry_after = retry_after


class BreakerPolicy(msgspec.Struct, frozen=True):
    """When a breaker opens and for how long. Times are seconds, rates parts of 1."""

    failure_rate: float = 0.5
    """It opens where at least this part of the latest calls failed."""
    slow_rate: float = 0.8
    """It opens where at least this part of the latest calls were slow."""
    slow_after: float | None = None
    """A call that has not been answered for so long is slow; None: no call is."""
    minimum_calls: int = 5
    """Fewer calls than this are not judged."""
    window_calls: int = 50
    """So many calls, the latest, count: the bound of what is remembered."""
    window: float = 60.0
    """An outcome older than this counts no more."""
    recovery: float = 5.0
    """The first delay until a probe."""
    recovery_bound: float = 30.0
    """The longest delay: each that follows on another doubles, up to this."""


class BreakerStatistics(msgspec.Struct, frozen=True):
    """One breaker now, and what it did since it was made."""

    state: State
    forced: Forced | None
    """What an operator decided; None: it decides by itself."""
    calls: int
    """Calls in the window."""
    failures: int
    """Those of them that failed."""
    slow: int
    """Those of them that were slow."""
    under_way: int
    """Calls that have not been answered yet."""
    opened: int
    """How often it opened by itself."""
    refused: int
    """Calls that it refused."""
    retry_after: float | None
    """Seconds until the next probe; None where calls pass."""


class Call:
    """One call that a breaker let through."""

    __slots__ = ("began", "caller", "counted_at", "failed", "generation", "probe", "slow")

    def __init__(self, caller: Hashable | None, generation: int, began: float, *, probe: bool) -> None:
        self.caller = caller
        self.generation = generation
        self.began = began
        self.probe = probe
        self.failed = self.slow = False
        self.counted_at: float | None = None

    @property
    def key(self) -> Hashable:
        """Under what it counts."""
        return self if self.caller is None else self.caller


class CircuitBreaker:
    """The breaker of one dependency. `random` gives numbers from 0 to 1. Not thread-safe, and never waits."""

    def __init__(self, policy: BreakerPolicy, random: Callable[[], float]) -> None:
        self._policy = policy
        self._random = random
        self._state: State = "closed"
        self._forced: Forced | None = None
        self._generation = 0
        self._window: OrderedDict[Hashable, Call] = OrderedDict()
        """What counts, in the order in which it was counted."""
        self._under_way: dict[Call, None] = {}
        """Calls without an answer that are not late yet, in the order of their beginning."""
        self._probe: Call | None = None
        self._failures = self._slow = 0
        self._retry_at = 0.0
        self._closed_at: float | None = None
        self._in_a_row = 0
        """How often it opened without having stayed closed for long."""
        self._opened = self._refused = 0

    @property
    def state(self) -> State:
        """What it decided itself, as of the last call: open also where the next call would be the probe."""
        return self._state

    @property
    def forced(self) -> Forced | None:
        """What an operator decided instead; None: nothing."""
        return self._forced

    def refuses(self, now: float) -> bool:
        """Whether it would refuse every call at `now`."""
        if self._forced is not None:
            return self._forced == "open"
        if self._state == "half_open":
            return self._probe is not None
        return self._state == "open" and now < self._retry_at

    def idle(self, now: float) -> bool:
        """Whether it may be forgotten: it would let every call through, or it could, and nobody waits for an answer."""
        if self._forced is not None or self._under_way or self._probe is not None:
            return False
        return self._state == "closed" or now >= self._retry_at + self._policy.recovery_bound

    # --- a call -------------------------------------------------------------------------------------------------------

    def begin(self, now: float, caller: Hashable | None = None) -> Call:
        """Let a call of `caller` through, to be told of by `answered`, `failed` or `dropped`. Raises
        `CircuitOpenError`, which changes nothing."""
        self.observe(now)
        if self._forced == "open":
            raise self._refusal(self._policy.recovery)
        if self._state == "open":
            if now < self._retry_at:
                raise self._refusal(self._retry_at - now)
            self._become("half_open")
        elif self._state == "half_open" and self._probe is not None:
            patience = self._policy.slow_after
            left = self._policy.recovery if patience is None else self._probe.began + patience - now
            raise self._refusal(left)
        call = Call(caller, self._generation, now, probe=self._state == "half_open")
        if call.probe:
            self._probe = call
        self._under_way[call] = None
        return call

    def answered(self, call: Call, now: float) -> None:
        """The dependency answered. Harmless when repeated, and after a change of state."""
        self._under_way.pop(call, None)
        if call.generation != self._generation or call.counted_at is not None:
            return
        call.slow = self._is_late(call, now)
        self._count(call, now)

    def failed(self, call: Call, now: float) -> None:
        """The dependency failed, whether or not it had answered before. Harmless when repeated, and after a change of
        state."""
        self._under_way.pop(call, None)
        if call.generation != self._generation or call.failed:
            return
        if call.counted_at is None:
            call.slow = self._is_late(call, now)
        elif self._window.get(call.key) is call:
            self._forget(call)
        call.failed = True
        self._count(call, now)

    def dropped(self, call: Call, now: float) -> None:
        """The caller gave up: that says nothing of the dependency, unless the call was late by then. Harmless when
        repeated."""
        self.observe(now)
        self._under_way.pop(call, None)
        if self._probe is call:
            self._probe = None

    def saw(self, began: float, now: float, *, failed: bool) -> None:
        """A call of somebody who is never refused, from `began` to `now`: it counts as any other, and one that did not
        fail closes the circuit. One after another that goes well costs nothing."""
        call = Call(None, self._generation, began, probe=False)
        call.failed, call.slow = failed, self._is_late(call, now)
        if self._state != "closed":
            if not failed:
                self._become("closed")
                self._closed_at = now
        elif call.failed or call.slow or self._failures or self._slow:
            self._count(call, now)

    def observe(self, now: float) -> None:
        """Count as slow what should have been answered by now. `begin` does it too."""
        while self._under_way:
            call = next(iter(self._under_way))
            if not self._is_late(call, now):
                return
            del self._under_way[call]
            if call.generation == self._generation:
                call.slow = True
                self._count(call, now)

    # --- an operator --------------------------------------------------------------------------------------------------

    def force(self, forced: Forced | None, now: float) -> None:
        """Refuse every call (`open`), let every call through (`closed`), or decide again, from nothing (None)."""
        self._forced = forced
        self._in_a_row = 0
        self._become("closed")
        self._closed_at = now

    # --- deciding -----------------------------------------------------------------------------------------------------

    def _is_late(self, call: Call, now: float) -> bool:
        patience = self._policy.slow_after
        return patience is not None and now - call.began >= patience

    def _count(self, call: Call, now: float) -> None:
        call.counted_at = now
        earlier = self._window.get(call.key)
        if earlier is not None:
            self._forget(earlier)
        self._window[call.key] = call
        self._failures += call.failed
        self._slow += call.slow
        self._expire(now)
        if call.probe:
            self._probe = None
            if call.failed or call.slow:
                self._open(now)
            else:
                self._become("closed")
                self._closed_at = now
        elif self._state == "closed" and self._forced is None and self._is_bad():
            self._open(now)

    def _expire(self, now: float) -> None:
        while self._window:
            oldest = next(iter(self._window.values()))
            fresh = oldest.counted_at is not None and oldest.counted_at > now - self._policy.window
            if fresh and len(self._window) <= self._policy.window_calls:
                return
            self._forget(oldest)

    def _forget(self, call: Call) -> None:
        del self._window[call.key]
        self._failures -= call.failed
        self._slow -= call.slow

    def _is_bad(self) -> bool:
        calls = len(self._window)
        policy = self._policy
        return calls >= policy.minimum_calls and (
            self._failures >= policy.failure_rate * calls or self._slow >= policy.slow_rate * calls
        )

    def _open(self, now: float) -> None:
        policy = self._policy
        if self._closed_at is not None and now - self._closed_at >= policy.window:
            self._in_a_row = 0
        longest = policy.recovery_bound / (1 + JITTER)
        delay = min(longest, policy.recovery * 2.0 ** min(self._in_a_row, 32))
        self._in_a_row += 1
        self._opened += 1
        self._become("open")
        self._closed_at = None
        self._retry_at = now + max(policy.recovery, delay * (1 + JITTER * self._random()))

    def _become(self, state: State) -> None:
        self._state = state
        self._generation += 1
        self._probe = None
        self._window.clear()
        self._failures = self._slow = 0

    def _refusal(self, seconds: float) -> CircuitOpenError:
        self._refused += 1
        return CircuitOpenError(max(LEAST_WAIT, seconds))

    def statistics(self, now: float) -> BreakerStatistics:
        self._expire(now)
        waits = self._forced != "closed" and self._state == "open" and now < self._retry_at
        return BreakerStatistics(
            state=self._state,
            forced=self._forced,
            calls=len(self._window),
            failures=self._failures,
            slow=self._slow,
            under_way=len(self._under_way),
            opened=self._opened,
            refused=self._refused,
            retry_after=self._retry_at - now if waits else None,
        )
