"""What receivers are told: Prometheus Alertmanager's webhook message, and a text for people.

Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config (version 4), which pagers and chat
bridges know already.
"""

from __future__ import annotations

from typing import Any

import msgspec

from goldenpath.clock import rfc3339
from goldenpath.runtime.alerts.alerts import AlertChange

_NEVER = "0001-01-01T00:00:00Z"


class Sender(msgspec.Struct, frozen=True):
    """Which server it is that tells."""

    environment: str
    server: str
    """Its address, for people."""


def webhook_message(change: AlertChange, receiver: str, sender: Sender) -> dict[str, Any]:
    """The body of a webhook."""
    labels = {
        "alertname": change.alert,
        "severity": change.severity,
        "environment": sender.environment,
        "instance": sender.server,
    }
    annotations = {"summary": change.summary, "description": description(change)}
    alert = {
        "status": change.state,
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(change.since),
        "endsAt": rfc3339(change.at) if change.state == "resolved" else _NEVER,
        "generatorURL": "",
        "fingerprint": f"{sender.environment}/{sender.server}/{change.alert}",
    }
    return {
        "version": "4",
        "groupKey": f"{{}}:{{alertname={change.alert!r}}}",
        "truncatedAlerts": 0,
        "status": change.state,
        "receiver": receiver,
        "groupLabels": {"alertname": change.alert},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "alerts": [alert],
    }


def title(change: AlertChange, sender: Sender) -> str:
    """One line for people."""
    state = "STILL FIRING" if change.reminder else change.state.upper()
    return f"[{state}] {change.alert} ({change.severity}) on {sender.environment} {sender.server}"


def text(change: AlertChange) -> str:
    """A few lines for people, below the title."""
    return f"{change.summary}\n{description(change)}"


def description(change: AlertChange) -> str:
    """What was measured, in one line."""
    measured = "nothing was measured lately" if change.value is None else f"{change.signal} is {change.value:.6g}"
    if change.state == "resolved":
        return f"{measured}; it was {change.bound} since {rfc3339(change.since)}"
    return f"{measured} ({change.bound}) since {rfc3339(change.since)}"
