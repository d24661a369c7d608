"""What operators see and decide of what the server depends on, and of what it takes on: breakers and degradation."""

from __future__ import annotations

from typing import Literal

import msgspec

from goldenpath.runtime.breaker import BreakerStatistics, Forced
from goldenpath.runtime.breakers import Breakers, DependencyView
from goldenpath.runtime.context import Principal
from goldenpath.runtime.degradation import Degradation, DegradationView, Level
from goldenpath.runtime.gateway.admin import MAX_BODY, admin_route
from goldenpath.runtime.gateway.request import Answer, Request, answer
from goldenpath.runtime.gateway.routes import Route
from goldenpath.runtime.operators import Actions, checked_why
from goldenpath.runtime.startup import Finding, Startup
from goldenpath.wire.errors import RequestError


class DependencyViews(msgspec.Struct, frozen=True):
    """Every dependency that was asked lately, by name, and what the start's checks found, now and then since."""

    dependencies: list[DependencyView]
    checks: list[Finding]


class BreakerDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator decides of a breaker: `open` refuses every call, `closed` lets every call through, `automatic`
    lets it decide again, from nothing. `tenant` is a user id; null: the breaker that all share."""

    decision: Literal["open", "closed", "automatic"]
    why: str
    tenant: str | None = None


class LevelDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The level that an operator wants to hold; `automatic`: the server decides again."""

    level: Level | Literal["automatic"]
    why: str


class ServiceCalls:
    """The operators' calls for breakers and degradation."""

    def __init__(self, startup: Startup, breakers: Breakers, degradation: Degradation, actions: Actions) -> None:
        self._startup = startup
        self._breakers = breakers
        self._degradation = degradation
        self._actions = actions

    def routes(self) -> list[Route]:
        return [
            admin_route(
                "GET", "/breakers", "breakers", "What the server depends on, and how that does", self.breakers,
                answer=DependencyViews,
            ),
            admin_route(
                "POST", "/breakers/{dependency:path}", "force_breaker", "Open or close a circuit breaker",
                self.force_breaker, errors=("not_found",), body=BreakerDecision, answer=BreakerStatistics,
            ),
            admin_route(
                "GET", "/degradation", "degradation", "What the server takes on now", self.degradation,
                answer=DegradationView,
            ),
            admin_route(
                "POST", "/degradation", "force_degradation", "Set the level of degradation", self.force_degradation,
                body=LevelDecision, answer=DegradationView,
            ),
        ]  # fmt: skip

    async def breakers(self, request: Request, principal: Principal) -> Answer:  # noqa: ARG002 - the calls' one form
        return answer(DependencyViews(self._breakers.snapshot(), self._startup.findings()))

    async def force_breaker(self, request: Request, principal: Principal) -> Answer:
        given = await request.json(BreakerDecision, MAX_BODY)
        why = checked_why(given.why)
        dependency = request.path["dependency"]
        forced: Forced | None = None if given.decision == "automatic" else given.decision
        try:
            before = self._breakers.forced(dependency, given.tenant)
            after = self._breakers.force(dependency, forced, given.tenant)
        except LookupError:
            raise RequestError("not_found", "nothing of this name was asked for lately") from None
        self._actions.record(
            principal.user_id,
            "breaker",
            "force",
            dependency if given.tenant is None else f"{dependency} of {given.tenant}",
            before=before or "automatic",
            after=given.decision,
            why=why,
        )
        await self._actions.settled()
        return answer(after)

    async def degradation(self, request: Request, principal: Principal) -> Answer:  # noqa: ARG002
        return answer(self._degradation.view())

    async def force_degradation(self, request: Request, principal: Principal) -> Answer:
        given = await request.json(LevelDecision, MAX_BODY)
        why = checked_why(given.why)
        before = self._degradation.forced
        self._degradation.force(None if given.level == "automatic" else given.level)
        self._actions.record(
            principal.user_id,
            "degradation",
            "force",
            "level",
            before=before or "automatic",
            after=given.level,
            why=why,
        )
        await self._actions.settled()
        return answer(self._degradation.view())
