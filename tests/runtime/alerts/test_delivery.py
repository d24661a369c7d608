"""Who is told, over real HTTP: tried again, given up, never waited for."""

from __future__ import annotations

import asyncio
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import structlog

from goldenpath.clock import SystemClock
from goldenpath.runtime.alerts.delivery import FIRST_RETRY, GIVE_UP_AFTER, LAST_RETRY, MAX_QUEUED, Delivery
from goldenpath.runtime.alerts.messages import Sender
from goldenpath.runtime.alerts.rules import AlertsError, Receiver
from tests.runtime.alerts.receiver import WatchedClock, change, receiving

SENDER = Sender("staging", "127.0.0.1:8700")


def paged(url: str, **fields: object) -> Receiver:
    return Receiver(takes=("page",), webhook=url, **fields)  # type: ignore[arg-type]


async def test_a_webhook_gets_what_alertmanager_would_send() -> None:
    async with receiving() as receiver:
        delivery = Delivery(
            {"on-call": paged(receiver.url, headers={"Authorization": "Bearer s"})}, SENDER, SystemClock()
        )
        await delivery.start()
        delivery.tell(change())
        headers, body = await asyncio.wait_for(receiver.got.get(), 10)
        await delivery.stop()
    assert headers["Authorization"] == "Bearer s"
    assert (body["version"], body["status"], body["receiver"]) == ("4", "firing", "on-call")
    (alert,) = body["alerts"]
    assert alert["labels"] == {
        "alertname": "slow",
        "severity": "critical",
        "environment": "staging",
        "instance": "127.0.0.1:8700",
    }
    assert alert["startsAt"] == "2023-11-14T22:13:20.000Z"
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    assert alert["annotations"] == {
        "summary": "It is slow.",
        "description": "lag_ms is 12.5 (> 10) since 2023-11-14T22:13:20.000Z",
    }
    assert delivery.statistics().delivered == 1


async def test_everybody_is_told_what_they_take() -> None:
    async with receiving() as pager, receiving() as chat:
        delivery = Delivery(
            {"pager": paged(pager.url), "chat": Receiver(takes=("chat", "page"), webhook=chat.url)},
            SENDER,
            SystemClock(),
        )
        await delivery.start()
        delivery.tell(change("talk", actions=("chat",)))
        delivery.tell(change("wake", actions=("rollback", "page")))
        delivery.tell(change("wake", "resolved", actions=("rollback", "page")))
        delivery.tell(change("quiet", actions=("rollback",)))
        assert await pager.alerts(2) == ["wake firing", "wake resolved"]
        assert await chat.alerts(3) == ["talk firing", "wake firing", "wake resolved"]
        await delivery.stop()
        assert pager.got.empty()
        assert chat.got.empty()


async def test_it_is_tried_again_ever_less_often_and_in_order() -> None:
    clock = WatchedClock()
    async with receiving(503, 429, 500, 500, 500, 500, 500, 500, 500) as receiver:
        delivery = Delivery({"on-call": paged(receiver.url)}, SENDER, clock)
        await delivery.start()
        delivery.tell(change("first"))
        delivery.tell(change("second"))
        waits = []
        for _ in range(9):
            waits.append(await asyncio.wait_for(clock.sleeps.get(), 10))
            clock.advance(waits[-1])
        names = await receiver.alerts(11)
        await delivery.stop()
    assert names == ["first firing"] * 10 + ["second firing"]
    for number, wait in enumerate(waits):
        longest = min(FIRST_RETRY * 2**number, LAST_RETRY)
        assert longest / 2 <= wait <= longest
    assert (delivery.statistics().delivered, delivery.statistics().failed) == (2, 9)


async def test_what_a_receiver_will_never_take_is_given_up_at_once() -> None:
    async with receiving(404, 301) as receiver:
        delivery = Delivery({"on-call": paged(receiver.url + "?key=secret")}, SENDER, WatchedClock())
        await delivery.start()
        with structlog.testing.capture_logs() as logs:
            for name in ("first", "second", "third"):
                delivery.tell(change(name))
            assert await receiver.alerts(3) == ["first firing", "second firing", "third firing"]
            await delivery.stop()
    assert [entry["why"] for entry in logs if entry["event"] == "alert_given_up"] == [
        "it answers 404",
        "it answers 301",
    ]
    assert "secret" not in str(logs)
    assert (delivery.statistics().delivered, delivery.statistics().given_up) == (1, 2)


async def test_who_cannot_be_reached_for_an_hour_is_given_up() -> None:
    clock = WatchedClock()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        delivery = Delivery({"on-call": paged(url)}, SENDER, clock)
        await delivery.start()
        with structlog.testing.capture_logs() as logs:
            delivery.tell(change())
            await asyncio.wait_for(clock.sleeps.get(), 10)
            clock.advance(GIVE_UP_AFTER + 1)
            async with asyncio.timeout(10):
                while delivery.statistics().waiting:
                    await asyncio.sleep(0)
        await delivery.stop()
    assert "ConnectError" in logs[0]["why"]
    assert logs[-1]["event"] == "alert_given_up"
    assert url not in str(logs)


async def test_who_does_not_answer_holds_up_nobody() -> None:
    clock = WatchedClock()
    async with receiving(*[None] * 500) as silent, receiving() as other:
        delivery = Delivery({"silent": paged(silent.url), "other": paged(other.url)}, SENDER, clock)
        await delivery.start()
        await _tell_in_parts(delivery, 2 * MAX_QUEUED)
        assert len(await other.alerts(2 * MAX_QUEUED)) == 2 * MAX_QUEUED
        assert await silent.alerts(1) == ["a0 firing"]
        statistics = delivery.statistics()
        assert statistics.waiting == MAX_QUEUED
        assert statistics.given_up == MAX_QUEUED
        stop = asyncio.create_task(delivery.stop())
        while not stop.done():
            clock.advance(0.5)
            await asyncio.sleep(0)
        assert delivery.statistics().given_up == 2 * MAX_QUEUED


async def _tell_in_parts(delivery: Delivery, count: int) -> None:
    """So many that one who reads keeps up."""
    for number in range(count):
        delivery.tell(change(f"a{number}"))
        if number % 50 == 49:
            async with asyncio.timeout(10):
                while delivery.statistics().delivered <= number:
                    await asyncio.sleep(0)


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # one of apprise's imports
async def test_apprise_tells_a_real_receiver() -> None:
    bodies: list[bytes] = []
    came = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            came.set()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        receiver = Receiver(takes=("chat",), apprise=f"json://127.0.0.1:{server.server_port}/hook")
        delivery = Delivery({"team": receiver}, SENDER, SystemClock())
        await delivery.start()
        delivery.tell(change(actions=("chat",)))
        assert await asyncio.to_thread(came.wait, 10)
        await delivery.stop()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert b"[FIRING] slow (critical) on staging 127.0.0.1:8700" in bodies[0]
    assert b"It is slow." in bodies[0]


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
async def test_a_url_that_apprise_does_not_know_stops_the_start() -> None:
    delivery = Delivery({"team": Receiver(takes=("chat",), apprise="nonsense://x")}, SENDER, SystemClock())
    with pytest.raises(AlertsError, match=r"receivers\.team: apprise does not know this kind of URL"):
        await delivery.start()
    await delivery.stop()
