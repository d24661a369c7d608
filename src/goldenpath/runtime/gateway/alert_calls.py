"""The operators' calls about alerts: how they stand, and whether those who are told can be reached."""

from __future__ import annotations

import msgspec

from goldenpath.clock import rfc3339
from goldenpath.runtime.alerts.alerting import Alerting
from goldenpath.runtime.alerts.alerts import AlertChange, AlertView
from goldenpath.runtime.context import Principal
from goldenpath.runtime.gateway.admin import admin_route
from goldenpath.runtime.gateway.request import Answer, Request, answer
from goldenpath.runtime.gateway.routes import Route
from goldenpath.wire import answers


class AlertCalls:
    """The calls of one server."""

    def __init__(self, alerting: Alerting) -> None:
        self._alerting = alerting

    def routes(self) -> list[Route]:
        return [
            admin_route(
                "GET", "/alerts", "alerts", "How the alerts stand, and which fired", self.alerts,
                answer=answers.AlertInfos,
            ),
            admin_route(
                "POST", "/alerts/test", "test_alerts", "Tell every receiver that this is a test", self.test,
                status=202, answer=answers.AlertTest,
            ),
        ]  # fmt: skip

    async def alerts(self, request: Request, principal: Principal) -> Answer:  # noqa: ARG002 - the calls' one form
        return answer(self.view())

    def view(self) -> answers.AlertInfos:
        """All alerts as they are now."""
        alerts, delivery = self._alerting.alerts, self._alerting.delivery
        return answers.AlertInfos(
            alerts=[_info(view) for view in alerts.view()],
            history=[_change(change) for change in reversed(alerts.history)],
            receivers=delivery.receivers,
            delivery=answers.AlertDelivery(**msgspec.structs.asdict(delivery.statistics())),
            told=[
                answers.AlertReceiver(
                    view.name, view.takes, **msgspec.structs.asdict(view.statistics), problem=view.problem
                )
                for view in delivery.view()
            ],
        )

    async def test(self, request: Request, principal: Principal) -> Answer:  # noqa: ARG002
        return answer(answers.AlertTest(self._alerting.test()), 202)


def _info(view: AlertView) -> answers.AlertInfo:
    return answers.AlertInfo(
        name=view.name,
        state=view.state,
        severity=view.severity,
        actions=view.actions,
        summary=view.summary,
        signal=view.signal,
        bound=view.bound,
        value=view.value,
        since=None if view.since is None else rfc3339(view.since),
    )


def _change(change: AlertChange) -> answers.AlertChange:
    return answers.AlertChange(change.alert, change.state, change.value, rfc3339(change.since), rfc3339(change.at))
