"""Runs get lost, are carried out twice, or do not stop when they are told to."""

from __future__ import annotations

from typing import Any

from goldenpath.lab.selftest.connection import Connection
from goldenpath.lab.selftest.faults.fault import Faulty, caught_by
from goldenpath.lab.selftest.reference import ReferenceServer
from goldenpath.lab.selftest.settings import Refusal
from goldenpath.lab.selftest.thread_log import AgUiEvent, Run, Thread


@caught_by("terminal", "endless")
class LostRun(Faulty):
    """A run is accepted, and never begins."""

    def accept(self, thread: Thread, run_id: str, text: str) -> Run:
        if self.strikes(8):
            return Run(thread, run_id, text)
        return super().accept(thread, run_id, text)


@caught_by("history", "duplicate", "retries")
class RunsTwice(ReferenceServer):
    """A run that is asked for again, as its reply got lost, is carried out again."""

    def run(self, connection: Connection, command: dict[str, Any]) -> dict[str, Any]:
        thread = self.find(connection.user, command["thread_id"], "run")
        if thread is not None:
            thread.runs.pop(command["run_id"], None)
        return super().run(connection, command)


@caught_by("accounting", "revived")
class RefusedAndDone(Faulty):
    """A run is refused, with certainty, and carried out."""

    def run(self, connection: Connection, command: dict[str, Any]) -> dict[str, Any]:
        reply = super().run(connection, command)
        if len(self.find(connection.user, command["thread_id"], "run").runs) > 1 and self.strikes(4):  # type: ignore[union-attr]
            raise Refusal(503, "overloaded", "come back later")
        return reply


@caught_by("cancel", "uncancelled", "cancels")
class IgnoredCancel(Faulty):
    """A cancel is acknowledged, and the run goes on to its end."""

    def cancel(self, run: Run) -> None:
        if not self.strikes(4):
            super().cancel(run)


@caught_by("cancel", "collateral", "cancels")
class CancelsAnother(Faulty):
    """A cancel stops another run of the same user as well."""

    def cancel(self, run: Run) -> None:
        super().cancel(run)
        for thread in self.listed(run.thread.user):
            for other in thread.queue:
                super().cancel(other)


@caught_by("cancel", "uncancelled", "cancels")
class CancelledAsSuccess(Faulty):
    """A run that was cancelled says that it went well."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        if event["type"] == "RUN_FINISHED" and self.strikes(4):
            event = {**event, "outcome": {"type": "success"}}
        super().append(run, event)


@caught_by("terminal", "endless", "cancels")
class CancelledWithoutEnd(Faulty):
    """A run that was cancelled just stops."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        if event["type"] != "RUN_FINISHED" or not run.cancelled:
            super().append(run, event)
