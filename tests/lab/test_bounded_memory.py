"""What a judge remembers does not grow with the history: with users, and with what is open at a time, it may."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from goldenpath.lab import judge as judging
from goldenpath.lab import timeline
from goldenpath.lab.checker import Finding
from goldenpath.lab.checkers import (
    accounting,
    cancel,
    history,
    isolation,
    resume,
    snapshot,
    standard_checkers,
    whole_checkers,
)
from goldenpath.lab.judge import Judge
from goldenpath.lab.measurements import Measurements
from goldenpath.lab.records import Record
from goldenpath.lab.timeline import Timeline
from tests.lab.histories import CANARIES, EPOCH, FORMAT, Script, whole_run

SETTLED = 400
"""Runs after which every bound of the test is reached. Of what goes up and down, it is at the same place as `RUNS`."""
RUNS = 1_600
GROWTH = 3
"""Bytes for each run more that are no growth: counters that are larger, dictionaries that are made anew. The smallest
thing that can be remembered of a run takes four."""


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds are the same, but reached at once."""
    for module, name, bound in (
        (judging, "_THREADS", 20),
        (judging, "_AWAY", 20),
        (history, "_REMEMBERED", 20_000),
        (snapshot, "_REMEMBERED", 1_000),
        (isolation, "_RUNS", 20),
        (isolation, "_THREADS", 20),
        (resume, "_LOGS", 20),
        (resume, "_RUNS", 20),
        (cancel, "_CALLED", 20),
        (accounting, "_REFUSED", 20),
        (timeline, "MAX_POINTS", 20),
        (timeline, "MAX_BINS", 20),
    ):
        monkeypatch.setattr(module, name, bound)


def in_the_same_thread(script: Script, number: int) -> None:
    """One long conversation."""
    connection = 1 if number else script.open()
    ask(script, connection, "t", number, after=6 * number)


def in_another_thread(script: Script, number: int) -> None:
    """Of one viewer, who has a hundred of them open at a time."""
    before, place = divmod(number, 100)
    if before and not place:
        script.close(before, ours=True)
    connection = before + 1 if place else script.open()
    ask(script, connection, f"t{number}", number)


def in_another_tab(script: Script, number: int) -> None:
    """Each with its own connection, and none is heard of again."""
    connection = script.open(viewer=number)
    ask(script, connection, f"t{number}", number)
    script.close(connection, ours=True)


def over_a_connection_of_its_own(script: Script, number: int) -> None:
    connection = script.open(viewer=None)
    ask(script, connection, f"t{number}", number)
    script.close(connection)


def refused_or_given_up(script: Script, number: int) -> None:
    connection = 1 if number else script.open()
    op = script.ask(connection, run=f"r{number}", thread=f"t{number}")
    cancel = script.invoke("cancel", connection=connection, thread=op.thread, run=op.run)
    script.complete(cancel, "fail", "not_found")
    script.complete(op, *(("fail", "busy") if number % 2 else ("info", "abandoned")))


def ask(script: Script, connection: int, thread: str, number: int, *, after: int = 0) -> None:
    op = script.ask(connection, run=f"r{number}", thread=thread, answer="hello")
    script.reply(op, after, connection=connection)
    script.send(*whole_run(run=op.run, thread=thread, after=after), connection=connection)
    script.complete(op)


def runs(what: Callable[[Script, int], None]) -> Iterator[list[Record]]:
    """The records of one after another."""
    script = Script()
    for number in range(RUNS):
        what(script, number)
        yield script.records
        script.records = []


class Judged:
    """All checkers there are, as a stored run is judged."""

    def __init__(self) -> None:
        self._measurements, self._timeline = Measurements(), Timeline(0.0)
        checkers = [*standard_checkers(FORMAT, CANARIES), *whole_checkers(), self._measurements, self._timeline]
        self._judge = Judge(FORMAT, checkers)

    def take(self, record: Record) -> None:
        self._judge.take(record)

    def held(self) -> int:
        """Bytes."""
        self._measurements.tick()
        self._timeline.fold()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    def wrong(self) -> list[Finding]:
        return [finding for finding in self._judge.findings() if finding.counts or finding.broken]


@pytest.mark.parametrize(
    "what", [in_the_same_thread, in_another_thread, in_another_tab, over_a_connection_of_its_own, refused_or_given_up]
)
def test_memory_does_not_grow_with_the_number_of_events(what: Callable[[Script, int], None]) -> None:
    judged = Judged()
    settled = 0
    tracemalloc.start()
    try:
        for number, run in enumerate(runs(what), 1):
            for record in run:
                judged.take(record)
            if number == SETTLED:
                settled = judged.held()
        grown = judged.held() - settled
    finally:
        tracemalloc.stop()
    assert judged.wrong() == []
    assert grown < GROWTH * (RUNS - SETTLED)


def test_a_thread_that_was_forgotten_goes_on_where_it_stood() -> None:
    """What is not known any more is neither lost nor a duplicate, a stranger's or another log."""
    script = Script()
    connection = script.open()
    for number in range(100):
        ask(script, connection, f"t{number}", number)
    ask(script, connection, "t0", 100, after=6)  # the server knows that it is attached; its seq says nothing new
    op = script.ask(connection, run="r101", thread="t1", answer="hello")
    script.send(*whole_run(run=op.run, thread="t1", after=6), connection=connection)
    script.complete(op)
    script.close(connection)
    connection = script.open()
    attach = script.invoke("attach", connection=connection, thread="t1", epoch=EPOCH, after=12)
    script.reply(attach, 12, connection=connection)
    script.complete(attach)
    judged = Judged()
    for record in script.records:
        judged.take(record)
    assert judged.wrong() == []


def test_a_viewer_who_was_forgotten_comes_back() -> None:
    script = Script()
    for number in range(100):
        in_another_tab(script, number)
    connection = script.open(viewer=0)
    attach = script.invoke("attach", connection=connection, thread="t0", epoch=EPOCH, after=6)
    script.reply(attach, 6, connection=connection)
    script.complete(attach)
    ask(script, connection, "t0", 100, after=6)
    judged = Judged()
    for record in script.records:
        judged.take(record)
    assert judged.wrong() == []


def test_an_event_of_a_thread_that_is_known_is_still_lost_when_others_were_forgotten() -> None:
    script = Script()
    connection = script.open()
    for number in range(100):
        ask(script, connection, f"t{number}", number)
    op = script.ask(connection, run="r100", thread="t99")
    lines = whole_run(run=op.run, thread="t99", after=6)
    script.send(*lines[:2], *lines[3:], connection=connection)
    script.complete(op)
    judged = Judged()
    for record in script.records:
        judged.take(record)
    assert [finding.counts for finding in judged.wrong()] == [{"lost": 1}]
