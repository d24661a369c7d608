"""Alerts of real signals: looked at again and again, told, acted on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import structlog

from goldenpath.runtime.alerts.alerting import INTERVAL, Alerting
from goldenpath.runtime.alerts.alerts import AlertChange, Alerts
from goldenpath.runtime.alerts.delivery import Delivery
from goldenpath.runtime.alerts.messages import Sender
from goldenpath.runtime.alerts.rules import AlertsError, Receiver, default_rules
from goldenpath.runtime.rollback.policy import Level, RollbackPolicy
from goldenpath.runtime.signals import Signals
from tests.runtime.alerts.receiver import WatchedClock, WebhookReceiver, receiving


class Stage:
    """The rules that ship, over signals that a test records."""

    def __init__(self, receiver: WebhookReceiver) -> None:
        self.clock = WatchedClock()
        self.signals = Signals()
        self.triggers: list[tuple[str, str | None, float]] = []
        delivery = Delivery(
            {"me": Receiver(takes=("page", "chat"), webhook=receiver.url)}, Sender("production", "x:1"), self.clock
        )
        self.alerting = Alerting(
            Alerts(default_rules().rules),
            delivery,
            self.signals,
            self.clock,
            set_trigger=lambda name, why, over: self.triggers.append((name, why, over)),
        )

    async def pass_time(self, seconds: float) -> None:
        """Let the time of so many looks pass; who is to be told at one is told before the next."""
        for _ in range(int(seconds / INTERVAL)):
            await asyncio.wait_for(self.clock.sleeps.get(), 10)
            async with asyncio.timeout(10):
                while self.alerting.delivery.statistics().waiting:
                    await asyncio.sleep(0)
            self.clock.advance(INTERVAL)

    def connect(self, ok: int, failed: int) -> None:
        now = self.clock.monotonic()
        for _ in range(ok):
            self.signals.connect.took.record(0.01, now)
        self.signals.connect.failed.add(now, failed)


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with receiving() as running:
        yield running


@pytest.fixture
async def stage(receiver: WebhookReceiver) -> AsyncIterator[Stage]:
    stage = Stage(receiver)
    async with stage.alerting.running():
        yield stage


async def test_failing_connections_page_and_call_for_a_roll_back_and_end(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    stage.connect(94, 6)
    await stage.pass_time(60)
    assert stage.triggers == []
    await stage.pass_time(10)
    assert stage.triggers == [("alert connect_failures", "connect_failure_rate > 0.05", 305.0)]
    assert await receiver.alerts(1) == ["connect_failures firing"]
    for _ in range(10):
        await stage.pass_time(60)
    assert await receiver.alerts(1) == ["connect_failures resolved"]
    assert [(change.alert, change.state) for change in stage.alerting.alerts.history] == [
        ("connect_failures", "firing"),
        ("connect_failures", "resolved"),
    ]
    assert stage.triggers[1:] == [("alert connect_failures", None, 0.0)]


def _rolled_back(receiver: WebhookReceiver, failing: Callable[[list[Level]], int]) -> list[Level]:
    """What a server takes back in twenty minutes in which, of 25 connections at each look, so many fail."""
    stage = Stage(receiver)
    policy, in_effect = RollbackPolicy(0.0, code=True), list[Level]()
    alerting = Alerting(
        stage.alerting.alerts, stage.alerting.delivery, stage.signals, stage.clock, set_trigger=policy.set
    )
    for _ in range(int(1200 / INTERVAL)):
        failed = failing(in_effect)
        stage.connect(25 - failed, failed)
        alerting.look()
        step = policy.decide(in_effect, stage.clock.monotonic())
        if step is not None:
            in_effect.append(step.level)
            policy.acted(stage.clock.monotonic())
        stage.clock.advance(INTERVAL)
    return in_effect


async def test_what_was_wrong_before_a_roll_back_calls_for_no_further_one(receiver: WebhookReceiver) -> None:
    """The first roll-back helps at once; for minutes the alert fires on, and the signal is wrong by what was before."""
    assert _rolled_back(receiver, lambda in_effect: 0 if in_effect else 5) == ["flags"]


async def test_what_stays_wrong_calls_for_level_after_level(receiver: WebhookReceiver) -> None:
    assert _rolled_back(receiver, lambda _: 5) == ["flags", "timeouts", "code"]


async def test_a_healthy_server_alerts_nobody(stage: Stage, receiver: WebhookReceiver) -> None:
    for _ in range(30):
        stage.connect(100, 1)
        await stage.pass_time(10)
    assert stage.alerting.alerts.statistics().fired == 0
    assert receiver.got.empty()


async def test_one_action_that_fails_keeps_nobody_else_from_acting(stage: Stage, receiver: WebhookReceiver) -> None:
    seen: list[AlertChange] = []

    def broken(_: AlertChange) -> None:
        raise ValueError("mistake")

    stage.alerting.listeners += [broken, seen.append]
    stage.connect(90, 10)
    with structlog.testing.capture_logs() as logs:
        await stage.pass_time(70)
        assert await receiver.alerts(1) == ["connect_failures firing"]
    assert [change.alert for change in seen] == ["connect_failures"]
    assert len(stage.triggers) == 1
    assert "alert_action_failed" in [entry["event"] for entry in logs]


async def test_a_signal_that_cannot_be_read_is_silence(stage: Stage) -> None:
    def broken() -> float:
        raise OSError("no such device")

    stage.signals.gauge("isolation_violations", broken)
    with structlog.testing.capture_logs() as logs:
        await stage.pass_time(10)
    assert {entry["event"] for entry in logs} == {"signal_not_read"}
    assert stage.alerting.alerts.statistics().fired == 0


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # one of apprise's imports
async def test_a_start_that_fails_at_one_receiver_leaves_nothing_behind_of_the_others() -> None:
    clock = WatchedClock()
    receivers = {
        "hook": Receiver(takes=("page",), webhook="http://127.0.0.1:9/"),
        "team": Receiver(takes=("chat",), apprise="nonsense://x"),
    }
    alerting = Alerting(
        Alerts({}), Delivery(receivers, Sender("production", "x:1"), clock), Signals(), clock, set_trigger=print
    )
    with pytest.raises(AlertsError):
        async with alerting.running():
            pytest.fail("it has started")
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("goldenpath-alerts")]
