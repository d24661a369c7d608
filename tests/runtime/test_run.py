"""What an agent says is in the log as it said it, in its order, within its bounds, and nothing after the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldenpath.runtime.run import AHEAD_EVENTS, MAX_THREADS, Interrupted, Run
from goldenpath.runtime.spans import RunEndedError
from goldenpath.wire import events as ev
from goldenpath.wire.errors import RequestError
from goldenpath.wire.messages import AssistantMessage, Message, UserMessage
from goldenpath.wire.order import OrderError
from tests.runtime.logs import LiveRun, Logs
from tests.runtime.runs import kinds, make_run, turns, until


@pytest.fixture
def run(logs: Logs, live: LiveRun) -> Run:
    return make_run(logs, live)


async def said(logs: Logs) -> list[ev.Event]:
    """What stands after RUN_STARTED."""
    await logs.settle()
    return [ev.decode_event(event) for _, event in await logs.whole()][1:]


async def _message(run: Run) -> None:
    async with run.message(message_id="m", name="bot") as message:
        await message.write("a")
        await message.write("")
        await message.write('"\u2028\n')


async def _reasoning(run: Run) -> None:
    async with run.reasoning(message_id="r") as thought:
        await thought.write("hm")


async def _tool(run: Run) -> None:
    async with run.tool_call("search", tool_call_id="c", parent_message_id="m") as call:
        await call.args('{"q"')
        await call.args("")
        await call.args(":1}")
    await run.tool_result("c", "found", message_id="x")


async def _step(run: Run) -> None:
    async with run.step("plan"):
        await run.custom("note", {"n": 1})


async def _state(run: Run) -> None:
    await run.state({"a": 1})
    await run.state_delta([{"op": "add", "path": "/b", "value": 2}])


HELPERS: dict[str, tuple[Callable[[Run], Awaitable[object]], list[ev.Event]]] = {
    "text": (
        lambda run: run.text("whole", message_id="m"),
        [
            ev.TextMessageStart("m", role="assistant"),
            ev.TextMessageContent("m", "whole"),
            ev.TextMessageEnd("m"),
        ],
    ),
    "message": (
        _message,
        [
            ev.TextMessageStart("m", role="assistant", name="bot"),
            ev.TextMessageContent("m", "a"),
            ev.TextMessageContent("m", '"\u2028\n'),
            ev.TextMessageEnd("m"),
        ],
    ),
    "reasoning": (
        _reasoning,
        [
            ev.ReasoningStart("r"),
            ev.ReasoningMessageStart("r"),
            ev.ReasoningMessageContent("r", "hm"),
            ev.ReasoningMessageEnd("r"),
            ev.ReasoningEnd("r"),
        ],
    ),
    "tool": (
        _tool,
        [
            ev.ToolCallStart("c", "search", parent_message_id="m"),
            ev.ToolCallArgs("c", '{"q"'),
            ev.ToolCallArgs("c", ":1}"),
            ev.ToolCallEnd("c"),
            ev.ToolCallResult("x", "c", "found"),
        ],
    ),
    "step": (_step, [ev.StepStarted("plan"), ev.Custom("note", {"n": 1}), ev.StepFinished("plan")]),
    "state": (_state, [ev.StateSnapshot({"a": 1}), ev.StateDelta([{"op": "add", "path": "/b", "value": 2}])]),
}


@pytest.mark.parametrize("helper", HELPERS)
async def test_a_helper_says_what_its_events_say(logs: Logs, run: Run, helper: str) -> None:
    call, expected = HELPERS[helper]
    await call(run)
    assert await said(logs) == expected


@settings(max_examples=60, deadline=None)
@given(identity=st.text(min_size=1, max_size=20), delta=st.text(min_size=1, max_size=50))
def test_a_delta_has_the_bytes_that_its_event_has(identity: str, delta: str) -> None:
    async def scenario() -> None:
        async with Logs().running() as logs:
            live = await logs.accept()
            live.begin()
            async with make_run(logs, live).message(message_id=identity) as message:
                await message.write(delta)
            await logs.settle()
            events = [event for _, event in await logs.whole()]
            assert events[2] == ev.encode(ev.TextMessageContent(identity, delta))

    try:
        (identity + delta).encode()
    except UnicodeEncodeError:
        return
    asyncio.run(scenario())


BLOCKS: dict[str, Callable[[Run], AbstractAsyncContextManager[Any]]] = {
    "message": lambda run: run.message(),
    "reasoning": lambda run: run.reasoning(),
    "tool_call": lambda run: run.tool_call("t"),
    "step": lambda run: run.step("s"),
}


@pytest.mark.parametrize("block", BLOCKS)
async def test_a_block_that_is_left_by_an_error_is_closed_and_the_error_goes_on(
    logs: Logs, run: Run, block: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with BLOCKS[block](run):
            raise ZeroDivisionError
    assert run.order.closing() == []
    assert kinds(await said(logs))[-1].endswith(("END", "FINISHED"))


@pytest.mark.parametrize("block", BLOCKS)
async def test_a_block_that_is_left_after_the_end_says_nothing(logs: Logs, run: Run, block: str) -> None:
    async with BLOCKS[block](run):
        before = run._log.head
        run.ended = True
    assert run._log.head == before
    await logs.settle()


async def test_after_the_end_every_word_is_refused(logs: Logs, run: Run) -> None:
    async with run.message(message_id="m") as message, run.tool_call("t") as call:
        before = run._log.head
        run.ended = True
        words: list[Callable[[], Awaitable[object]]] = [
            lambda: run.text("x"),
            lambda: run.custom("x", 1),
            lambda: run.state({}),
            lambda: run.tool_result("c", "x"),
            lambda: run.emit(ev.StepStarted("s")),
            lambda: message.write("x"),
            lambda: call.args("x"),
        ]
        for word in words:
            with pytest.raises(RunEndedError):
                await word()
    assert run._log.head == before
    await logs.settle()


async def test_a_closed_stream_takes_no_more_and_a_delta_is_text(run: Run) -> None:
    async with run.message() as message:
        with pytest.raises(TypeError, match="not int"):
            await message.write(5)  # type: ignore[arg-type]
    with pytest.raises(OrderError, match=r"use `async with run.message\(\)`"):
        await message.write("late")


WRITES: dict[str, Callable[[Run], Awaitable[None]]] = {
    "message()": lambda run: run.message().write("x"),
    "reasoning()": lambda run: run.reasoning().write("x"),
    "tool_call(...)": lambda run: run.tool_call("search").args("{}"),
}


@pytest.mark.parametrize("block", WRITES)
async def test_who_forgets_the_block_is_told_to_use_it(logs: Logs, run: Run, block: str) -> None:
    before = run._log.head
    with pytest.raises(OrderError) as refused:
        await WRITES[block](run)
    assert f"use `async with run.{block}` (in a plain function `with`)" in str(refused.value)
    assert run._log.head == before
    await logs.settle()


async def test_what_has_no_place_is_refused_and_leaves_nothing(logs: Logs, run: Run) -> None:
    before = run._log.head
    with pytest.raises(OrderError):
        await run.emit(ev.TextMessageContent("nowhere", "x"))
    with pytest.raises(OrderError):
        await run.emit(ev.StepFinished("never begun"))
    with pytest.raises(TypeError, match="START, CONTENT and END"):
        await run.emit(ev.TextMessageChunk("m", delta="x"))
    with pytest.raises(ValueError, match="unknown operation"):
        await run.state_delta([{"op": "explode", "path": "/"}])
    assert run._log.head == before
    await logs.settle()


# --- budgets ----------------------------------------------------------------------------------------------------------


async def test_an_event_has_a_largest_size_and_one_byte_more_is_refused(logs: Logs, live: LiveRun) -> None:
    size = len(ev.encode(ev.Custom("n", "x" * 100)))
    run = make_run(logs, live, max_event_bytes=size)
    await run.custom("n", "x" * 100)
    before = run._log.head
    with pytest.raises(RequestError) as refused:
        await run.custom("n", "x" * 101)
    assert refused.value.code == "payload_too_large"
    assert run._log.head == before


async def test_a_run_has_a_largest_size_however_it_is_said(logs: Logs, live: LiveRun) -> None:
    run = make_run(logs, live, max_run_bytes=2000)

    async def talk() -> None:
        async with run.message() as message:
            while True:
                await message.write("x" * 100)

    with pytest.raises(RequestError, match="more than 2000 bytes") as refused:
        await talk()
    assert refused.value.code == "payload_too_large"
    assert run._log.size < 2600


async def test_what_the_last_event_carries_is_bounded_together(logs: Logs, live: LiveRun) -> None:
    tokens = {"model": "m", "inputTokens": 7}
    size = len(ev.encode(tokens))
    run = make_run(logs, live, max_event_bytes=2 * size + len('"call"'))
    run.usage(tokens)
    run.pending("call")
    run.usage(tokens)
    too_much: list[Callable[[], None]] = [lambda: run.usage(tokens), lambda: run.pending("c")]
    for more in too_much:
        with pytest.raises(RequestError) as refused:
            more()
        assert refused.value.code == "payload_too_large"
    tokens["inputTokens"] = 8
    assert run.token_usage == [{"model": "m", "inputTokens": 7}] * 2
    assert run.pending_tool_calls == ["call"]


@pytest.mark.parametrize("count", [-1, 1.5, True, "7", None])
def test_tokens_are_counted_in_whole_numbers(count: object) -> None:
    async def scenario() -> None:
        logs = Logs()
        run = make_run(logs, await _accepted(logs))
        with pytest.raises(ValueError, match="outputTokens"):
            run.usage({"outputTokens": count})
        assert run.token_usage == []

    asyncio.run(scenario())


async def _accepted(logs: Logs) -> LiveRun:
    async with logs.running():
        return await logs.accept()


async def test_usage_is_json(run: Run) -> None:
    with pytest.raises(TypeError):
        run.usage({"model": object()})
    assert run.token_usage == []


async def test_an_agent_waits_when_it_is_too_far_ahead_of_the_disk(logs: Logs, run: Run) -> None:
    await logs.settle()
    logs.store.hold_commits()
    written = 0

    async def talk() -> None:
        nonlocal written
        async with run.message() as message:
            for _ in range(3 * AHEAD_EVENTS):
                await message.write("x")
                written += 1

    task = asyncio.create_task(talk())
    await turns(50)
    assert written == AHEAD_EVENTS - 2  # and the START, and the one it waits with
    logs.store.release_commits()
    await logs.meanwhile(task)
    assert len(await said(logs)) == 3 * AHEAD_EVENTS + 2


async def test_an_agent_that_waits_for_the_disk_is_told_that_its_thread_was_deleted(logs: Logs, run: Run) -> None:
    await logs.settle()
    logs.store.hold_commits()

    async def talk() -> None:
        while True:
            await run.custom("n", 1)

    task = asyncio.create_task(talk())
    await turns(50)
    logs.event_log.delete(run._log)
    with pytest.raises(RunEndedError):
        await task


# --- its own ----------------------------------------------------------------------------------------------------------


async def test_messages_are_the_runs_own_copy(logs: Logs, live: LiveRun) -> None:
    history: list[Message] = [
        UserMessage("first", id="1"),
        AssistantMessage(content="reply", id="2"),
        UserMessage("second", id="3"),
    ]
    one, other = make_run(logs, live, messages=history), make_run(logs, live, messages=history)
    assert one.messages == history
    assert one.user_text == "second"
    changed = one.messages[2]
    assert isinstance(changed, UserMessage)
    changed.content = "changed"
    del one.messages[0]
    assert other.messages == history
    assert history[2].content == "second"
    assert one.user_text == "second"


async def test_without_a_user_message_the_users_text_is_empty(run: Run) -> None:
    assert run.user_text == ""


async def test_an_interrupt_ends_the_run_with_its_question(run: Run) -> None:
    with pytest.raises(Interrupted) as raised:
        run.interrupt("approval", message="May I?", tool_call_id="c", response_schema={}, interrupt_id="i")
    expected = ev.Interrupt(id="i", reason="approval", message="May I?", tool_call_id="c", response_schema={})
    assert raised.value.interrupts == [expected]


async def test_what_remains_is_on_the_clock_and_never_below_nothing(logs: Logs, run: Run) -> None:
    assert (run.deadline, run.remaining()) == (60, 60)
    logs.clock.advance(59)
    assert run.remaining() == 1
    logs.clock.advance(5)
    assert run.remaining() == 0


async def test_calls_in_threads_are_bounded_for_each_run(logs: Logs, run: Run) -> None:
    loop, inside, release = asyncio.get_running_loop(), 0, asyncio.Event()

    def enter() -> None:
        nonlocal inside
        inside += 1

    def block() -> None:
        loop.call_soon_threadsafe(enter)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(20)

    tasks = [asyncio.create_task(run.in_thread(block)) for _ in range(MAX_THREADS + 3)]
    await until(lambda: inside >= MAX_THREADS)
    for task in tasks[:2]:
        task.cancel()  # their threads are still at work
    await turns()
    assert inside == MAX_THREADS
    ended: list[str] = []
    run.when_threads_end(lambda: ended.append("all"))
    assert ended == []
    release.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: ended)
    assert inside == MAX_THREADS + 3
    assert [task.cancelled() for task in tasks] == [True] * 2 + [False] * (MAX_THREADS + 1)
