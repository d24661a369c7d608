"""A few bytes of a patch make no more than may be said in one event, and nobody sees one that would."""

from __future__ import annotations

from typing import Any

import pytest

from goldenpath.runtime.run import UNFOLDED_WORK, Run
from goldenpath.runtime.stores.memory_log import MemoryLog
from goldenpath.wire import events as ev
from goldenpath.wire.errors import RequestError
from goldenpath.wire.messages import ActivityMessage
from goldenpath.wire.transcript import Transcript
from tests.runtime.logs import LiveRun, Logs
from tests.runtime.runs import Runs, make_run, until
from tests.runtime.stagehand import Stagehand

LIMIT = 10_000
BOMB: list[dict[str, Any]] = [{"op": "copy", "from": "", "path": f"/k{number}"} for number in range(40)]
SMALL: list[dict[str, Any]] = [{"op": "add", "path": "/b", "value": 2}]


def snapshot(content: dict[str, Any], *, replace: bool | None = None) -> ev.ActivitySnapshot:
    return ev.ActivitySnapshot("act", "plan", content, replace=replace)


def activity(patch: list[dict[str, Any]]) -> ev.ActivityDelta:
    return ev.ActivityDelta("act", "plan", patch)


BEGINNINGS: dict[str, list[ev.Event]] = {
    "an activity": [snapshot({"a": 1})],
    "a replaced activity": [snapshot({}), activity(SMALL), snapshot({"a": 1}), snapshot({}, replace=False)],
    "an activity of a snapshot": [
        ev.MessagesSnapshot([ActivityMessage(id="act", activity_type="plan", content={"a": 1})])
    ],
    "the state": [ev.StateSnapshot({"a": 1})],
    "a state that nobody set": [ev.StateDelta([{"op": "add", "path": "", "value": {}}])],
}


@pytest.mark.parametrize("what", BEGINNINGS)
async def test_a_patch_that_makes_too_much_is_refused_before_anybody_sees_it(
    logs: Logs, live: LiveRun, what: str
) -> None:
    small, bomb = (ev.StateDelta(patch) if "state" in what else activity(patch) for patch in (SMALL, BOMB))
    run = make_run(logs, live, max_event_bytes=LIMIT)
    for event in BEGINNINGS[what]:
        await run.emit(event)
    await run.emit(small)
    before = run._log.head
    with pytest.raises(RequestError, match=str(LIMIT)) as refused:
        await run.emit(bomb)
    assert refused.value.code == "payload_too_large"
    assert run._log.head == before
    await run.emit(small)
    assert run._log.head == before + 1


async def test_growing_by_many_small_patches_comes_to_the_same_end(logs: Logs, live: LiveRun) -> None:
    run = make_run(logs, live, max_event_bytes=LIMIT)
    await run.state({"a": 1})

    async def double() -> None:
        for number in range(40):
            await run.state_delta([{"op": "copy", "from": "", "path": f"/k{number}"}])

    with pytest.raises(RequestError, match=str(LIMIT)):
        await double()


async def test_a_patch_that_does_not_fit_is_said_all_the_same(logs: Logs, live: LiveRun) -> None:
    """Clients leave it out, as AG-UI's do; the server does not know what state a client started from."""
    run = make_run(logs, live)
    before = run._log.head
    await run.state_delta([{"op": "remove", "path": "/not/there"}])
    await run.emit(ev.ActivityDelta("unknown", "plan", SMALL))
    assert run._log.head == before + 2


async def test_what_patches_copy_counts_as_the_runs(logs: Logs, live: LiveRun) -> None:
    run = make_run(logs, live, max_run_bytes=10 * LIMIT)
    await run.state({"big": "x" * LIMIT, "copy": None})

    async def copy_on() -> None:
        for _ in range(20):
            await run.state_delta([{"op": "copy", "from": "/big", "path": "/copy"}])

    with pytest.raises(RequestError, match=f"more than {10 * LIMIT} bytes"):
        await copy_on()


async def test_what_patches_ask_for_is_folded_as_they_come(logs: Logs, live: LiveRun) -> None:
    """At the end of the run it would be done at once, and everybody would wait."""
    run = make_run(logs, live, max_event_bytes=UNFOLDED_WORK * 2, max_run_bytes=UNFOLDED_WORK * 100)
    run._log.transcript = Transcript()
    await run.emit(snapshot({"big": "x" * (UNFOLDED_WORK // 2), "copy": None}))
    for _ in range(2):
        await run.emit(activity([{"op": "copy", "from": "/big", "path": "/copy"}]))
    assert run._log.folded == run._log.head


async def test_an_activity_of_an_earlier_run_is_known() -> None:
    async with Runs(max_event_bytes=LIMIT).running() as runs:
        hand = Stagehand(runs)
        first = await runs.start("waits", "r1")
        await until(lambda: hand.plays("r1"))
        hand.tell("r1", lambda run: run.emit(snapshot({"a": 1})))
        await runs.over(first)
        second = await runs.start("waits", "r2")
        await until(lambda: hand.plays("r2"))
        hand.tell("r2", lambda run: run.emit(activity(BOMB)))
        end = (await runs.over(second))[-1]
        assert isinstance(end, ev.RunError)
        assert end.code == "payload_too_large"


@pytest.mark.parametrize("dies", [False, True])
async def test_a_log_that_holds_such_a_patch_is_read_without_it(*, dies: bool) -> None:
    """A server that did not refuse it wrote it, and may have died of it."""
    store = MemoryLog()
    first = Runs(store)
    hand = Stagehand(first)
    await first.event_log.start()
    accepted = await first.start("waits", "r1")
    await until(lambda: hand.plays("r1"))

    async def as_before(run: Run) -> None:
        await run.emit(snapshot({"a": 1}))
        run.append(ev.seal(activity(BOMB)))
        run.append(ev.seal(activity(SMALL)))

    if dies:
        await as_before(hand.live["r1"])
        await first.settle()
        await hand.die()
    else:
        hand.tell("r1", as_before)
        await first.over(accepted)
        await hand.die()
    async with Runs(store, first.clock).running() as second:
        history = await second.history()
    assert [each.content for each in history if isinstance(each, ActivityMessage)] == [{"a": 1, "b": 2}]
