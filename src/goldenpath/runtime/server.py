"""The composition root: every part of one running server is built here and handed to those that use it. Nothing is
global."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Final

import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.admission import Admission
from goldenpath.runtime.alerts.alerting import Alerting
from goldenpath.runtime.alerts.alerts import AlertChange, Alerts
from goldenpath.runtime.alerts.delivery import Delivery
from goldenpath.runtime.alerts.messages import Sender
from goldenpath.runtime.auth.accounts import Accounts
from goldenpath.runtime.auth.secret import load_secret
from goldenpath.runtime.breakers import Breakers
from goldenpath.runtime.deadlines import Deadlines
from goldenpath.runtime.degradation import Condition, Degradation, watch
from goldenpath.runtime.dependencies import policies_of
from goldenpath.runtime.dispatcher import Dispatcher
from goldenpath.runtime.engine import EngineFactory
from goldenpath.runtime.environ import alert_rules
from goldenpath.runtime.event_log import EventLog
from goldenpath.runtime.flags.control import FlagControl
from goldenpath.runtime.flags.definition import (
    ADAPTIVE_ADMISSION,
    BREAKERS,
    BUILTIN,
    STALL_DETECTOR,
    Flag,
    agent_flags,
)
from goldenpath.runtime.flags.flags import Flags
from goldenpath.runtime.footprint import footprint, resident_bytes
from goldenpath.runtime.gateway.admin import ActionCalls
from goldenpath.runtime.gateway.admin_flags import FlagCalls
from goldenpath.runtime.gateway.admin_rollback import RollbackCalls
from goldenpath.runtime.gateway.alert_calls import AlertCalls
from goldenpath.runtime.gateway.gateway import Gateway
from goldenpath.runtime.gateway.operator_page import OperatorPage
from goldenpath.runtime.gateway.service_calls import ServiceCalls
from goldenpath.runtime.gateway.site import Site
from goldenpath.runtime.interfaces import Unfinished
from goldenpath.runtime.metrics import Statistics, registry_of
from goldenpath.runtime.operators import SERVER, Actions
from goldenpath.runtime.overload import Overload, Queue
from goldenpath.runtime.pulse import Pulse
from goldenpath.runtime.recovery import Recovery
from goldenpath.runtime.registry import Registry
from goldenpath.runtime.rollback.cold_starts import FAILURES, ColdStarts
from goldenpath.runtime.rollback.cold_starts import FILE_NAME as STARTS
from goldenpath.runtime.rollback.hook import DeployHook, HookFacts
from goldenpath.runtime.rollback.policy import RollbackPolicy
from goldenpath.runtime.rollback.rollback import Rollback
from goldenpath.runtime.rollback.timeouts import obey
from goldenpath.runtime.run_records import RunRecords
from goldenpath.runtime.scheduler import Scheduler
from goldenpath.runtime.settings import NO_WAY_IN, Settings, data_path
from goldenpath.runtime.signals import Signals
from goldenpath.runtime.stalls import StallDetector
from goldenpath.runtime.startup import Startup
from goldenpath.runtime.startup_checks import checks_of
from goldenpath.runtime.stores.database import WRITES
from goldenpath.runtime.stores.opening import stores_of
from goldenpath.runtime.timeouts import CurrentTimeouts
from goldenpath.runtime.tracing import Tracing
from goldenpath.runtime.turns import Turns
from goldenpath.version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

COLD_START: Final = "cold_start_failures"
"""What calls for a roll-back where a server does not get ready any more."""
_logger = structlog.get_logger("goldenpath")


class Server:
    """The parts of one running server, built from settings. `async with` starts and stops them in order."""

    def __init__(
        self,
        agents: Registry,
        settings: Settings,
        clock: Clock,
        flags: Iterable[Flag] = (),
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.timeouts = CurrentTimeouts(settings.timeouts)
        """Those in force: `replace` changes them for new work."""
        self.deadlines = Deadlines(clock, self.timeouts)
        self.breakers = Breakers(clock, Random().random, policies_of(settings))  # noqa: S311 - jitter, no secret
        self.degradation = Degradation(list(settings.tiers))
        self.overload = Overload(
            list(settings.tiers), lag_bound=settings.overload_lag, wait_bound=settings.overload_wait
        )
        store, accounts, actions, self._storage = stores_of(settings, self.breakers, self.deadlines)
        self.actions = Actions(actions, clock)
        defined = [*BUILTIN, *agent_flags(agent.name for agent in agents), *flags]
        self.flags = Flags(defined, settings.environment)
        self.flag_control = FlagControl(self.flags, self.actions, clock, settings.flags_path, settings.flags_interval)
        self.flags.on_change(lambda flags: obey(flags, self.timeouts))
        self.flags.on_change(self._obey_switches)
        self.rollback = Rollback(
            self.flag_control,
            RollbackPolicy(settings.rollback_cool_down, code=settings.automatic_code_rollback),
            self.actions,
            clock,
            DeployHook(settings.deploy_hook, settings.deploy_hook_timeout, clock) if settings.deploy_hook else None,
            HookFacts("", "", settings.environment, __version__),
        )
        self.cold_starts = ColdStarts(None if settings.in_memory else data_path(settings, STARTS))
        turns = Turns(clock)
        self.signals = Signals()
        """Whether users are well served: what health, alerts and roll-backs look at."""
        self.event_log = EventLog(store, clock, settings, turns, self.signals)
        commits = self.event_log.commits
        self.recovery = Recovery(self.event_log, commits, store, clock, settings)
        records = RunRecords()
        self.scheduler = Scheduler(
            admission=Admission(max_running=settings.max_engines, max_waiting=settings.max_waiting),
            engines=EngineFactory(clock),
            breakers=self.breakers,
            deadlines=self.deadlines,
            event_log=self.event_log,
            commits=commits,
            clock=clock,
            settings=settings,
            flags=self.flags,
            signals=self.signals,
            records=records,
        )
        tracing = Tracing(__version__, settings.otel_genai, tracer_provider) if settings.otel_traces else None
        self.dispatcher = Dispatcher(
            agents=agents,
            event_log=self.event_log,
            commits=commits,
            scheduler=self.scheduler,
            store=store,
            turns=turns,
            degradation=self.degradation,
            overload=self.overload,
            clock=clock,
            settings=settings,
            flags=self.flags,
            tracing=tracing,
        )
        secret = load_secret(settings)
        self.accounts = Accounts(settings, accounts, clock, secret)
        self.gateway = Gateway(
            dispatcher=self.dispatcher,
            scheduler=self.scheduler,
            recovery=self.recovery,
            event_log=self.event_log,
            commits=commits,
            accounts=self.accounts,
            turns=turns,
            clock=clock,
            settings=settings,
            flags=self.flags,
            signals=self.signals,
            deadlines=self.deadlines,
        )
        self.pulse = Pulse(clock)
        self.pulse.listen(self.signals.loop_lag.record)
        self.pulse.listen(self._watch_load)
        self.stalls = StallDetector(self.pulse, clock, settings.stall_bound)
        """When the event loop stood still, and whose work did it."""
        self.stalls.listen(lambda _: self.signals.stalls.add(clock.monotonic()))
        checks = checks_of(settings, self.deadlines, serving=True)
        self.startup = Startup(checks, self.deadlines, patient=not settings.is_open)
        rules = alert_rules(settings)
        self.alerting = Alerting(
            Alerts(rules.rules),
            Delivery(rules.receivers, Sender(settings.environment, settings.address), clock),
            self.signals,
            clock,
            set_trigger=self.rollback.set_trigger,
        )
        self.alerting.listeners.append(self._record_alert)
        self._gauges()
        flag_calls, alert_calls = FlagCalls(self.flag_control, list(settings.tiers)), AlertCalls(self.alerting)
        rollback_calls = RollbackCalls(self.rollback, self.flag_control, self.timeouts)
        self.operator_page = OperatorPage(
            self.gateway,
            records,
            self.startup,
            secret,
            __version__,
            {
                "breakers": self.breakers.snapshot,
                "degradation": self.degradation.view,
                "overload": self.overload.statistics,
                "flags": flag_calls.view,
                "alerts": alert_calls.view,
                "rollback": rollback_calls.view,
                "stalls": self.stalls.stalls.statistics,
                "operators": self.actions.statistics,
            },
        )
        self.statistics: dict[str, Statistics] = {
            "connections": self.gateway.peers.statistics,
            "engines": self.scheduler.engines.statistics,
            "admission": self.scheduler.admission.statistics,
            "log": self.event_log.statistics,
            "alerts": self.alerting.alerts.statistics,
            "alert_delivery": self.alerting.delivery.statistics,
            "breakers": self.breakers.statistics,
            "degradation": self.degradation.statistics,
            "turns": turns.statistics,
            "accounts": self.accounts.statistics,
            "rates": self.gateway.rates.statistics,
            "timeouts": self.deadlines.statistics,
            "operators": self.actions.statistics,
            "startup": self.startup.statistics,
            "isolation": self.gateway.isolation.statistics,
            "flags": self.flag_control.statistics,
            "rollback": self.rollback.statistics,
            "overload": self.overload.statistics,
            "stalls": self.stalls.stalls.statistics,
            "operator_page": self.operator_page.statistics,
            "process": footprint,
        }
        """By the part that they are of: the metrics."""
        self.site = Site(
            self.gateway,
            registry_of(self.statistics, self.signals),
            __version__,
            admin=[
                *ActionCalls(self.actions, self.accounts).routes(),
                *ServiceCalls(self.startup, self.breakers, self.degradation, self.actions).routes(),
                *flag_calls.routes(),
                *alert_calls.routes(),
                *rollback_calls.routes(),
                *self.operator_page.routes(),
            ],
            startup=self.startup,
            breakers=self.breakers,
            degradation=self.degradation,
        )
        self.started = False
        """Whether `running` was ever entered: nothing can be answered before."""
        self._drain: asyncio.Task[None] | None = None

    def _gauges(self) -> None:
        gauge, admission = self.signals.gauge, self.scheduler.admission
        gauge("connections", lambda: float(len(self.gateway.peers)))
        gauge("runs_running", lambda: float(admission.statistics().running))
        gauge("runs_waiting", lambda: float(admission.statistics().waiting))
        gauge("overload", lambda: self.overload.pressure)
        gauge("rss_mb", lambda: round(resident_bytes() / (1 << 20), 1))
        gauge("breakers_open", lambda: float(self.breakers.statistics().shared_open))
        gauge("rolled_back", lambda: float(len(self.rollback.in_effect)))
        gauge("startup_failures", lambda: float(self.startup.statistics().failed))
        gauge("log_healthy", lambda: float(self.event_log.commits.healthy))
        gauge("isolation_violations", lambda: float(self.gateway.isolation.violations))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the store, end what an earlier process left, serve; on leaving, drain and close. Raises `StartupError`,
        and `StoreError` also where what came last could not be written."""
        self.started = True
        if not self.settings.has_way_in:
            _logger.warning("no_way_in", why=NO_WAY_IN)
        async with (
            self._storage,
            self.flag_control.running(),
            self.rollback.running(),
            self.alerting.running(),
            AsyncExitStack() as stack,
        ):
            self._look_at_starts()
            self.startup.begin()  # only now: flags, or starts that failed, may have rolled the time-outs back
            await self.startup.require()
            # What is begun is stopped whatever comes after it, and the log before what its last events still need.
            stack.push_async_callback(self.accounts.close)
            await self.accounts.open()
            stack.push_async_callback(self.gateway.stop)
            stack.push_async_callback(self.operator_page.stop)
            stack.callback(self.pulse.stop)
            stack.callback(self.stalls.stop)
            unfinished = await self.event_log.start()
            stack.push_async_callback(self.event_log.stop)
            await self.gateway.start()
            self.operator_page.start()
            self.pulse.start()
            self.stalls.start()
            recovery = asyncio.create_task(self._recover(unfinished))
            starting = asyncio.create_task(self.startup.watch())
            watching = asyncio.create_task(watch(self.degradation, self._condition, self.clock))
            stack.push_async_callback(_end, recovery, starting, watching)
            try:
                yield
            finally:
                await self.begin_drain()

    def _obey_switches(self, flags: Flags) -> None:
        self.breakers.switch(flags.enabled(BREAKERS))
        self.stalls.switch(flags.enabled(STALL_DETECTOR))
        if not flags.enabled(ADAPTIVE_ADMISSION):
            self.degradation.calm()

    def _look_at_starts(self) -> None:
        failures = self.cold_starts.begin(self.clock.time())
        if failures >= FAILURES:
            self.rollback.set_trigger(COLD_START, f"{failures} starts in a row did not get ready")

    def _record_alert(self, change: AlertChange) -> None:
        why = f"{change.signal} {change.bound}"
        self.actions.record(SERVER, "alert", change.state, change.alert, after={"value": change.value}, why=why)

    def _watch_load(self, late: float, now: float) -> None:
        if self.overload.beat(late, now):
            admission = self.scheduler.admission
            self.overload.close(Queue(admission.short(), admission.statistics().admitted), now)

    def _condition(self) -> Condition:
        """What the level of degradation depends on."""
        bound, unrelieved = self.settings.shed_loop_lag, 0.0
        if bound is not None and self.flags.enabled(ADAPTIVE_ADMISSION):
            unrelieved = self.overload.unrelieved_lag / bound
        return Condition(unrelieved, self.event_log.commits.healthy and not self.breakers.is_open(WRITES))

    def begin_drain(self) -> asyncio.Task[None]:
        """Accept no runs, send clients away, and give the runs at work the drain time to end; done when they have.
        Repeating it gives the same drain."""
        self.scheduler.refuse_new_runs()
        self.gateway.close_peers()
        if self._drain is None:
            self._drain = asyncio.create_task(self.scheduler.drain(self.settings.drain_timeout))
        return self._drain

    async def _recover(self, unfinished: list[Unfinished]) -> None:
        try:
            await self.recovery.run(unfinished)
            self.cold_starts.ready()
            self.rollback.set_trigger(COLD_START, None)
        except Exception:
            _logger.exception("recovery_failed")  # stays not ready, and says so


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
