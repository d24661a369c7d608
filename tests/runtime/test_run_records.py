"""The timelines that operators look at: when, never what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.clock import ManualClock
from goldenpath.runtime.breakers import Breakers
from goldenpath.runtime.dependencies import DependencyUnavailableError
from goldenpath.runtime.run_records import MAX_NAME, MAX_STEPS, RecordedCall, RunRecord, RunRecords, Step
from goldenpath.wire import events as ev


def accept(records: RunRecords, user: str = "ann", now: float = 0.0) -> RunRecord:
    record = RunRecord(user, "free", "t1", "r1", "echo", now, 1000.0 + now)
    records.accept(record)
    return record


def test_a_tool_call_takes_from_its_start_to_its_result_and_a_step_to_its_end() -> None:
    record = accept(RunRecords())
    record.note(ev.ToolCallStart("c1", "search"), 1.0)
    record.note(ev.StepStarted("think"), 1.5)
    record.note(ev.ToolCallResult("m1", "c1", "a secret"), 3.0)
    record.note(ev.ToolCallResult("m2", "of another run", "x"), 3.5)
    record.note(ev.StepFinished("think"), 4.0)
    assert [(step.kind, step.name, step.began, step.ended) for step in record.steps] == [
        ("tool", "search", 1.0, 3.0),
        ("step", "think", 1.5, 4.0),
    ]
    assert "secret" not in repr(record.steps)


def test_a_call_is_noted_with_how_it_ended_and_whoever_traces_is_told_too() -> None:
    told: list[object] = []

    class Inner:
        def begins(self) -> None:
            told.append("begins")

        def ends(self, error: BaseException | None) -> None:
            told.append(error)

    clock, record = ManualClock(), accept(RunRecords())
    call, error = RecordedCall(record, "model:llama", clock, Inner()), ValueError()
    call.begins()
    call.ends(error)
    assert [(step.kind, step.name, step.failed) for step in record.steps] == [("call", "model:llama", True)]
    assert told == ["begins", error]


def test_a_call_that_was_refused_is_a_failed_step_of_no_length() -> None:
    clock, record = ManualClock(), accept(RunRecords())
    clock.advance(3.0)
    breakers = Breakers(clock, lambda: 0.0, {})
    with breakers.call("tool:search"):
        pass
    breakers.force("tool:search", "open")
    call = breakers.call("tool:search", span=RecordedCall(record, "tool:search", clock, None))
    with pytest.raises(DependencyUnavailableError), call:
        raise AssertionError("it was let through")
    now = clock.monotonic()
    assert record.steps == [Step("call", "tool:search", now, now, failed=True)]


def test_steps_and_names_are_bounded() -> None:
    record = accept(RunRecords())
    for number in range(MAX_STEPS + 5):
        record.note(ev.ToolCallStart(f"c{number}", "x" * 1000), 1.0)
        record.note(ev.ToolCallResult("m", f"c{number}", ""), 2.0)
    assert (len(record.steps), record.steps_dropped) == (MAX_STEPS, 5)
    assert all(len(step.name) == MAX_NAME for step in record.steps)


@given(ends=st.lists(st.integers(0, 30), max_size=60), kept=st.integers(1, 10))
def test_active_runs_are_all_there_and_of_the_ended_the_newest(ends: list[int], kept: int) -> None:
    records = RunRecords(kept)
    closed: list[RunRecord] = []
    records.on_close = closed.append
    made = [accept(records, now=float(number)) for number in range(31)]
    order = list(dict.fromkeys(ends))
    for place, number in enumerate(ends):
        records.close(made[number], "failed" if number % 2 else "finished", None, 100.0 + place)
    assert closed == [made[number] for number in order]
    assert list(records.active()) == [record for record in reversed(made) if record not in closed]
    assert list(records.recent()) == closed[::-1][:kept]
    assert (records.ended, records.failed) == (len(order), sum(number % 2 for number in order))
    for record in made:
        held = record not in closed or record in closed[-kept:]
        assert (records.get(record.number) is record) is held
