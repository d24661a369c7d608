"""Rolling back, by itself and when told to, and undoing it."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from goldenpath.clock import ManualClock
from goldenpath.runtime.flags.control import FlagControl
from goldenpath.runtime.flags.definition import (
    AUTOMATIC_ROLLBACK,
    BUILTIN,
    LEGACY_TIMEOUTS,
    NEW_RUNS,
    NO_OPTIMIZATIONS,
    ROLLED_BACK,
    TIMEOUTS,
    Flag,
)
from goldenpath.runtime.flags.flags import Flags
from goldenpath.runtime.flags.rule import Rule
from goldenpath.runtime.interfaces import ActionRow
from goldenpath.runtime.operators import MAX_WHY, Actions
from goldenpath.runtime.rollback.hook import DeployHook, HookFacts
from goldenpath.runtime.rollback.policy import Level, RollbackPolicy, Step
from goldenpath.runtime.rollback.rollback import INTERVAL, Rollback
from goldenpath.runtime.stores.memory_actions import MemoryActions
from goldenpath.wire.errors import RequestError
from tests.runtime.runs import until
from tests.runtime.test_operators import FullDisk

COOL_DOWN = 300.0
OPS = "usr_ops"
DECLARED = (Flag("feature", ""), Flag("model", "", "a", {"a": 1, "b": 2}))


class Remote(MemoryActions):
    """Whoever asks it waits: others come in between."""

    async def add_actions(self, actions: Sequence[ActionRow]) -> None:
        await asyncio.sleep(0)
        await super().add_actions(actions)

    async def actions(self, limit: int, before: int | None = None, area: str | None = None) -> list[ActionRow]:
        found = await super().actions(limit, before, area)
        await asyncio.sleep(0)
        return found


def _idle(rollback: Rollback) -> Callable[[], bool]:
    """Whether the hook of `rollback` runs no more."""
    return lambda: not rollback.hook_runs


class Rolled:
    """A roll-back with its flags, journal and clock."""

    def __init__(
        self,
        *,
        hook: str | None = None,
        code: bool = False,
        declared: Sequence[Flag] = DECLARED,
        store: MemoryActions | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.store = store or MemoryActions()
        self.actions = Actions(self.store, self.clock)
        self.flags = Flags([*BUILTIN, *declared], "testing")
        self.control = FlagControl(self.flags, self.actions, self.clock, None, 2.0)
        self.rollback = self.made(hook, code=code)

    def made(self, hook: str | None = None, *, code: bool = False) -> Rollback:
        return Rollback(
            self.control,
            RollbackPolicy(COOL_DOWN, code=code),
            self.actions,
            self.clock,
            None if hook is None else DeployHook(hook, 60, self.clock),
            HookFacts("", "", "testing", "1.0"),
        )

    async def journal(self) -> list[tuple[str, str, str, str]]:
        rows = await self.rollback.history(100)
        return [(row.actor, row.action, row.subject, row.why) for row in reversed(rows)]


@pytest.fixture
async def rolled() -> AsyncIterator[Rolled]:
    found = Rolled()
    async with found.rollback.running():
        yield found


async def test_flags_are_rolled_back_by_the_kill_switches_and_by_taking_back_what_is_rolled_out(rolled: Rolled) -> None:
    put = rolled.control.put
    put("feature", Rule(stage="canary"), OPS, "try it")
    put("model", Rule(percent=99, variant="b"), OPS, "try it")
    put(NEW_RUNS, Rule(stage="full"), OPS, "it is out")
    rolled.rollback.trigger("flags", "too slow", OPS)
    flags = rolled.flags
    assert (flags.enabled(NO_OPTIMIZATIONS), flags.enabled(LEGACY_TIMEOUTS)) == (True, True)
    assert (flags.rules["feature"].stage, flags.rules["model"].stage, flags.rules[NEW_RUNS].stage) == (
        "off",
        "off",
        "full",
    )
    assert rolled.rollback.in_effect == ["flags"]
    assert await rolled.journal() == [(OPS, "roll back", "flags", "too slow")]


async def test_a_switch_of_the_server_that_is_on_for_some_is_no_roll_out(rolled: Rolled) -> None:
    put = rolled.control.put
    put(NEW_RUNS, Rule(percent=50), OPS, "half of the load")
    put(AUTOMATIC_ROLLBACK, Rule(stage="full"), OPS, "as ever")
    rolled.rollback.trigger("flags", "too slow", OPS)
    assert rolled.flags.rules[NEW_RUNS].percent == 50
    assert rolled.rollback.in_effect == ["flags"]


async def test_a_roll_back_whose_record_waits_is_not_skipped_by_an_undo() -> None:
    store = FullDisk()
    store.full = False
    rolled = Rolled(store=store)
    rolled.rollback.trigger("flags", "slow", OPS)
    await rolled.actions.settled()
    store.full = True
    rolled.rollback.trigger("timeouts", "still slow", OPS)
    with pytest.raises(RequestError, match="not in the journal yet") as caught:
        await rolled.rollback.undo("fine", OPS)
    assert caught.value.code == "overloaded"
    assert rolled.rollback.in_effect == ["flags", "timeouts"]
    store.full = False
    assert (await rolled.rollback.undo("fine", OPS)).level == "timeouts"
    assert rolled.rollback.in_effect == ["flags"]


async def test_undoing_puts_back_what_was_before_and_leaves_what_somebody_changed_since(rolled: Rolled) -> None:
    canary = Rule(stage="canary", by=OPS, why="try it")
    rolled.control.put("feature", canary, OPS, "try it")
    rolled.rollback.trigger("flags", "too slow", OPS)
    rolled.control.put(LEGACY_TIMEOUTS, Rule(stage="off"), OPS, "not this one")
    undone = await rolled.rollback.undo("it was not that", OPS)
    assert (sorted(undone.restored), undone.kept) == ([NO_OPTIMIZATIONS, "feature"], [LEGACY_TIMEOUTS])
    assert rolled.flags.rules["feature"].effect == canary.effect
    assert not rolled.flags.enabled(NO_OPTIMIZATIONS)
    with pytest.raises(RequestError, match="no roll-back to undo"):
        await rolled.rollback.undo("again", OPS)


async def test_roll_backs_are_undone_from_the_last_to_the_first_also_after_a_restart(rolled: Rolled) -> None:
    rolled.rollback.trigger("flags", "slow", OPS)
    rolled.rollback.trigger("timeouts", "still slow", OPS)
    assert rolled.rollback.in_effect == ["flags", "timeouts"]
    assert (await rolled.rollback.undo("fine", OPS)).level == "timeouts"
    again = rolled.made()  # a new process with the same journal and flags
    assert again.in_effect == ["flags"]
    assert (await again.undo("fine", OPS)).level == "flags"
    assert again.in_effect == []
    assert (rolled.rollback.statistics().done, again.statistics().in_effect, again.statistics().undone) == (2, 0, 1)
    assert [action for _, action, _, _ in await rolled.journal()] == ["roll back", "roll back", "undo", "undo"]


async def test_what_was_rolled_back_twice_is_undone_at_once(rolled: Rolled) -> None:
    for level in ("flags", "timeouts"):
        for why in ("slow", "two people saw it"):
            rolled.rollback.trigger(level, why, OPS)
        await rolled.rollback.undo("fine", OPS)
        assert rolled.rollback.in_effect == []
    with pytest.raises(RequestError, match="no roll-back to undo"):
        await rolled.rollback.undo("again", OPS)


async def test_what_is_wrong_is_rolled_back_at_once_and_then_level_by_level(rolled: Rolled) -> None:
    rollback, clock = rolled.rollback, rolled.clock
    rollback.set_trigger("connect_failures", "6 % fail")
    assert rollback.in_effect == ["flags"]
    clock.advance(COOL_DOWN - INTERVAL)
    await until(lambda: rollback.in_effect == ["flags"])

    def looked() -> bool:
        clock.advance(INTERVAL)
        return len(rollback.in_effect) == 2

    await until(looked)
    assert rollback.in_effect == ["flags", "timeouts"]
    rollback.set_trigger("connect_failures", None)
    assert await rolled.journal() == [
        ("server", "roll back", "flags", "6 % fail"),
        ("server", "roll back", "timeouts", "6 % fail"),
    ]


async def test_after_an_undo_the_server_waits_for_the_cool_down(rolled: Rolled) -> None:
    rolled.rollback.set_trigger("connect_failures", "6 % fail")
    rolled.clock.advance(COOL_DOWN / 2)
    await rolled.rollback.undo("a person looks at it", OPS)
    rolled.rollback.set_trigger("agent_timeouts", "4 % time out")
    assert rolled.rollback.in_effect == []
    assert rolled.rollback.cooling() == COOL_DOWN


async def test_a_switch_keeps_the_server_from_doing_anything_by_itself(rolled: Rolled) -> None:
    rolled.control.put(AUTOMATIC_ROLLBACK, Rule(stage="off"), OPS, "people are at it")
    rolled.rollback.set_trigger("connect_failures", "6 % fail")
    assert rolled.rollback.declare_incident("P0", "all down", OPS) is None
    assert rolled.rollback.in_effect == []
    rolled.rollback.trigger("timeouts", "told to", OPS)
    assert rolled.rollback.in_effect == ["timeouts"]
    rolled.control.put(AUTOMATIC_ROLLBACK, None, OPS, "people are tired")
    rolled.rollback.look()
    assert rolled.rollback.in_effect == ["timeouts"]  # it cools down


@pytest.mark.parametrize(("severity", "level"), [("P0", "flags"), ("P1", "flags"), ("P2", None), ("P4", None)])
async def test_a_bad_incident_rolls_back_and_every_one_is_recorded(
    rolled: Rolled, severity: str, level: str | None
) -> None:
    assert rolled.rollback.declare_incident(severity, "all down", OPS) == level
    (row,) = await rolled.actions.latest(10, area="incident")
    assert (row.actor, row.subject, row.why) == (OPS, severity, "all down")
    assert rolled.rollback.in_effect == ([level] if level else [])


async def test_an_incident_does_not_wait_for_the_cool_down(rolled: Rolled) -> None:
    rolled.rollback.declare_incident("P1", "all down", OPS)
    rolled.rollback.declare_incident("P1", "still all down", OPS)
    rolled.rollback.declare_incident("P0", "nothing is left", OPS)
    assert rolled.rollback.in_effect == ["flags", "timeouts"]


async def test_the_code_is_rolled_back_by_the_hook_and_what_it_said_is_recorded() -> None:
    hook = shlex.join([sys.executable, "-c", "import sys, json; print(json.load(sys.stdin)['why'])"])
    rolled = Rolled(hook=hook)
    async with rolled.rollback.running():
        rolled.rollback.trigger("code", "it is the code", OPS)
        assert rolled.rollback.hook_runs
        with pytest.raises(RequestError, match="runs already"):
            rolled.rollback.trigger("code", "again", OPS)
        await until(lambda: not rolled.rollback.hook_runs)
        assert rolled.rollback.in_effect == ["code"]
        last = (await rolled.rollback.history(1))[0]
    ended: dict[str, Any] = json.loads(last.after or b"")
    assert (last.action, ended["ok"], ended["output"]) == ("hook ended", True, "it is the code\n")
    with pytest.raises(RequestError, match="deploying it again"):
        await rolled.rollback.undo("no", OPS)


async def test_a_hook_that_fails_leaves_the_code_as_not_rolled_back() -> None:
    rolled = Rolled(hook="/there/is/no/such/command")
    async with rolled.rollback.running():
        rolled.rollback.trigger("code", "it is the code", OPS)
        await until(lambda: not rolled.rollback.hook_runs)
        assert rolled.rollback.in_effect == []
        assert "No such file" in (rolled.rollback.hook_failed or "")


async def test_the_server_rolls_the_code_back_by_itself_only_where_it_may() -> None:
    for code, expected in ((True, ["flags", "timeouts", "code"]), (False, ["flags", "timeouts"])):
        rolled = Rolled(hook=shlex.join([sys.executable, "-c", ""]), code=code)
        async with rolled.rollback.running():
            rolled.rollback.set_trigger("connect_failures", "bad")
            for _ in range(3):
                rolled.clock.advance(COOL_DOWN)
                rolled.rollback.look()
            await until(_idle(rolled.rollback))
            assert rolled.rollback.in_effect == expected


async def test_without_a_hook_the_code_cannot_be_rolled_back(rolled: Rolled) -> None:
    with pytest.raises(RequestError, match="GOLDENPATH_DEPLOY_HOOK"):
        rolled.rollback.trigger("code", "it is the code", OPS)


async def test_a_server_that_may_but_has_no_hook_says_so_and_does_not_try_at_every_look() -> None:
    rolled = Rolled(code=True)
    rolled.rollback.set_trigger("connect_failures", "bad")
    for _ in range(2):
        rolled.clock.advance(COOL_DOWN)
        rolled.rollback.look()
    assert rolled.rollback.cooling() == COOL_DOWN
    assert rolled.rollback.in_effect == ["flags", "timeouts"]


async def test_an_incident_told_of_at_length_rolls_back_all_the_same(rolled: Rolled) -> None:
    assert rolled.rollback.declare_incident("P0", "x" * MAX_WHY, OPS) == "flags"
    assert rolled.rollback.in_effect == ["flags"]


async def test_however_much_is_wrong_at_once_it_is_rolled_back(rolled: Rolled) -> None:
    for number in range(30):
        rolled.rollback.policy.set(f"alert {number}", f"{number:03} of a hundred connections fail > 0.05")
    rolled.rollback.look()
    assert rolled.rollback.in_effect == ["flags"]
    (row,) = await rolled.rollback.history(10)
    assert row.why.startswith("000 of a hundred")


class Stumbling(RollbackPolicy):
    """Fails at its first decision."""

    stumbled = False

    def decide(self, in_effect: Collection[Level], now: float) -> Step | None:
        if not self.stumbled:
            self.stumbled = True
            raise RuntimeError("a fault of ours")
        return super().decide(in_effect, now)


async def test_a_look_that_fails_is_not_the_last_one() -> None:
    rolled, policy = Rolled(), Stumbling(COOL_DOWN, code=False)
    policy.set("connect_failures", "6 % fail")
    rollback = Rollback(rolled.control, policy, rolled.actions, rolled.clock, None, HookFacts("", "", "testing", "1.0"))

    def rolled_back() -> bool:
        rolled.clock.advance(INTERVAL)
        return rollback.in_effect == ["flags"]

    with capture_logs() as logs:
        async with rollback.running():
            await until(rolled_back)
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["rollback_watch_failed"]


async def test_a_version_without_the_flag_undoes_the_rest_and_says_so(rolled: Rolled) -> None:
    rolled.control.put("feature", Rule(stage="canary"), OPS, "try it")
    rolled.control.put("model", Rule(stage="canary", variant="b"), OPS, "try it")
    rolled.rollback.trigger("flags", "slow", OPS)
    await rolled.actions.settled()
    older = Rolled(declared=[Flag("model", "", "a", {"a": 1})], store=rolled.store)  # its `model` has no variant b
    older.flags.replace(rolled.flags.rules)
    undone = await older.rollback.undo("it was not that", OPS)
    assert undone.restored == [NO_OPTIMIZATIONS, LEGACY_TIMEOUTS]
    assert sorted(undone.kept) == ["feature", "model"]
    assert older.rollback.in_effect == []


async def test_of_two_who_undo_at_once_each_undoes_one_roll_back() -> None:
    rolled = Rolled(store=Remote())
    rolled.rollback.trigger("flags", "slow", OPS)
    rolled.rollback.trigger("timeouts", "still slow", OPS)
    undone = await asyncio.gather(rolled.rollback.undo("fine", OPS), rolled.rollback.undo("fine", OPS))
    assert [each.level for each in undone] == ["timeouts", "flags"]


async def test_a_hook_that_cannot_be_called_at_all_leaves_the_code_as_not_rolled_back() -> None:
    rolled = Rolled(hook="http://[::1")
    async with rolled.rollback.running():
        rolled.rollback.trigger("code", "it is the code", OPS)
        await until(lambda: not rolled.rollback.hook_runs)
        assert rolled.rollback.in_effect == []
        assert [action for _, action, _, _ in await rolled.journal()] == ["roll back", "hook ended"]


async def test_rolled_back_time_outs_are_a_flag(rolled: Rolled) -> None:
    rolled.rollback.trigger("timeouts", "slow", OPS)
    assert rolled.flags.variant(TIMEOUTS) == ROLLED_BACK
