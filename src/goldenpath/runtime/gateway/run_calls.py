"""The operators' calls about runs: which there are, and when what of one happened. Never what was said in them.

Owners have names that tell nothing, and thread and run ids are left out, unless who asks has the permission
`operator:identities`. A run is asked for by the number of its record, which says nothing of whose it is.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from goldenpath.clock import Clock, rfc3339
from goldenpath.runtime.context import Principal
from goldenpath.runtime.dashboard.owners import IDENTITIES, Owners
from goldenpath.runtime.gateway.admin import admin_route
from goldenpath.runtime.gateway.request import Answer, Request, answer
from goldenpath.runtime.gateway.routes import Parameter, Route
from goldenpath.runtime.run_records import RunRecord, RunRecords, Step
from goldenpath.wire import answers
from goldenpath.wire.errors import RequestError

DEFAULT_RUNS: Final = 50
MAX_RUNS: Final = 500


class RunCalls:
    """The calls of one server."""

    def __init__(self, records: RunRecords, owners: Owners, clock: Clock) -> None:
        self._records = records
        self._owners = owners
        self._clock = clock

    def routes(self) -> list[Route]:
        page: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": MAX_RUNS}
        return [
            admin_route(
                "GET", "/runs", "recent_runs", "The runs of now, and those that ended lately", self.runs,
                errors=("bad_request",), answer=answers.RecentRuns,
                parameters=(
                    Parameter("limit", "query", page, "How many at most."),
                    Parameter("owner", "query", {"type": "string"}, "Only of this owner, as the answers name it."),
                ),
            ),
            admin_route(
                "GET", "/runs/{number}", "run_timeline", "When what of a run happened", self.timeline,
                errors=("bad_request", "not_found"), answer=answers.RunTimeline,
            ),
        ]  # fmt: skip

    async def runs(self, request: Request, principal: Principal) -> Answer:
        limit = request.limit(DEFAULT_RUNS, MAX_RUNS)
        owner = request.query("owner")
        return answer(self.view(limit, owner, identities=principal.may(IDENTITIES)))

    def view(self, limit: int, owner: str | None = None, *, identities: bool) -> answers.RecentRuns:
        """The newest runs that have not ended, then those that ended last: `limit` of each kind at most."""
        now, name = self._clock.monotonic(), self._owners.name

        def first(records: Any) -> list[answers.RecentRun]:
            wanted = (
                record for record in records if owner is None or name(record.user_id, identities=identities) == owner
            )
            return [self._row(record, now, identities=identities) for record in islice(wanted, limit)]

        return answers.RecentRuns(first(self._records.active()), first(self._records.recent()))

    async def timeline(self, request: Request, principal: Principal) -> Answer:
        given = request.name("number")
        record = self._records.get(int(given)) if given.isascii() and given.isdigit() and len(given) < 19 else None
        if record is None:
            raise RequestError("not_found", "there is no such run, or its timeline is not kept any more")
        identities, now = principal.may(IDENTITIES), self._clock.monotonic()
        return answer(
            answers.RunTimeline(
                run=self._row(record, now, identities=identities),
                tier=record.tier,
                thread_id=record.thread_id if identities else None,
                run_id=record.run_id if identities else None,
                moments=_moments(record),
                steps=[_step(record, step) for step in record.steps],
                steps_dropped=record.steps_dropped,
            )
        )

    def _row(self, record: RunRecord, now: float, *, identities: bool) -> answers.RecentRun:
        begun, ended = record.begun_at, record.ended_at
        waited = (begun or ended or now) - record.accepted_at
        return answers.RecentRun(
            number=record.number,
            owner=self._owners.name(record.user_id, identities=identities),
            agent=record.agent,
            status=record.status,
            accepted_at=rfc3339(record.accepted),
            queue_wait=round(waited, 3),
            first_words=_since(record, record.first_words_at),
            duration=None if begun is None else round((ended or now) - begun, 3),
            events=record.events,
            bytes=record.bytes,
            error=record.error,
            timed_out=record.timed_out,
        )


def _since(record: RunRecord, moment: float | None) -> float | None:
    return None if moment is None else round(moment - record.accepted_at, 4)


def _step(record: RunRecord, step: Step) -> answers.RunStep:
    began, ended = _since(record, step.began), _since(record, step.ended)
    return answers.RunStep(step.kind, step.name, began, ended, step.failed)


def _moments(record: RunRecord) -> list[answers.RunMoment]:
    times = (
        ("accepted", record.accepted_at),
        ("has its place", record.begun_at),
        ("history loaded", record.started_at),
        ("engine made", record.made_at),
        ("first words", record.first_words_at),
        ("ended", record.ended_at),
    )
    found = [answers.RunMoment(what, round(at - record.accepted_at, 4)) for what, at in times if at is not None]
    return sorted(found, key=lambda moment: moment.after)
