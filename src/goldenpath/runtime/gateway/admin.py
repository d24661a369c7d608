"""The operators' calls, `/v1/admin/...`: for principals with the permission `operator`.

Each part of the server that operators can change has a class of its own that gives its routes, made by `admin_route`,
and records what it changes in `Actions`; the composition root hands them all to the site. That such calls exist is no
secret: whoever may not make them is told `forbidden`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from goldenpath.clock import rfc3339
from goldenpath.runtime.auth.accounts import Accounts
from goldenpath.runtime.context import Principal
from goldenpath.runtime.gateway.request import MAX_PAGE, Answer, Request, answer
from goldenpath.runtime.gateway.routes import OwnCall, Parameter, Route
from goldenpath.runtime.interfaces import ActionRow
from goldenpath.runtime.operators import OPERATOR, Actions
from goldenpath.wire import answers
from goldenpath.wire.errors import ErrorName

MAX_BODY: Final = 64 * 1024
"""The largest body of an operator's call, in bytes."""


def admin_route(
    method: str,
    path: str,
    name: str,
    summary: str,
    own: OwnCall,
    *,
    status: int = 200,
    errors: tuple[ErrorName, ...] = (),
    body: type | None = None,
    answer: type | None = None,
    parameters: tuple[Parameter, ...] = (),
) -> Route:
    """A call for operators at `/v1/admin` and `path`."""
    return Route(
        method,
        f"/v1/admin{path}",
        name,
        summary,
        status,
        "operators",
        errors=errors,
        body=body,
        answer=answer,
        own=own,
        parameters=parameters,
        permission=OPERATOR,
    )


class ActionCalls:
    """What operators did, and the accounts that they make."""

    def __init__(self, actions: Actions, accounts: Accounts) -> None:
        self._actions = actions
        self._accounts = accounts

    def routes(self) -> list[Route]:
        area: dict[str, Any] = {"type": "string"}
        number: dict[str, Any] = {"type": "string", "pattern": "^[0-9]{1,18}$"}
        page: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE}
        return [
            admin_route(
                "GET", "/actions", "operator_actions", "What operators changed, newest first", self.actions,
                errors=("bad_request",), answer=answers.ActionInfos,
                parameters=(
                    Parameter("limit", "query", page, "How many at most."),
                    Parameter("cursor", "query", number, "next_cursor of the page before."),
                    Parameter("area", "query", area, "Only of this area, e.g. flag."),
                ),
            ),
            admin_route(
                "POST", "/accounts", "create_account", "Make an account, also where registration is closed",
                self.create_account, status=201, errors=("conflict",),
                body=answers.Credentials, answer=answers.Account,
            ),
        ]  # fmt: skip

    async def actions(self, request: Request, principal: Principal) -> Answer:  # noqa: ARG002 - the calls' one form
        limit = request.limit()
        rows = await self._actions.latest(limit + 1, request.integer("cursor"), request.query("area"))
        page = rows[:limit]
        next_cursor = str(page[-1].number) if len(rows) > limit else None
        return answer(answers.ActionInfos([action_info(row) for row in page], next_cursor))

    async def create_account(self, request: Request, principal: Principal) -> Answer:
        given = await request.json(answers.Credentials, MAX_BODY)
        user = await self._accounts.create(given.email, given.password)
        account = answers.Account(user.user_id, user.subject)
        self._actions.record(principal.user_id, "account", "create", user.user_id)
        await self._actions.settled()
        return answer(account, 201)


def action_info(row: ActionRow) -> answers.ActionInfo:
    """A row of the journal as the calls answer it."""
    return answers.ActionInfo(
        row.number, rfc3339(row.at), row.actor, row.area, row.action, row.subject, _raw(row.before), _raw(row.after),
        row.why,
    )  # fmt: skip


def _raw(value: bytes | None) -> msgspec.Raw | None:
    return None if value is None else msgspec.Raw(value)
