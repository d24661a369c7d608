"""The operator page's server side: a sample each second, the load of users, the sections, and who looks at them.

Samples are made all the time, so that a page that opens shows the last ten minutes; sections are read only while
somebody looks. What this costs is in docs/howto/dashboard.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec
import structlog

from goldenpath.runtime.context import Principal
from goldenpath.runtime.dashboard.board import Board, Section
from goldenpath.runtime.dashboard.history import History
from goldenpath.runtime.dashboard.load import Load
from goldenpath.runtime.dashboard.owners import Owners
from goldenpath.runtime.dashboard.sampler import Reading, Sampler
from goldenpath.runtime.footprint import resident_bytes
from goldenpath.runtime.gateway.gateway import Gateway
from goldenpath.runtime.gateway.live import MAX_MESSAGE, LiveConnection, Viewers
from goldenpath.runtime.gateway.request import Answer, Request, no_upgrade
from goldenpath.runtime.gateway.routes import Route
from goldenpath.runtime.gateway.run_calls import RunCalls
from goldenpath.runtime.gateway.upgrade import SocketPath
from goldenpath.runtime.health import breaches
from goldenpath.runtime.operators import OPERATOR
from goldenpath.runtime.run_records import RunRecord, RunRecords
from goldenpath.runtime.startup import Startup
from goldenpath.wire import answers
from goldenpath.wire.live import LiveHistory, LiveSnapshot

PATH: Final = "/v1/admin/live"
INTERVAL: Final = 1.0
"""Seconds between two samples."""
LOAD_INTERVAL: Final = 5.0
"""Seconds between two looks at what the runs that have not ended have caused so far; while somebody looks `SHORT`."""
SHORT: Final = 2.0
TOP: Final = 10
"""How many users of each measure are shown."""
SHOWN_RUNS: Final = 25
"""How many runs that have not ended, and how many that have, are shown."""

_logger = structlog.get_logger("goldenpath.dashboard")


class OperatorPage:
    """One server's. `sections` are those of other parts. Belongs to the event loop's thread."""

    def __init__(
        self,
        gateway: Gateway,
        records: RunRecords,
        startup: Startup,
        secret: bytes,
        version: str,
        sections: Mapping[str, Callable[[], object]],
    ) -> None:
        self._gateway = gateway
        self._records = records
        self._startup = startup
        self._version = version
        self._clock = gateway.clock
        self._owners = Owners(secret)
        self._calls = RunCalls(records, self._owners, gateway.clock)
        self._sampler = Sampler(self._read, gateway.signals)
        self._history = History()
        self._load = Load()
        self._load_due = float("-inf")
        self._viewers = Viewers()
        self._sample = b"null"
        self._board = Board(
            {
                "service": Section(self._service),
                "users": Section(self._users, names_users=True, every=LOAD_INTERVAL),
                "runs": Section(self._runs, names_users=True),
                **{name: Section(partial(_ignoring, read)) for name, read in sections.items()},
            }
        )
        records.on_close = self._ended
        self._task: asyncio.Task[None] | None = None
        self.statistics = self._viewers.statistics
        gateway.sockets[PATH] = SocketPath(partial(LiveConnection, gateway, self, self._viewers), MAX_MESSAGE, OPERATOR)

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET", PATH, "live", "Open the live view, a WebSocket", 101, "operators", own=_no_upgrade,
                permission=OPERATOR, upgrade=True,
            ),
            *self._calls.routes(),
        ]  # fmt: skip

    def start(self) -> None:
        """Take samples from now on."""
        self._task = asyncio.create_task(self._tell(), name="goldenpath-dashboard")

    async def stop(self) -> None:
        """Take no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _tell(self) -> None:
        while True:
            try:
                self.tick()
            except Exception:
                _logger.exception("sample_failed")
            await self._clock.sleep(INTERVAL)

    def tick(self) -> None:
        """Take a sample, and show it to who looks."""
        now = self._clock.monotonic()
        sample = self._sampler.sample(now, self._clock.time())
        self._history.add(sample)
        self._sample = msgspec.json.encode(sample)
        if now >= self._load_due:
            self._load_due = now + (SHORT if len(self._viewers) else LOAD_INTERVAL)
            self._count_running(now)
        if len(self._viewers):
            self._board.refresh(now)
            self._viewers.show(self._snapshot)

    # --- View ---------------------------------------------------------------------------------------------------------

    def welcome(self, viewer: LiveConnection) -> None:
        """Show `viewer` the history and all sections."""
        self._board.refresh(self._clock.monotonic())
        viewer.tell(LiveHistory(INTERVAL, viewer.identities, self._history.columns()))
        viewer.tell(self._snapshot(viewer))

    def _snapshot(self, viewer: LiveConnection) -> LiveSnapshot:
        sections = self._board.changed(viewer.seen, names_users=viewer.identities)
        viewer.seen = self._board.version
        return LiveSnapshot(msgspec.Raw(self._sample), sections)

    # --- what is told -------------------------------------------------------------------------------------------------

    def _read(self) -> Reading:
        gateway = self._gateway
        peers, admission = gateway.peers.statistics(), gateway.scheduler.admission.statistics()
        return Reading(
            connections=peers.connected,
            users=peers.users,
            running=admission.running,
            waiting=admission.waiting,
            events=gateway.commits.events,
            ended=self._records.ended,
            failed=self._records.failed,
            rss_bytes=resident_bytes(),
        )

    def _service(self, _: bool) -> answers.ServiceInfo:
        gateway, now = self._gateway, self._clock.monotonic()
        draining = gateway.scheduler.draining
        ready = gateway.ready and self._startup.ready and gateway.commits.healthy
        return answers.ServiceInfo(
            version=self._version,
            environment=gateway.settings.environment,
            state="draining" if draining else "ready" if ready else "not_ready",
            log_healthy=gateway.commits.healthy,
            breaches=breaches(gateway.signals, now),
            dependencies=[
                answers.DependencyInfo(finding.what, finding.verdict, finding.found)
                for finding in self._startup.findings()
            ],
            viewers=len(self._viewers),
        )

    def _count_running(self, now: float) -> None:
        for record, events, size in self._gateway.scheduler.progress():
            record.events, record.bytes = events, size
            self._count(record, now)

    def _ended(self, record: RunRecord) -> None:
        now = self._clock.monotonic()
        self._load.add("runs", record.user_id, 1, now)
        self._count(record, now)

    def _count(self, record: RunRecord, now: float) -> None:
        self._load.add("events", record.user_id, record.events - record.counted_events, now)
        self._load.add("bytes", record.user_id, record.bytes - record.counted_bytes, now)
        record.counted_events, record.counted_bytes = record.events, record.bytes

    def _users(self, identities: bool) -> list[answers.TopUser]:
        peers = self._gateway.peers
        connected = dict(peers.most_connected(TOP))
        return [
            answers.TopUser(
                owner=self._owners.name(load.user_id, identities=identities),
                connections=peers.connections_of(load.user_id),
                runs=load.runs,
                events=load.events,
                bytes=load.bytes,
            )
            for load in self._load.top(TOP, self._clock.monotonic(), connected)
        ]

    def _runs(self, identities: bool) -> answers.RecentRuns:
        return self._calls.view(SHOWN_RUNS, identities=identities)


def _ignoring(read: Callable[[], object], _: bool) -> object:
    return read()


async def _no_upgrade(request: Request, principal: Principal) -> Answer:  # noqa: ARG001 - the calls' one form
    return no_upgrade()
