"""A plain function says what an async agent can say, from a thread of its own, and stops nobody."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from goldenpath.runtime.run import Run
from goldenpath.runtime.spans import TextStream, ToolCallStream
from goldenpath.runtime.sync_run import SyncRun, SyncTextStream, SyncToolCallStream
from goldenpath.wire import events as ev
from goldenpath.wire.errors import RequestError
from goldenpath.wire.order import OrderError
from tests.runtime.runs import Runs, kinds, principal, terminal, until

ASYNC_ONLY = {
    "spawn", "in_thread", "when_threads_end", "append", "keep_pace", "closed", "order", "group", "cleanups", "within",
    "bounded", "excused", "mark", "size",
}  # fmt: skip
"""What of a `Run` is for tasks of the event loop, for the engine, or for the streams."""


@pytest.fixture
async def runs() -> AsyncIterator[Runs]:
    async with Runs().running() as running:
        yield running


class Gate:
    """Where a plain function waits until the test lets it on, and the test until it is there."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.reached = asyncio.Event()
        self._open = threading.Event()

    def wait(self) -> None:
        self._loop.call_soon_threadsafe(self.reached.set)
        assert self._open.wait(20)

    def open(self) -> None:
        self._open.set()


async def play(runs: Runs, agent: Callable[[SyncRun], object]) -> list[ev.Event]:
    runs.agents.add("plain", agent)
    return await runs.over(await runs.start("plain"))


@pytest.mark.parametrize(
    ("sync", "other"), [(SyncRun, Run), (SyncTextStream, TextStream), (SyncToolCallStream, ToolCallStream)]
)
def test_a_plain_function_has_the_names_and_arguments_of_an_async_agent(sync: type, other: type) -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(other) - public(sync) - ASYNC_ONLY == set()
    for name in public(sync) & public(other):
        ours, theirs = getattr(sync, name), getattr(other, name)
        if inspect.isfunction(ours) and inspect.isfunction(theirs):
            assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters), name


async def test_what_a_plain_function_says_is_what_an_async_agent_says(runs: Runs) -> None:
    def plain(run: SyncRun) -> str:
        with run.step("s"), run.message(message_id="m", name="bot") as message:
            message.write("a")
            message.write("b")
            assert message.id == "m"
        with run.reasoning(message_id="r") as thought:
            thought.write("hm")
        with run.tool_call("search", tool_call_id="c") as call:
            call.args("{}")
            assert call.id == "c"
        run.tool_result("c", "found", message_id="x")
        run.state({"a": 1})
        run.state_delta([{"op": "add", "path": "/b", "value": 2}])
        run.custom("note", 1)
        run.emit(ev.Custom("note", 2))
        run.text(run.user_text, message_id="t")
        run.usage({"inputTokens": 1})
        run.pending("c")
        return "done"

    async def other(run: Run) -> str:
        async with run.step("s"), run.message(message_id="m", name="bot") as message:
            await message.write("a")
            await message.write("b")
        async with run.reasoning(message_id="r") as thought:
            await thought.write("hm")
        async with run.tool_call("search", tool_call_id="c") as call:
            await call.args("{}")
        await run.tool_result("c", "found", message_id="x")
        await run.state({"a": 1})
        await run.state_delta([{"op": "add", "path": "/b", "value": 2}])
        await run.custom("note", 1)
        await run.emit(ev.Custom("note", 2))
        await run.text(run.user_text, message_id="t")
        run.usage({"inputTokens": 1})
        run.pending("c")
        return "done"

    runs.agents.add("other", other)
    said = await play(runs, plain)
    expected = await runs.over(await runs.start("other", thread="t2"))
    assert said[1:-1] == expected[1:-1]
    assert isinstance(said[-1], ev.RunFinished)
    assert isinstance(expected[-1], ev.RunFinished)
    assert said[-1].result == "done"
    assert (said[-1].result, said[-1].outcome, said[-1].usage) == (
        expected[-1].result,
        expected[-1].outcome,
        expected[-1].usage,
    )


async def test_a_plain_function_knows_who_asks_and_how_long_it_has(runs: Runs) -> None:
    known: list[object] = []

    def plain(run: SyncRun) -> None:
        known.extend([run.context.user_id, run.input.thread_id, len(run.messages), run.cancelled, run.deadline])
        known.extend([run.remaining(), run.clock is runs.clock, run.user_text])

    await play(runs, plain)
    limit = runs.settings.run_timeout
    assert known == ["ann", "t1", 1, False, limit, limit, True, "hello"]


async def test_each_plain_function_has_a_thread_and_the_event_loop_none_of_them(runs: Runs) -> None:
    """They all block at once, and another agent's run goes on as if they were not there."""
    gates: list[Gate] = [Gate() for _ in range(12)]
    threads: set[int] = set()

    def plain(run: SyncRun) -> None:
        threads.add(threading.get_ident())
        gates[int(run.user_text)].wait()

    async def quick(run: Run) -> None:
        await run.text("quick")

    runs.agents.add("plain", plain)
    runs.agents.add("quick", quick)
    blocked = [await runs.start("plain", thread="t", user=f"user{number}", text=str(number)) for number in range(12)]
    for gate in gates:
        await gate.reached.wait()
    assert terminal(await runs.over(await runs.start("quick"))) == "success"
    for gate in gates:
        gate.open()
    assert [terminal(await runs.over(each)) for each in blocked] == ["success"] * 12
    assert len(threads) == 12
    assert threading.get_ident() not in threads


