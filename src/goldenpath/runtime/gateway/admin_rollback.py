"""The operators' calls about roll-backs and incidents."""

from __future__ import annotations

from typing import Any

from goldenpath.runtime.context import Principal
from goldenpath.runtime.flags.control import FlagControl
from goldenpath.runtime.flags.definition import FlagError
from goldenpath.runtime.gateway.admin import MAX_BODY, action_info, admin_route
from goldenpath.runtime.gateway.request import MAX_PAGE, Answer, Request, answer
from goldenpath.runtime.gateway.routes import Parameter, Route
from goldenpath.runtime.operators import checked_why
from goldenpath.runtime.rollback.rollback import Rollback
from goldenpath.runtime.timeouts import CurrentTimeouts
from goldenpath.wire import answers
from goldenpath.wire.errors import RequestError


class RollbackCalls:
    """See what is rolled back, roll back, undo it, declare an incident."""

    def __init__(self, rollback: Rollback, control: FlagControl, timeouts: CurrentTimeouts) -> None:
        self._rollback = rollback
        self._control = control
        self._timeouts = timeouts

    def routes(self) -> list[Route]:
        page: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE}
        return [
            admin_route(
                "GET", "/rollback", "rollback_status", "What is rolled back, and what calls for it", self.status,
                answer=answers.RollbackStatus,
            ),
            admin_route(
                "POST", "/rollback", "roll_back", "Roll flags, time-outs or the code back", self.roll_back, status=202,
                errors=("not_configured", "conflict"), body=answers.RollBack, answer=answers.RollbackStatus,
            ),
            admin_route(
                "POST", "/rollback/undo", "undo_rollback", "Undo the last roll-back of flags or time-outs", self.undo,
                errors=("not_found",), body=answers.Why, answer=answers.Undone,
            ),
            admin_route(
                "GET", "/rollback/history", "rollback_history", "The roll-backs, newest first", self.history,
                errors=("bad_request",), answer=answers.ActionInfos,
                parameters=(Parameter("limit", "query", page, "How many at most."),),
            ),
            admin_route(
                "POST", "/incidents", "declare_incident", "Declare an incident; P0 and P1 roll back", self.incident,
                status=202, body=answers.Incident, answer=answers.RollbackStatus,
            ),
        ]  # fmt: skip

    def view(self) -> answers.RollbackStatus:
        """How roll-backs stand now."""
        rollback = self._rollback
        return answers.RollbackStatus(
            in_effect=list(rollback.in_effect),
            automatic=rollback.automatic,
            cool_down=round(rollback.cooling(), 1),
            triggers=rollback.policy.triggers,
            deploy_hook="none" if not rollback.has_hook else "running" if rollback.hook_runs else "ready",
            deploy_hook_failed=rollback.hook_failed,
            timeouts={
                level: self._timeouts.now.of(level) for level in ("factory", "websocket_recv", "agent_execution")
            },
        )

    async def status(self, request: Request, principal: Principal) -> Answer:  # noqa: ARG002 - the calls' one form
        return answer(self.view())

    async def roll_back(self, request: Request, principal: Principal) -> Answer:
        given = await request.json(answers.RollBack, MAX_BODY)
        try:
            self._rollback.trigger(given.level, checked_why(given.why), principal.user_id)
        except FlagError as error:
            raise RequestError("conflict", str(error)) from None
        await self._control.settled()
        return answer(self.view(), 202)

    async def undo(self, request: Request, principal: Principal) -> Answer:
        given = await request.json(answers.Why, MAX_BODY)
        undone = await self._rollback.undo(checked_why(given.why), principal.user_id)
        await self._control.settled()
        return answer(answers.Undone(undone.number, undone.level, undone.restored, undone.kept))

    async def history(self, request: Request, principal: Principal) -> Answer:  # noqa: ARG002
        limit = request.limit()
        return answer(answers.ActionInfos([action_info(row) for row in await self._rollback.history(limit)], None))

    async def incident(self, request: Request, principal: Principal) -> Answer:
        given = await request.json(answers.Incident, MAX_BODY)
        self._rollback.declare_incident(given.severity, checked_why(given.why), principal.user_id)
        await self._control.settled()
        return answer(self.view(), 202)
