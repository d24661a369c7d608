"""What a process left behind is ended as it was: nothing changes but that it has an end."""

from __future__ import annotations

from goldenpath.runtime.stores.memory_log import MemoryLog
from goldenpath.wire import events as ev
from goldenpath.wire.messages import UserMessage
from tests.runtime.runs import Runs, kinds, principal, terminal, until
from tests.runtime.stagehand import Stagehand

ANN = principal()


async def test_when_a_run_began_survives_the_process() -> None:
    """Also of one that waited first, and also of one that had said nothing since."""
    store = MemoryLog()
    first = Runs(store)
    hand = Stagehand(first)
    await first.event_log.start()
    accepted = first.clock.time()
    for number in range(1, 4):
        await first.start("waits", f"r{number}")
    await until(lambda: hand.plays("r1"))
    first.clock.advance(30)
    hand.tell("r1")
    await until(lambda: hand.plays("r2"))
    await first.settle()
    began = first.clock.time()
    first.clock.advance(5)
    await hand.die()
    async with Runs(store, first.clock).running() as second:
        died = second.clock.time()
        rows = [await second.dispatcher.run(ANN, "t1", f"r{number}") for number in range(1, 4)]
        assert [row.status for row in rows] == ["finished", "interrupted", "interrupted"]
        assert [row.started_at for row in rows] == [accepted, began, died]
        assert [row.finished_at for row in rows[1:]] == [died, died]
        events = await second.whole()
        ends = [terminal([ev.decode_event(event) for run_id, event in events if run_id == row.run_id]) for row in rows]
        assert ends == ["success", "run_interrupted", "run_interrupted"]
        errors = [event for event in (ev.decode_event(event) for _, event in events) if isinstance(event, ev.RunError)]
        assert [error.message for error in errors] == [
            "the server stopped during this run; send the message again",
            "the server stopped before this run began; send the message again",
        ]
        assert sum(isinstance(message, UserMessage) for message in await second.history()) == 3


async def test_a_message_that_was_open_keeps_its_text_so_far() -> None:
    store = MemoryLog()
    first = Runs(store)
    hand = Stagehand(first)
    await first.event_log.start()

    accepted = await first.start("waits", "r1")
    await until(lambda: hand.plays("r1"))
    run = hand.live["r1"]
    message = run.message(message_id="open")
    writing = await message.__aenter__()
    await writing.write("so far")
    await first.settle()
    await hand.die()
    async with Runs(store, first.clock).running() as second:
        again = await second.start("waits", "r1")
        assert again.known
        events = await second.said(accepted)
        assert kinds(events)[-3:] == ["TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_ERROR"]
        assert (await second.history())[-1].content == "so far"
