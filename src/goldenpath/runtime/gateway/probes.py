"""What operators and machines ask: alive, ready, in which state, with which figures. No user or thread ids in them."""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from goldenpath.runtime.admission import AdmissionStatistics
from goldenpath.runtime.breakers import Breakers
from goldenpath.runtime.degradation import Degradation, Level
from goldenpath.runtime.engine import EngineStatistics
from goldenpath.runtime.event_log import EventLogStatistics
from goldenpath.runtime.gateway.gateway import Gateway
from goldenpath.runtime.gateway.peers import PeerStatistics
from goldenpath.runtime.gateway.request import Answer, Request, answer
from goldenpath.runtime.gateway.routes import Route
from goldenpath.runtime.health import Performance, performance
from goldenpath.runtime.startup import Startup
from goldenpath.wire.errors import RequestError

RECENT: Final = 0.2
"""Figures are as old as this at most, in seconds: gathering them takes milliseconds, and anybody may ask."""


class Alive(msgspec.Struct, frozen=True):
    status: Literal["alive"] = "alive"


class Ready(msgspec.Struct, frozen=True):
    status: Literal["ready"] = "ready"


class Health(Performance, frozen=True, kw_only=True):
    """The state of one server, `degraded` where it cannot do all its work, or where `breaches` names a service level
    that it does not keep."""

    status: Literal["ok", "degraded", "draining"]
    version: str
    environment: str
    degradation: Level
    """Which new runs are refused, `normal`: none."""
    connections: PeerStatistics
    engines: EngineStatistics
    admission: AdmissionStatistics
    event_log: EventLogStatistics


class Probes:
    """The probes of one server."""

    def __init__(
        self,
        gateway: Gateway,
        registry: CollectorRegistry,
        version: str,
        *,
        startup: Startup,
        breakers: Breakers,
        degradation: Degradation,
    ) -> None:
        self._gateway = gateway
        self._startup = startup
        self._breakers = breakers
        self._degradation = degradation
        self._registry = registry
        self._version = version
        self._performance: Performance | None = None
        self._performance_read = -math.inf
        self._metrics = b""
        self._gathered = -math.inf

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET", "/livez", "livez", "Alive", 200, "probes", errors=("overloaded",), answer=Alive, open=self.livez,
            ),
            Route(
                "GET", "/readyz", "readyz", "Can take traffic", 200, "probes", errors=("overloaded", "draining"),
                answer=Ready, open=self.readyz,
            ),
            Route("GET", "/health", "health", "The state in detail", 200, "probes", answer=Health, open=self.health),
            Route(
                "GET", "/metrics", "metrics", "Figures for Prometheus", 200, "probes",
                open=self.metrics, media_type="text/plain",
            ),
        ]  # fmt: skip

    async def livez(self, request: Request) -> Answer:  # noqa: ARG002 - the calls' one form
        if self._gateway.commits.ended is not None:  # only a restart helps: let the supervisor see it
            raise RequestError("overloaded", "the log is not written any more: the server must be restarted")
        return answer(Alive())

    async def readyz(self, request: Request) -> Answer:  # noqa: ARG002
        gateway = self._gateway
        if gateway.scheduler.draining:
            raise RequestError("draining", "the server is shutting down", retry_after=1.0)
        if not gateway.ready:
            raise RequestError("overloaded", "the server is recovering", retry_after=1.0)
        if not self._startup.ready:
            raise RequestError("overloaded", "the server waits for what it depends on", retry_after=1.0)
        if not gateway.commits.healthy:
            raise RequestError("overloaded", "the log cannot be written", retry_after=2.0)
        return answer(Ready())

    async def health(self, request: Request) -> Answer:  # noqa: ARG002
        gateway, performance = self._gateway, self._recent_performance()
        level = self._degradation.level
        well = gateway.commits.healthy and gateway.ready and level == "normal" and not performance.breaches
        return answer(
            Health(
                **msgspec.structs.asdict(performance),
                status="draining" if gateway.scheduler.draining else "ok" if well else "degraded",
                version=self._version,
                environment=gateway.settings.environment,
                degradation=level,
                connections=gateway.peers.statistics(),
                engines=gateway.scheduler.engines.statistics(),
                admission=gateway.scheduler.admission.statistics(),
                event_log=gateway.event_log.statistics(),
            )
        )

    def _recent_performance(self) -> Performance:
        gateway = self._gateway
        now = gateway.clock.monotonic()
        if self._performance is None or now - self._performance_read >= RECENT:
            self._performance = performance(
                gateway.signals,
                now,
                gateway.settings.environment,
                self._breakers,
                self._startup.findings(),
            )
            self._performance_read = now
        return self._performance

    async def metrics(self, request: Request) -> Answer:  # noqa: ARG002
        now = self._gateway.clock.monotonic()
        if now - self._gathered >= RECENT:
            self._metrics, self._gathered = generate_latest(self._registry), now
        return Answer(200, self._metrics, CONTENT_TYPE_LATEST.encode())