async def test_a_cancelled_plain_function_learns_it_at_its_next_word(runs: Runs) -> None:
    gate = Gate()
    raised: list[type[BaseException]] = []

    def plain(run: SyncRun) -> None:
        with run.message(message_id="m") as message:
            message.write("so far")
            gate.wait()
            assert run.cancelled
            try:
                message.write("never said")
            except BaseException as error:
                raised.append(type(error))
                raise

    runs.agents.add("plain", plain)
    accepted = await runs.start("plain")
    await gate.reached.wait()
    await runs.dispatcher.cancel(principal(), "t1", "r1")
    gate.open()
    events = await runs.over(accepted)
    assert raised == [asyncio.CancelledError]
    assert terminal(events) == "cancelled"
    assert kinds(events)[1:-1] == ["TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"]


async def test_a_plain_function_that_never_looks_is_ended_after_the_grace_and_keeps_its_place(runs: Runs) -> None:
    gate = Gate()

    def plain(run: SyncRun) -> None:
        gate.wait()
        run.text("too late")

    runs.agents.add("plain", plain)
    accepted = await runs.start("plain")
    await gate.reached.wait()
    await runs.dispatcher.cancel(principal(), "t1", "r1")
    assert accepted.run.finished_at is None
    runs.clock.advance(runs.settings.cancel_grace)
    events = await runs.over(accepted)
    assert terminal(events) == "cancelled"
    assert runs.engines.statistics().active == 1
    gate.open()
    await until(lambda: runs.engines.statistics().active == 0)
    assert await runs.said(accepted) == events


async def test_a_plain_function_out_of_time_is_ended_with_timeout(runs: Runs) -> None:
    gate = Gate()

    def plain(run: SyncRun) -> None:
        gate.wait()
        run.text("too late")

    runs.agents.add("plain", plain, timeout=5)
    accepted = await runs.start("plain")
    await gate.reached.wait()
    runs.clock.advance(5)
    gate.open()
    assert terminal(await runs.over(accepted)) == "timeout"


async def test_what_goes_wrong_is_raised_where_it_was_asked_for(runs: Runs) -> None:
    errors: list[BaseException] = []

    def plain(run: SyncRun) -> None:
        calls: list[Callable[[], None]] = [
            lambda: run.emit(ev.TextMessageContent("nowhere", "x")),
            lambda: run.custom("big", "x" * runs.settings.max_event_bytes),
            lambda: run.state_delta([{"op": "explode", "path": ""}]),
        ]
        for call in calls:
            try:
                call()
            except Exception as error:  # noqa: BLE001 - the test looks at it
                errors.append(error)
        run.text("and on")

    assert terminal(await play(runs, plain)) == "success"
    assert [type(error) for error in errors][:2] == [OrderError, RequestError]
    assert "explode" in str(errors[2])


WRITES: dict[str, Callable[[SyncRun], None]] = {
    "message": lambda run: run.message().write("x"),
    "reasoning": lambda run: run.reasoning().write("x"),
    "tool_call": lambda run: run.tool_call("search").args("{}"),
}


@pytest.mark.parametrize("block", WRITES)
async def test_who_forgets_the_block_is_told_to_use_it(runs: Runs, block: str) -> None:
    with capture_logs() as logged:
        assert terminal(await play(runs, WRITES[block])) == "agent_error"
    (line,) = logged
    assert f"use `async with run.{block}(" in str(line["exc_info"])


async def test_an_error_in_a_block_closes_it_and_ends_the_run(runs: Runs) -> None:
    def plain(run: SyncRun) -> None:
        with run.step("s"), run.message(message_id="m") as message:
            message.write("so far")
            raise ZeroDivisionError

    events = await play(runs, plain)
    assert terminal(events) == "agent_error"
    assert kinds(events)[-3:] == ["TEXT_MESSAGE_END", "STEP_FINISHED", "RUN_ERROR"]


async def test_an_interrupt_asks(runs: Runs) -> None:
    def plain(run: SyncRun) -> None:
        run.interrupt("approval", message="May I?")

    assert terminal(await play(runs, plain)) == "interrupt"


async def test_clean_ups_are_called_off_the_event_loop_last_first(runs: Runs) -> None:
    called: list[tuple[str, bool]] = []
    loop_thread = threading.get_ident()

    def clean(name: str) -> Callable[[], None]:
        return lambda: called.append((name, threading.get_ident() != loop_thread))

    def plain(run: SyncRun) -> None:
        run.on_cleanup(clean("first"))
        run.on_cleanup(clean("second"))
        raise ValueError

    assert terminal(await play(runs, plain)) == "agent_error"
    assert called == [("second", True), ("first", True)]
