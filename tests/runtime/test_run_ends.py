"""How runs ended can be read when their messages are all that is shown, for as long as the events are held."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from goldenpath.runtime.run import Run
from goldenpath.wire import events as ev
from goldenpath.wire.answers import RunEnd
from goldenpath.wire.errors import RequestError
from goldenpath.wire.messages import Message, ResumeEntry, RunAgentInput, ToolMessage, UserMessage
from tests.runtime.runs import Runs, principal, turns
from tests.runtime.stagehand import Stagehand

ANN = principal()


@pytest.fixture(params=["in memory", "in segments"])
async def runs(request: pytest.FixtureRequest) -> AsyncIterator[Runs]:
    """Runs whose events stay in memory, or whose logs keep none there."""
    limits: dict[str, Any] = {} if request.param == "in memory" else {"segment_bytes": 1, "cache_bytes": 0}
    async with Runs(**limits).running() as running:
        yield running


async def ends(runs: Runs) -> list[RunEnd]:
    _, found, _ = await runs.dispatcher.ends(ANN, "t1")
    return found


async def is_complete(runs: Runs) -> bool:
    _, _, complete = await runs.dispatcher.ends(ANN, "t1")
    return complete


def facts(found: list[RunEnd]) -> list[tuple[str, str]]:
    """Each run and how it ended."""
    said = []
    for end in found:
        event = ev.decode_event(bytes(end.event))
        if isinstance(event, ev.RunError):
            said.append((end.run_id, str(event.code)))
        elif isinstance(event, ev.RunFinished) and event.outcome is not None:
            said.append((end.run_id, str(event.outcome.__struct_config__.tag)))
    return said


def given(*messages: Message, resume: list[ResumeEntry] | None = None) -> RunAgentInput:
    return RunAgentInput(messages=list(messages), resume=resume)


async def fails(_: Run) -> None:
    raise RequestError("timeout", "before any word")


async def test_only_what_the_messages_do_not_say_is_told_and_in_order(runs: Runs, hand: Stagehand) -> None:
    runs.agents.add("fails", fails)
    assert (await runs.over(await runs.start("quick", "plain")))[-1].__struct_config__.tag == "RUN_FINISHED"
    failed = await runs.start("fails", "failed", run_input=given(UserMessage("hi", id="u1")))
    await runs.over(failed)
    running = await runs.start("waits", "stopped", run_input=given(UserMessage("go", id="u2")))
    withdrawn = await runs.start("quick", "withdrawn", run_input=given(UserMessage("wait", id="u3")))
    await turns()
    await runs.dispatcher.cancel(ANN, "t1", None)
    for accepted in (running, withdrawn):
        await runs.over(accepted)
    await runs.start("waits", "runs-on")
    await turns()
    found = await ends(runs)
    assert facts(found) == [("failed", "timeout"), ("stopped", "cancelled"), ("withdrawn", "cancelled")]
    assert [end.after[0] for end in found if end.run_id != "stopped"] == ["u1", "u3"]
    said = [message.id for message in await runs.history()]
    assert found[1].after[:2] == [said[said.index("u2") + 1], "u2"]
    assert [end.seq for end in found] == [accepted.run.last_seq for accepted in (failed, running, withdrawn)]
    hand.tell("runs-on")


async def test_a_question_has_what_the_next_run_brought_for_it(runs: Runs, hand: Stagehand) -> None:
    async def asks(run: Run) -> None:
        run.interrupt("approval", interrupt_id="i1")

    runs.agents.add("asks", asks)
    runs.agents.add("fails", fails)
    await runs.over(await runs.start("asks", "r1"))
    [asked] = await ends(runs)
    assert (asked.answers, asked.resume) == (None, None)
    answer = ResumeEntry(interrupt_id="i1", status="resolved", payload=True)
    waits = await runs.start("waits", "r2", run_input=given(resume=[answer]))
    await turns()
    [asked] = await ends(runs)
    assert asked.answers == [answer]  # also while the run that answers has not ended
    hand.tell("r2", fails)
    await runs.over(waits)
    asked, failed = await ends(runs)
    assert failed.resume == [answer]  # to be tried again
    await runs.over(await runs.start("asks", "r3"))
    await runs.over(await runs.start("quick", "r4"))
    assert [end.answers for end in await ends(runs)] == [[answer], None, []]


async def test_a_tool_call_left_to_the_client_has_its_result(runs: Runs, hand: Stagehand) -> None:
    async def calls(run: Run) -> None:
        async with run.tool_call("pick", tool_call_id="c1") as call:
            await call.args("{}")
        run.pending("c1")

    runs.agents.add("calls", calls)
    await runs.over(await runs.start("calls", "r1"))
    [pending] = await ends(runs)
    assert pending.answers is None
    assert pending.after[0] == "c1"
    result = ToolMessage("c1", "blue", id="m1")
    await runs.over(await runs.start("quick", "r2", run_input=given(result)))
    [pending] = await ends(runs)
    assert pending.answers == [ResumeEntry(interrupt_id="c1", status="resolved", payload="blue")]


async def test_what_retention_removed_is_left_out(runs: Runs, hand: Stagehand) -> None:
    runs.agents.add("fails", fails)
    await runs.over(await runs.start("fails", "old"))
    assert [end.run_id for end in await ends(runs)] == ["old"]
    runs.clock.advance(runs.settings.retention_age / 2 + 1)
    await runs.over(await runs.start("fails", "new"))
    runs.clock.advance(runs.settings.retention_age / 2 + 1)
    await runs.over(await runs.start("quick", "last"))
    await runs.meanwhile(runs.event_log.retention.enforce())
    async with runs.event_log.open(runs.key()) as log:
        assert log is not None
        log.drop(0)
    assert [end.run_id for end in await ends(runs)] == ["new"]
    assert not await is_complete(runs)


async def test_terminal_events_are_told_within_a_bound_the_newest_first() -> None:
    async def returns(run: Run) -> str:
        return "x" * (10_000 if run.context.run_id == "large" else 1000)

    async with Runs(max_history_bytes=13_000).running() as runs:
        runs.agents.add("returns", returns)
        for run_id in ("small", "large", "later"):
            await runs.over(await runs.start("returns", run_id))
        assert await is_complete(runs)
        await runs.over(await runs.start("returns", "last"))
        assert [end.run_id for end in await ends(runs)] == ["large", "later", "last"]
        assert not await is_complete(runs)


async def test_what_was_answered_counts_as_well() -> None:
    async def asks(run: Run) -> None:
        run.interrupt("approval", interrupt_id="i1")

    async with Runs(max_history_bytes=40_000).running() as runs:
        runs.agents.add("asks", asks)
        for number in range(8):
            answer = ResumeEntry(interrupt_id="i1", status="resolved", payload="x" * 4000)
            await runs.over(await runs.start("asks", f"r{number}", run_input=given(resume=[answer])))
        found = await ends(runs)
        size = len(msgspec.json.encode(found))
        assert not await is_complete(runs)
    assert 20_000 < size < 41_000
    assert found[-1].run_id == "r7"


async def test_a_thread_of_somebody_else_has_no_ends(runs: Runs, hand: Stagehand) -> None:
    await runs.over(await runs.start("quick", "r1"))
    with pytest.raises(RequestError) as refused:
        await runs.dispatcher.ends(principal("bob"), "t1")
    assert refused.value.code == "not_found"


def test_an_end_is_sent_as_the_log_holds_it() -> None:
    sealed = b'{"type":"RUN_ERROR","message":"x","unknown":1}'
    end = RunEnd("r", 3, msgspec.Raw(sealed), ["u"], None, None)
    assert msgspec.json.encode(end).startswith(b'{"run_id":"r","seq":3,"event":' + sealed)
