"""Events over SSE: of one run until its end, or of a thread for as long as the client stays.

Each stream is a follower, read when the client's socket takes more; `send` waits while it does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from starlette.types import Message, Send

from goldenpath.runtime.context import Principal
from goldenpath.runtime.gateway.gateway import Gateway
from goldenpath.runtime.gateway.peers import Reservation
from goldenpath.runtime.gateway.request import Request
from goldenpath.runtime.interfaces import RunRow, StoreError
from goldenpath.runtime.run_states import ENDED
from goldenpath.runtime.thread_log import Follower, ThreadLog
from goldenpath.wire.errors import GOING_AWAY
from goldenpath.wire.events import CancelledOutcome, RunError, RunFinished, RunStarted, SuccessOutcome, encode

KEEP_ALIVE: Final = 15.0
"""A comment goes out after this many seconds without an event."""
CHUNK_BYTES: Final = 64 * 1024

_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_TERMINAL: Final = (b'{"type":"RUN_FINISHED"', b'{"type":"RUN_ERROR"')

_logger = structlog.get_logger("goldenpath.sse")

Translate = Callable[[bytes], bytes | None]
"""One event as this client takes it; None leaves it out."""


class SseStream:
    """One client that follows a log over SSE; a `Peer`.

    `run` limits the stream to one run, and ends it after that run's terminal event; None follows the whole thread.
    """

    def __init__(
        self,
        gateway: Gateway,
        principal: Principal,
        reservation: Reservation,
        log: ThreadLog,
        seq: int,
        *,
        run: RunRow | None = None,
        snapshot: bytes | None = None,
        translate: Translate | None = None,
    ) -> None:
        self.principal = principal
        self.reservation: Reservation | None = reservation
        self._gateway = gateway
        self._log = log
        self._run = run
        self._snapshot = snapshot
        self._translate = translate
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._follower = Follower(log, seq, self._wake.set, self._finish)
        self._task: asyncio.Task[object] | None = None
        self._sending_since: float | None = None
        self._patience: float | None = None
        self._too_slow = False
        self._expires = gateway.clock.monotonic() + principal.expires_at - gateway.clock.time()
        self._last_sent = gateway.clock.monotonic()

    def _finish(self) -> None:
        self._ended.set()
        self._wake.set()

    def end(self, code: int, reason: str) -> None:  # noqa: ARG002 - SSE has no codes
        # A run's stream outlives the start of a drain, as the run does: its client would take an end without the
        # terminal event for the end of the answer.
        if code != GOING_AWAY or self._run is None:
            self._finish()

    def tick(self, now: float) -> None:
        if now >= self._expires:
            self._finish()
        if self._sending_since is not None:
            late = self._patience is not None and now - self._sending_since >= self._patience
            if late and self._task is not None and not self._too_slow:
                self._too_slow = True
                self._task.cancel()
        elif now - self._last_sent >= KEEP_ALIVE:
            self._wake.set()

    async def serve(self, request: Request, send: Send, patience: float | None) -> None:
        """Answer `request` with the stream. The log is pinned by the caller. `patience`: how long one `send` may take
        in seconds, before the stream ends where it is; None: the server below cuts a client that takes nothing."""
        self._patience = patience
        self._task = asyncio.current_task()
        self._gateway.event_log.subscribe(self._follower)
        self._gateway.add(self)
        request.leaving.add_done_callback(self._left)
        try:
            await self._send(send, {"type": "http.response.start", "status": 200, "headers": _HEADERS})
            if self._snapshot is not None:
                await self._send_body(send, b"event: gap\n" + self._message(self._follower.position, self._snapshot))
            await self._follow(send)
            await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
        except StoreError:
            self._count_undelivered()
            _logger.exception("replay_failed")
        except asyncio.CancelledError:
            if not self._too_slow or self._task is None or self._task.uncancel() > 0:
                raise
            self._count_undelivered()
        finally:
            request.leaving.remove_done_callback(self._left)
            self._gateway.peers.remove(self)
            self._gateway.event_log.unsubscribe(self._follower)

    def _count_undelivered(self) -> None:
        self._gateway.undelivered += self._log.visible - self._follower.position

    def _left(self, leaving: asyncio.Task[None]) -> None:  # noqa: ARG002
        self._finish()

    async def _follow(self, send: Send) -> None:
        follower = self._follower
        while not self._ended.is_set():
            self._wake.clear()
            while follower.behind and not self._ended.is_set():
                batch = await self._gateway.event_log.read(self._log, follower.position, CHUNK_BYTES)
                if batch is None:
                    if self._log.removed(follower.position):
                        await self._tell_lost(send)
                        return
                    break
                if self._log.key.user_id != self.principal.user_id:
                    self._gateway.isolation.violated(self._log.key, self.principal.user_id)
                    return
                if self._run is not None and batch.run_id != self._run.run_id:
                    follower.position = batch.last_seq
                    continue
                messages = []
                for seq, event in enumerate(batch.events, batch.first_seq):
                    shown = event if self._translate is None else self._translate(event)
                    if shown is not None:
                        messages.append(self._message(seq, shown))
                follower.position = batch.last_seq
                await self._send_body(send, b"".join(messages))
                self._gateway.delivered += len(messages)
                if self._run is not None and batch.events[-1].startswith(_TERMINAL):
                    return
            if self._ended.is_set():
                break
            if self._gateway.clock.monotonic() - self._last_sent >= KEEP_ALIVE:
                await self._send_body(send, b": still here\n\n")
            await self._wake.wait()
        if self._run is not None and self._log.deleted:
            # Its events are gone, its end too; the client that waits for one is told.
            await self._send_body(send, b"data: %b\n\n" % encode(RunError("the thread was deleted", code="cancelled")))

    async def _tell_lost(self, send: Send) -> None:
        """What the client waits for is gone. One that follows a thread comes back with its cursor and is told of the
        gap; one that asked for a run that has ended gets what is left of it: the history, and how it ended."""
        row = self._run
        if row is None or row.status not in ENDED:
            return
        _, snapshot = await self._gateway.snapshot(self._log)
        thread_id = self._log.key.thread_id
        end: RunFinished | RunError
        if row.error is not None:
            end = RunError("the events of this run are no longer held", code=row.error)
        else:
            outcome = CancelledOutcome() if row.status == "cancelled" else SuccessOutcome()
            end = RunFinished(thread_id, row.run_id, outcome=outcome)
        for event in (encode(RunStarted(thread_id, row.run_id)), snapshot, encode(end)):
            shown = event if self._translate is None else self._translate(event)
            if shown is not None:
                await self._send_body(send, b"data: %b\n\n" % shown)

    def _message(self, seq: int, event: bytes) -> bytes:
        return b"id: %b.%d\ndata: %b\n\n" % (self._log.epoch.encode(), seq, event)

    async def _send_body(self, send: Send, body: bytes) -> None:
        if body:
            await self._send(send, {"type": "http.response.body", "body": body, "more_body": True})
            self._last_sent = self._gateway.clock.monotonic()

    async def _send(self, send: Send, message: Message) -> None:
        self._sending_since = self._gateway.clock.monotonic()
        try:
            await send(message)
        finally:
            self._sending_since = None
