"""The operators' calls about feature flags."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from goldenpath.runtime.context import Principal
from goldenpath.runtime.flags.control import FlagControl
from goldenpath.runtime.flags.definition import Flag, FlagError, UnknownFlag
from goldenpath.runtime.flags.rule import Rule
from goldenpath.runtime.gateway.admin import MAX_BODY, admin_route
from goldenpath.runtime.gateway.request import Answer, Request, answer
from goldenpath.runtime.gateway.routes import Parameter, Route
from goldenpath.runtime.operators import MAX_WHY, checked_why
from goldenpath.wire import answers
from goldenpath.wire.errors import RequestError


class FlagCalls:
    """List flags, set the rule of one, take it away. `tiers`: those that there are."""

    def __init__(self, control: FlagControl, tiers: Collection[str]) -> None:
        self._control = control
        self._tiers = tiers

    def routes(self) -> list[Route]:
        why: dict[str, Any] = {"type": "string", "maxLength": MAX_WHY}
        return [
            admin_route(
                "GET", "/flags", "flags", "The feature flags and their rules", self.flags, answer=answers.FlagInfos,
            ),
            admin_route(
                "PUT", "/flags/{flag}", "set_flag", "Set the rule of a flag: who is in, and what they get",
                self.set_flag, errors=("not_found",), body=answers.SetFlag, answer=answers.FlagChange,
            ),
            admin_route(
                "DELETE", "/flags/{flag}", "clear_flag", "Take the rule of a flag away: everybody gets the default",
                self.clear_flag, errors=("bad_request", "not_found"), answer=answers.FlagChange,
                parameters=(Parameter("why", "query", why, "Why; needed."),),
            ),
        ]  # fmt: skip

    async def flags(self, request: Request, principal: Principal) -> Answer:  # noqa: ARG002 - the calls' one form
        return answer(self.view())

    def view(self) -> answers.FlagInfos:
        """All flags as they are now."""
        control = self._control
        flags = control.flags
        return answers.FlagInfos(
            [_info(flag, flags.rules.get(flag.name)) for flag in flags],
            flags.unknown,
            None if control.path is None else str(control.path),
            control.problem,
        )

    async def set_flag(self, request: Request, principal: Principal) -> Answer:
        given = await request.json(answers.SetFlag, MAX_BODY)
        rule = msgspec.convert(
            {
                name: value
                for name, value in msgspec.structs.asdict(given).items()
                if value is not None and name != "why"
            },
            Rule,
        )
        return await self._put(request.name("flag"), rule, principal, given.why)

    async def clear_flag(self, request: Request, principal: Principal) -> Answer:
        return await self._put(request.name("flag"), None, principal, request.query("why") or "")

    async def _put(self, name: str, rule: Rule | None, principal: Principal, why: str) -> Answer:
        why = checked_why(why)
        try:
            if rule is not None:
                rule.check_tiers(f"flag {name}", self._tiers)
            change = self._control.put(name, rule, principal.user_id, why)
        except UnknownFlag:
            raise RequestError("not_found", f"there is no flag {name!r}") from None
        except FlagError as error:
            raise RequestError("bad_request", str(error)) from None
        saved = await self._control.settled()
        flags = self._control.flags
        return answer(answers.FlagChange(_info(flags.flag(name), flags.rules.get(name)), change is not None, saved))


def _info(flag: Flag, rule: Rule | None) -> answers.FlagInfo:
    shown = None
    if rule is not None:
        shown = answers.FlagRule(
            rule.stage, rule.percent, rule.variant, list(rule.tiers), list(rule.environments), rule.why, rule.by
        )
    return answers.FlagInfo(flag.name, flag.description, flag.default, flag.variants, shown)
