"""What the server and its agents ask and may be down: how each kind is judged, and what is told of it.

A dependency has a name, its kind and what it is: `model:api.example.com`, `tool:weather`, `database:write`. The kind
chooses the policy of its circuit breakers.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final

import msgspec

from goldenpath.runtime.breaker import BreakerPolicy
from goldenpath.runtime.interfaces import StoreError
from goldenpath.runtime.settings import Settings
from goldenpath.wire.errors import GoldenpathError, RequestError

FAILURES: Final = frozenset({"timeout", "upstream_unavailable", "overloaded", "internal"})
"""The codes of a `RequestError` that say that a dependency failed. Any other is an answer: it is there."""


def kind_of(dependency: str) -> str:
    """The kind of a dependency, which names no host and no tool: for those who are no operators."""
    return dependency.partition(":")[0]


class DependencyUnavailableError(RequestError):
    """A call that was refused because the circuit is open (`upstream_unavailable`)."""

    def __init__(self, dependency: str, what: str, retry_after: float) -> None:
        wait = math.ceil(retry_after)
        message = f"{what} failed, or was slow, too often and is not asked at present; try again in {wait} s"
        super().__init__("upstream_unavailable", message, retry_after=retry_after)
        self.dependency = dependency


def policies_of(settings: Settings) -> dict[str, BreakerPolicy]:
    """The policy of each kind of dependency.

    Of a tool nobody knows how long it may take. A database opens at the second failure: its commits, which are tried
    again and again all the same, see when it is back.
    """
    first = settings.breaker_recovery
    usual = BreakerPolicy(recovery=first, recovery_bound=max(first, settings.breaker_recovery_bound))
    of = msgspec.structs.replace
    return {
        "model": of(usual, slow_after=settings.slow_model),
        "tool": usual,
        "database": of(usual, slow_after=2.0, slow_rate=0.5, minimum_calls=2, window_calls=4, window=30.0),
    }


def has_failed(error: BaseException | None) -> bool | None:
    """Whether a dependency failed whose call ended so; None where that does not say."""
    match error:
        case None:
            return False
        case DependencyUnavailableError():  # of another dependency, inside
            return None
        case RequestError():
            return error.code in FAILURES
        case StoreError():
            return True
        case GoldenpathError() | asyncio.CancelledError():
            return None
        case Exception():
            return True
        case _:
            return None
