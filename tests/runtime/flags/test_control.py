"""Changing flags while the server runs, by calls and by the file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from goldenpath.clock import ManualClock
from goldenpath.runtime.flags import file
from goldenpath.runtime.flags.control import FlagControl
from goldenpath.runtime.flags.definition import BUILTIN, NEW_RUNS, REGISTRATION, FlagError
from goldenpath.runtime.flags.flags import Flags
from goldenpath.runtime.flags.rule import Rule
from goldenpath.runtime.interfaces import ActionRow
from goldenpath.runtime.operators import Actions
from goldenpath.runtime.startup import StartupError
from goldenpath.runtime.stores.memory_actions import MemoryActions
from tests.runtime.runs import turns, until
from tests.runtime.test_operators import FullDisk

INTERVAL = 2.0
OFF = Rule(stage="off")


class Controlled:
    """A control with its clock and its journal."""

    def __init__(self, path: Path | None, store: MemoryActions | None = None) -> None:
        self.clock = ManualClock()
        self.actions = Actions(store or MemoryActions(), self.clock)
        self.flags = Flags(BUILTIN, "testing")
        self.control = FlagControl(self.flags, self.actions, self.clock, path, INTERVAL)

    async def look(self, condition: Callable[[], object]) -> None:
        """Let the control look at its file until something is so."""

        def looked() -> bool:
            self.clock.advance(INTERVAL)
            return bool(condition())

        await until(looked)

    async def journal(self) -> list[tuple[str, str, str, str]]:
        rows = await self.actions.latest(100)
        return [(row.actor, row.action, row.subject, row.why) for row in reversed(rows)]


@asynccontextmanager
async def started(path: Path | None) -> AsyncIterator[Controlled]:
    found = Controlled(path)
    async with found.control.running():
        yield found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flags.toml"


async def test_a_change_holds_at_once_is_recorded_and_outlives_the_process(path: Path) -> None:
    async with started(path) as one:
        assert one.control.put(NEW_RUNS, OFF, "usr_1", "incident 7")
        assert not one.flags.enabled(NEW_RUNS)
        assert await one.control.settled()
        assert await one.journal() == [("usr_1", "set", NEW_RUNS, "incident 7")]
        (row,) = await one.actions.latest(1)
        assert (row.before, json.loads(row.after or b"")) == (None, {"stage": "off"})
    assert file.read(path) == {NEW_RUNS: Rule(stage="off", why="incident 7", by="usr_1")}
    async with started(path) as other:
        assert not other.flags.enabled(NEW_RUNS)
        assert other.control.put(NEW_RUNS, None, "usr_1", "over")
        assert await other.control.settled()
        assert await other.journal() == [("file", "load", str(path), ""), ("usr_1", "clear", NEW_RUNS, "over")]
    assert file.read(path) == {}


async def test_what_changes_nothing_is_not_recorded(path: Path) -> None:
    async with started(path) as one:
        assert one.control.put(NEW_RUNS, None, "usr_1", "nothing") is None
        with pytest.raises(FlagError):
            one.control.put(NEW_RUNS, Rule(percent=101), "usr_1", "too much")
        assert await one.journal() == []


async def test_an_edited_file_is_taken_in_and_recorded_as_what_it_says(path: Path) -> None:
    async with started(path) as one:
        file.edit(path, lambda _: {NEW_RUNS: Rule(stage="off", by="ann", why="disk"), REGISTRATION: OFF})
        await one.look(lambda: not one.flags.enabled(NEW_RUNS))
        assert not one.flags.enabled(REGISTRATION)
        path.unlink()
        await one.look(lambda: one.flags.enabled(NEW_RUNS))
        assert await one.journal() == [
            ("ann", "set", NEW_RUNS, "disk"),
            ("file", "set", REGISTRATION, ""),
            ("file", "clear", NEW_RUNS, ""),
            ("file", "clear", REGISTRATION, ""),
        ]


async def test_an_edit_that_leaves_who_set_it_before_is_not_recorded_as_theirs(path: Path) -> None:
    async with started(path) as one:
        one.control.put(NEW_RUNS, Rule(percent=50), "usr_1", "half of the load")
        await one.control.settled()
        path.write_text(path.read_text().replace("percent = 50", "percent = 5"))
        await one.look(lambda: one.flags.rules[NEW_RUNS].percent == 5)
        assert await one.journal() == [
            ("usr_1", "set", NEW_RUNS, "half of the load"),
            ("file", "set", NEW_RUNS, "half of the load"),
        ]


async def test_a_broken_file_keeps_the_rules_from_before_and_says_so(path: Path) -> None:
    async with started(path) as one:
        one.control.put(NEW_RUNS, OFF, "usr_1", "incident 7")
        await one.control.settled()
        path.write_text('[registration]\nstage = "of"')
        await one.look(lambda: one.control.problem)
        assert "flag registration" in (one.control.problem or "")
        assert (one.flags.enabled(NEW_RUNS), one.flags.enabled(REGISTRATION)) == (False, True)
        assert one.control.statistics().broken == 1
        # A switch works meanwhile; the file gets it once it makes sense again.
        assert one.control.put(REGISTRATION, OFF, "usr_1", "spam")
        assert not await one.control.settled()
        assert (one.flags.enabled(REGISTRATION), one.control.statistics().unsaved) == (False, 1)
        assert path.read_text() == '[registration]\nstage = "of"'
        path.write_text("")
        await one.look(lambda: not one.control.statistics().unsaved)
        assert one.control.problem is None
        assert (one.flags.enabled(NEW_RUNS), one.flags.enabled(REGISTRATION)) == (True, False)
        assert set(file.read(path)) == {REGISTRATION}


async def test_a_file_that_is_back_as_it_was_is_no_broken_one(path: Path) -> None:
    async with started(path) as one:
        one.control.put(NEW_RUNS, OFF, "usr_1", "incident 7")
        await one.control.settled()
        kept = path.rename(path.with_name("kept"))
        path.symlink_to(path.name)  # whatever it is that cannot be looked at, for a while
        await one.look(lambda: one.control.problem)
        kept.replace(path)
        await one.look(lambda: one.control.problem is None)
        assert not one.flags.enabled(NEW_RUNS)


@pytest.mark.parametrize("content", ["[half", '[new_runs]\nvariant = "x"', f"x = {'[' * 5000}"])
async def test_a_broken_file_refuses_the_start_because_there_are_no_rules_from_before(path: Path, content: str) -> None:
    path.write_text(content)
    with capture_logs() as logs, pytest.raises(StartupError, match=str(path)):
        async with started(path):
            pytest.fail("it has started")
    assert logs == []  # whoever starts it is told
    assert path.read_text() == content


async def test_a_change_keeps_what_was_edited_a_moment_ago(path: Path) -> None:
    async with started(path) as one:
        file.edit(path, lambda _: {REGISTRATION: OFF})
        one.control.put(NEW_RUNS, OFF, "usr_1", "incident 7")
        assert await one.control.settled()
        assert set(file.read(path)) == {NEW_RUNS, REGISTRATION}
        assert (one.flags.enabled(NEW_RUNS), one.flags.enabled(REGISTRATION)) == (False, False)


async def test_whoever_stops_waiting_leaves_the_change_saved(path: Path) -> None:
    async with started(path) as one:
        one.control.put(NEW_RUNS, OFF, "usr_1", "incident 7")
        waiting = asyncio.create_task(one.control.settled())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: not one.control.statistics().unsaved)
        assert set(file.read(path)) == {NEW_RUNS}


async def test_rules_of_flags_that_are_not_declared_stay_in_the_file(path: Path) -> None:
    file.edit(path, lambda _: {"later": OFF})
    async with started(path) as one:
        assert one.flags.unknown == ["later"]
        one.control.put(NEW_RUNS, OFF, "usr_1", "incident 7")
        assert await one.control.settled()
    assert set(file.read(path)) == {NEW_RUNS, "later"}


async def test_what_the_journal_did_not_take_is_written_as_soon_as_it_can_be(path: Path) -> None:
    store = FullDisk()
    one = Controlled(path, store)
    async with one.control.running():
        with capture_logs() as logs:
            one.control.put(NEW_RUNS, OFF, "usr_1", "incident 7")
            assert await one.control.settled()
            await one.look(lambda: store.asked == 4)
        assert [log["event"] for log in logs].count("operator_actions_wait") == 1
        store.full = False
        await one.look(lambda: not one.actions.statistics().pending)
        assert [row.subject for row in await store.actions(10)] == [NEW_RUNS]


class SlowDisk(MemoryActions):
    """Takes nothing before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def add_actions(self, actions: Sequence[ActionRow]) -> None:
        await self.gate.wait()
        await super().add_actions(actions)


async def test_a_journal_that_hangs_keeps_nobody_from_the_switches_of_the_file(path: Path) -> None:
    store = SlowDisk()
    one = Controlled(path, store)
    async with one.control.running():
        try:
            await turns()
            file.edit(path, lambda _: {NEW_RUNS: OFF})
            one.clock.advance(INTERVAL)
            await until(lambda: not one.flags.enabled(NEW_RUNS))
            await turns()
            file.edit(path, lambda _: {})
            one.clock.advance(INTERVAL)  # the next look comes when it is due, whatever the journal does
            await until(lambda: one.flags.enabled(NEW_RUNS))
        finally:
            store.gate.set()
    assert [row.action for row in await store.actions(10)] == ["clear", "set"]


async def test_without_a_file_flags_live_as_long_as_the_process() -> None:
    async with started(None) as one:
        assert one.control.put(NEW_RUNS, OFF, "usr_1", "incident 7")
        assert not await one.control.settled()
        assert not one.flags.enabled(NEW_RUNS)
        assert one.control.statistics().unsaved == 0
