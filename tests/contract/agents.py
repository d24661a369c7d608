"""The agents of these tests: what an agent's author can do wrong, and what a cancel can come in between.

Each says in its first message what it is about to do, so that a test knows that it does it now.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from pathlib import Path
from typing import Any

from goldenpath import App, Run
from goldenpath.runtime.sync_run import SyncRun
from goldenpath.wire import events as ev
from goldenpath.wire.errors import RequestError

app = App()


class AgentFault(BaseException):
    """Not an Exception, on purpose."""


# --- raising ----------------------------------------------------------------------------------------------------------


@app.agent("raises")
async def raises(run: Run) -> None:
    """Fails in the middle of everything."""
    async with run.step("work"), run.message() as message:
        await message.write("so far")
        raise ZeroDivisionError("a secret of the agent")


@app.agent("raises-base")
async def raises_base(run: Run) -> None:
    """Raises what is no Exception."""
    await run.text("so far")
    raise AgentFault


@app.agent("exits")
async def exits(run: Run) -> None:
    """Calls sys.exit."""
    await run.text("so far")
    sys.exit(3)


@app.agent("exits-in-task")
async def exits_in_task(run: Run) -> None:
    """Calls sys.exit in a task of the run."""

    async def leave() -> None:
        sys.exit(3)

    await run.text("so far")
    run.spawn(leave())
    await asyncio.sleep(3600)


@app.agent("interrupted-in-task")
async def interrupted_in_task(run: Run) -> None:
    """Raises KeyboardInterrupt in a task of the run."""

    async def leave() -> None:
        raise KeyboardInterrupt

    await run.text("so far")
    await run.spawn(leave())


@app.agent("exits-in-thread")
async def exits_in_thread(run: Run) -> None:
    """Calls sys.exit in a thread."""
    await run.text("so far")
    await run.in_thread(sys.exit, 3)


@app.agent("plain-exits")
def plain_exits(run: SyncRun) -> None:
    """A plain function that calls sys.exit."""
    run.text("so far")
    sys.exit(3)


@app.agent("plain-raises")
def plain_raises(run: SyncRun) -> None:
    """A plain function that fails in a message."""
    with run.message() as message:
        message.write("so far")
        raise ZeroDivisionError


@app.agent("group-raises")
async def group_raises(run: Run) -> None:
    """Two tasks fail at once."""

    async def fail() -> None:
        raise ZeroDivisionError

    await run.text("so far")
    run.spawn(fail())
    run.spawn(fail())
    await asyncio.sleep(3600)


@app.agent("generator-exits")
async def generator_exits(run: Run) -> None:
    """Raises what closes generators."""
    await run.text("so far")
    raise GeneratorExit


@app.agent("cancels-itself")
async def cancels_itself(run: Run) -> None:
    """Raises CancelledError of its own."""
    await run.text("so far")
    raise asyncio.CancelledError


@app.agent("half-pair")
async def half_pair(run: Run) -> None:
    """Ends with an error whose text is not Unicode."""
    await run.text("so far")
    raise RequestError("timeout", "half a pair: \ud83d")


# --- saying what cannot be said ---------------------------------------------------------------------------------------


@app.agent("result-object")
async def result_object(run: Run) -> object:
    """Returns what is not JSON."""
    await run.text("so far")
    return object()


@app.agent("result-cycle")
async def result_cycle(run: Run) -> Any:
    """Returns a list that holds itself."""
    await run.text("so far")
    cycle: list[Any] = []
    cycle.append(cycle)
    return cycle


@app.agent("result-surrogate")
async def result_surrogate(run: Run) -> Any:
    """Returns text that is not Unicode."""
    await run.text("so far")
    return {"text": "\ud83d"}


@app.agent("result-changes")
async def result_changes(run: Run) -> Any:
    """Returns what is JSON until the clean-up."""
    result: list[Any] = []
    run.on_cleanup(lambda: result.append(object()))
    await run.text("so far")
    return result


@app.agent("result-big")
async def result_big(run: Run) -> Any:
    """Returns 2 MB."""
    await run.text("so far")
    return "x" * 2_000_000


@app.agent("question-object")
async def question_object(run: Run) -> None:
    """Asks a question that is not JSON."""
    await run.text("so far")
    run.interrupt("confirmation", metadata={"a": object()})


@app.agent("pending-object")
async def pending_object(run: Run) -> None:
    """Marks as pending what is no id."""
    await run.text("so far")
    run.pending(object())  # type: ignore[arg-type]


@app.agent("writes-number")
async def writes_number(run: Run) -> None:
    """Writes a number as text."""
    async with run.message() as message:
        await message.write("so far")
        await message.write(42)  # type: ignore[arg-type]


@app.agent("emits-wrong-type")
async def emits_wrong_type(run: Run) -> None:
    """Emits an event whose field has a wrong type."""
    await run.text("so far")
    await run.emit(ev.StateDelta("not a patch"))  # type: ignore[arg-type]


@app.agent("names-number")
async def names_number(run: Run) -> None:
    """Calls a tool whose name is a number."""
    await run.text("so far")
    async with run.tool_call(42) as call:  # type: ignore[arg-type]
        await call.args("{}")


@app.agent("emits-lines")
async def emits_lines(run: Run) -> None:
    """Emits JSON with line breaks between its tokens."""
    import msgspec

    await run.text("so far")
    await run.custom("lines", msgspec.Raw(b'{"a":\n\n1}'))


@app.agent("emits-deep")
async def emits_deep(run: Run) -> None:
    """Emits JSON that is nested deeper than anybody reads."""
    import msgspec

    await run.text("so far")
    await run.custom("deep", msgspec.Raw(b"[" * 5000 + b"]" * 5000))


@app.agent("emits-surrogate")
async def emits_surrogate(run: Run) -> None:
    """Writes text that is not Unicode."""
    async with run.message() as message:
        await message.write("so far")
        await message.write("half a pair: \ud83d")


@app.agent("emits-run-events")
async def emits_run_events(run: Run) -> None:
    """Emits what only the server may."""
    await run.text("so far")
    await run.emit(ev.RunFinished(run.context.thread_id, run.context.run_id))


@app.agent("emits-out-of-order")
async def emits_out_of_order(run: Run) -> None:
    """Ends a message that never began."""
    await run.text("so far")
    await run.emit(ev.TextMessageEnd("nobody"))


@app.agent("emits-open")
async def emits_open(run: Run) -> None:
    """Leaves everything open."""
    await run.emit(ev.StepStarted("work"))
    await run.emit(ev.ReasoningStart("thought"))
    await run.emit(ev.ReasoningMessageStart("thought"))
    await run.emit(ev.ReasoningMessageContent("thought", "hm"))
    await run.emit(ev.ToolCallStart("call", "search"))
    await run.emit(ev.ToolCallArgs("call", '{"q":'))
    await run.emit(ev.TextMessageStart("message", role="assistant"))
    await run.emit(ev.TextMessageContent("message", "so far"))


@app.agent("emits-late")
async def emits_late(run: Run) -> None:
    """Leaves a task of its own behind, which goes on to emit."""

    async def go_on() -> None:
        for number in range(50):
            await asyncio.sleep(0.01)
            with contextlib.suppress(Exception):
                await run.text(f"late {number}")

    app_tasks.add(asyncio.create_task(go_on()))
    await run.text("so far")


@app.agent("plain-emits-late")
def plain_emits_late(run: SyncRun) -> None:
    """Leaves a thread behind, which goes on to emit."""

    def go_on() -> None:
        for number in range(50):
            time.sleep(0.01)
            with contextlib.suppress(BaseException):
                run.text(f"late {number}")

    threading.Thread(target=go_on, daemon=True).start()
    run.text("so far")


app_tasks: set[asyncio.Task[None]] = set()
"""Keeps the tasks that `emits-late` leaves behind from the collector."""


@app.agent("leaves-task")
async def leaves_task(run: Run) -> None:
    """Ends while a task of the run still works: the run lasts until that has ended."""

    async def work() -> None:
        await asyncio.sleep(0.2)
        await run.text("and more")

    run.spawn(work())
    await run.text("so far")


@app.agent("floods")
async def floods(run: Run) -> None:
    """As many events as the message says."""
    async with run.message() as message:
        for number in range(int(run.user_text)):
            await message.write(f"{number} ")


@app.agent("too-big")
async def too_big(run: Run) -> None:
    """A delta of 2 MB."""
    async with run.message() as message:
        await message.write("so far")
        await message.write("x" * 2_000_000)


# --- not ending -------------------------------------------------------------------------------------------------------


@app.agent("never-ends")
async def never_ends(run: Run) -> None:
    """Waits for ever."""
    async with run.message() as message:
        await message.write("so far")
        await asyncio.sleep(3600)


@app.agent("until-file")
async def until_file(run: Run) -> None:
    """Waits until there is a file of the name that the message says."""
    await run.text("so far")
    while not Path(run.user_text).exists():
        await asyncio.sleep(0.01)


@app.agent("short", timeout=0.3)
async def short(run: Run) -> None:
    """Waits for ever, and has a time limit of its own."""
    async with run.message() as message:
        await message.write("so far")
        await asyncio.sleep(3600)


@app.agent("stubborn")
async def stubborn(run: Run) -> None:
    """Ignores every cancel for as many seconds as the message says."""
    await run.text("so far")
    end = time.monotonic() + float(run.user_text)
    while (left := end - time.monotonic()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(left)


@app.agent("plain-stubborn")
def plain_stubborn(run: SyncRun) -> None:
    """A plain function that looks at nothing for as many seconds as the message says."""
    run.text("so far")
    time.sleep(float(run.user_text))


@app.agent("plain-works")
def plain_works(run: SyncRun) -> None:
    """A plain function that writes until it is stopped."""
    with run.message() as message:
        message.write("so far")
        while True:
            time.sleep(0.005)
            message.write(".")


@app.agent("blocks")
async def blocks(run: Run) -> None:
    """Blocks the event loop for as many seconds as the message says."""
    await run.text("so far")
    await asyncio.sleep(0.05)
    time.sleep(float(run.user_text))


@app.agent("swallows")
async def swallows(run: Run) -> str:
    """Takes its cancel for the end of its work, and ends well."""
    await run.text("so far")
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(3600)
    return "done"


@app.agent("fails-when-cancelled")
async def fails_when_cancelled(run: Run) -> None:
    """Raises something else when it is cancelled."""
    try:
        await run.text("so far")
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        raise ZeroDivisionError from None


# --- cleaning up ------------------------------------------------------------------------------------------------------


@app.agent("cleanup-raises")
async def cleanup_raises(run: Run) -> None:
    """Its first clean-up raises, the second exits, the third is fine."""

    def fail() -> None:
        raise ZeroDivisionError

    run.on_cleanup(app_tasks.clear)
    run.on_cleanup(sys.exit)
    run.on_cleanup(fail)
    await run.text("so far")


@app.agent("cleanup-hangs")
async def cleanup_hangs(run: Run) -> None:
    """Its clean-up waits for ever."""

    async def hang() -> None:
        await asyncio.sleep(3600)

    run.on_cleanup(hang)
    await run.text("so far")


# --- where a cancel can come ------------------------------------------------------------------------------------------


@app.agent("silent")
async def silent(run: Run) -> None:
    """Says nothing, for ever."""
    await asyncio.sleep(3600)


@app.agent("in-tool-call")
async def in_tool_call(run: Run) -> None:
    """Waits in a tool call."""
    await run.text("so far")
    async with run.tool_call("search", tool_call_id=f"call-{run.context.run_id}") as call:
        await call.args('{"q":"so')
        await asyncio.sleep(3600)


@app.agent("in-reasoning")
async def in_reasoning(run: Run) -> None:
    """Waits in its thoughts."""
    await run.text("so far")
    async with run.reasoning() as thought:
        await thought.write("hm")
        await asyncio.sleep(3600)


@app.agent("in-step")
async def in_step(run: Run) -> None:
    """Waits in a step within a step."""
    await run.text("so far")
    async with run.step("outer"), run.step("inner"):
        await asyncio.sleep(3600)


@app.agent("in-task")
async def in_task(run: Run) -> None:
    """Waits for a task of the run that streams."""

    async def stream() -> None:
        async with run.message() as message:
            await message.write("so far")
            while True:
                await asyncio.sleep(0.01)
                await message.write(".")

    await run.spawn(stream())


@app.agent("gate", permission="gate")
async def gate(run: Run) -> None:
    """Only for who has the permission."""
    await run.text("open")
