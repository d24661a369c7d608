"""What operators and machines ask: alive, ready, in which state, with which figures. No user or thread ids in them."""

from __future__ import annotations

from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.types import Receive, Scope, Send

from goldenpath.runtime.gateway.gateway import Gateway
from goldenpath.runtime.gateway.request import Answer, problem
from goldenpath.wire.errors import RequestError


class Probes:
    """The probe endpoints of one server, each an ASGI app."""

    def __init__(self, gateway: Gateway, registry: CollectorRegistry, version: str) -> None:
        self._gateway = gateway
        self._registry = registry
        self._version = version

    async def livez(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await _json({"status": "alive"}).send(send)

    async def readyz(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        gateway = self._gateway
        if gateway.dispatcher.draining:
            given = problem(RequestError("draining", "the server is shutting down", retry_after=1.0))
        elif not gateway.ready:
            given = problem(RequestError("overloaded", "the server is recovering", retry_after=1.0))
        elif not gateway.event_log.healthy:
            given = problem(RequestError("overloaded", "the log cannot be written", retry_after=2.0))
        else:
            given = _json({"status": "ready"})
        await given.send(send)

    async def health(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        gateway = self._gateway
        healthy = gateway.event_log.healthy
        status = "draining" if gateway.dispatcher.draining else "ok" if healthy and gateway.ready else "degraded"
        await _json(
            {
                "status": status,
                "version": self._version,
                "environment": gateway.settings.environment,
                "connections": gateway.peers.statistics(),
                "engines": gateway.dispatcher.engines.statistics(),
                "admission": gateway.dispatcher.engines.admission.statistics(),
                "event_log": gateway.event_log.statistics(),
            }
        ).send(send)

    async def metrics(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        body = generate_latest(self._registry)
        await Answer(200, body, CONTENT_TYPE_LATEST.encode()).send(send)


def _json(value: Any) -> Answer:
    return Answer(200, msgspec.json.encode(value), headers=((b"cache-control", b"no-store"),))
