"""Rolling back: what the levels do, the journal of it, and undoing it. The shell around `RollbackPolicy`.

What a level takes back it takes back by flags, which hold at once, outlive the process, and are watched in a file: so a
roll-back needs no restart, and works without a log-in on the machine of the server. Only the code is somebody else's:
the deploy hook's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.flags.control import FlagControl
from goldenpath.runtime.flags.definition import AUTOMATIC_ROLLBACK, ROLLED_BACK, TIMEOUTS, FlagError, UnknownFlag
from goldenpath.runtime.flags.rule import Rule
from goldenpath.runtime.interfaces import ActionRow
from goldenpath.runtime.operators import MAX_WHY, SERVER, Actions
from goldenpath.runtime.rollback.changes import SWITCHES, rolled_back, timeouts_back
from goldenpath.runtime.rollback.hook import DeployHook, HookFacts
from goldenpath.runtime.rollback.policy import Level, RollbackPolicy
from goldenpath.wire.errors import RequestError

AREA: Final = "rollback"
"""Of roll-backs in the journal of operators."""
INTERVAL: Final = 2.0
"""How often it is looked whether something more is to be done, in seconds."""
_UNDO: Final = "undo"
_LOOKED_BACK: Final = 1_000

_logger = structlog.get_logger("goldenpath.rollback")


class Undone(msgspec.Struct, frozen=True):
    """What taking a roll-back back did: `restored` flags have their rules of before. `kept` ones stay as they are:
    somebody changed them since, or this version of the app has no flag of that name that can have such a rule."""

    number: int
    level: Level
    restored: list[str]
    kept: list[str]


class RollbackStatistics(msgspec.Struct, frozen=True):
    """Roll-backs now, and since the start."""

    in_effect: int
    """Levels that are rolled back: flags, time-outs, code."""
    triggers: int
    """Things that are wrong now and call for a roll-back."""
    done: int
    """Roll-backs, by operators and by the server itself."""
    undone: int
    """Roll-backs that were undone."""


class Rollback:
    """The roll-backs of one server. `hook`: None where no deploy hook is set. Belongs to one event loop."""

    def __init__(
        self,
        control: FlagControl,
        policy: RollbackPolicy,
        actions: Actions,
        clock: Clock,
        hook: DeployHook | None,
        facts: HookFacts,
    ) -> None:
        self.policy = policy
        self._control = control
        self._flags = control.flags
        self._actions = actions
        self._clock = clock
        self._hook = hook
        self._facts = facts
        self._hooked: asyncio.Task[None] | None = None
        self._undoing = asyncio.Lock()
        self._code_rolled_back = False
        self.hook_failed: str | None = None
        """How the last call of the deploy hook failed; None: it did not, or there was none."""
        self._done = self._undone = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch, while the context is open, whether something is to be done. A hook that runs at its end is stopped:
        docs/howto/rollback.md says what one does that restarts this server."""
        task = asyncio.create_task(self._watch(), name="goldenpath-rollback")
        try:
            yield
        finally:
            tasks = [each for each in (task, self._hooked) if each is not None]
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(INTERVAL)
            try:
                self.look()
            except Exception:
                _logger.exception("rollback_watch_failed")

    # --- by itself ----------------------------------------------------------------------------------------------------

    @property
    def automatic(self) -> bool:
        """Whether the server rolls back by itself."""
        return self._flags.enabled(AUTOMATIC_ROLLBACK)

    def set_trigger(self, name: str, why: str | None, over: float = 0.0) -> None:
        """Something that calls for a roll-back is wrong, `why` in words; None: no more. Something is done about it at
        once, unless the cool-down says to wait; and again after it, as long as it is wrong, by what the last `over`
        seconds say and the last roll-back is no part of."""
        self.policy.set(name, why, over)
        self.look()

    def look(self) -> None:
        """Do what is to be done now, if anything. What cannot be done is told in the log."""
        if not self.automatic:
            return
        step = self.policy.decide(self.in_effect, self._clock.monotonic())
        if step is not None:
            self._try(step.level, step.why)

    def declare_incident(self, severity: str, why: str, actor: str) -> Level | None:
        """Somebody says that there is an incident: of P0 and P1 the next level is rolled back now, cool-down or not.
        Returns it; None: nothing was, or is left to be, rolled back."""
        self._actions.record(actor, "incident", "declare", severity, why=why)
        level = self.policy.next_level(self.in_effect)
        if severity not in ("P0", "P1") or level is None or not self.automatic:
            return None
        self._try(level, f"incident {severity}: {why}")
        return level

    def _try(self, level: Level, why: str) -> None:
        try:
            self.trigger(level, why, SERVER)
        except (RequestError, FlagError) as error:
            self.policy.acted(self._clock.monotonic())  # not again and again
            _logger.error("rollback_failed", level=level, why=why, error=str(error))  # noqa: TRY400

    # --- told to ------------------------------------------------------------------------------------------------------

    @property
    def in_effect(self) -> list[Level]:
        """The levels that are rolled back now; the code since the start of the process, as far as it was told."""
        found: list[Level] = []
        if all(self._flags.enabled(switch) for switch in SWITCHES):
            found.append("flags")
        if self._flags.variant(TIMEOUTS) == ROLLED_BACK:
            found.append("timeouts")
        if self._code_rolled_back:
            found.append("code")
        return found

    def trigger(self, level: Level, why: str, actor: str = SERVER) -> None:
        """Roll `level` back, at once; record who did it and why, of which what is longer than `MAX_WHY` is cut off. For
        `code` this only begins: the hook runs beside everything else, and its end is recorded too.

        Raises `RequestError`: `not_configured` where the code shall be rolled back and there is no hook, `conflict`
        where the hook runs already; and `FlagError` where there are too many rules for one more.
        """
        why = why[:MAX_WHY]  # it may be made of many reasons: none of them is worth the roll-back
        if level == "code":
            self._begin_hook(why, actor)
            changes: dict[str, Rule] = {}
        elif level == "timeouts":
            changes = timeouts_back()
        else:
            known = {name: rule for name, rule in self._flags.rules.items() if name not in self._flags.unknown}
            changes = rolled_back(known)
        before = {name: self._flags.rules.get(name) for name in changes}
        for name, rule in changes.items():
            self._control.put(name, rule, actor, why)
        self._record(level, actor, before, changes, why)
        self._done += 1
        self.policy.acted(self._clock.monotonic())

    def _record(
        self, level: Level, actor: str, before: Mapping[str, Rule | None], after: Mapping[str, Rule | None], why: str
    ) -> None:
        self._actions.record(actor, AREA, "roll back", level, before=_effects(before), after=_effects(after), why=why)

    def _begin_hook(self, why: str, actor: str) -> None:
        if self._hook is None:
            raise RequestError("not_configured", "there is no deploy hook: set GOLDENPATH_DEPLOY_HOOK")
        if self._hooked is not None and not self._hooked.done():
            raise RequestError("conflict", "the deploy hook runs already")
        facts = msgspec.structs.replace(self._facts, why=why, actor=actor)
        self._hooked = asyncio.get_running_loop().create_task(self._run_hook(self._hook, facts))
        self._code_rolled_back = True
        self.hook_failed = None

    async def _run_hook(self, hook: DeployHook, facts: HookFacts) -> None:
        result = await hook.run(facts)
        self._code_rolled_back = result.ok
        self.hook_failed = None if result.ok else result.ended
        if not result.ok:
            _logger.error("deploy_hook_failed", ended=result.ended, output=result.output)
        self._actions.record(facts.actor, AREA, "hook ended", "code", after=result, why=facts.why)
        await self._actions.settled()

    # --- undoing ------------------------------------------------------------------------------------------------------

    async def history(self, limit: int, before: int | None = None) -> list[ActionRow]:
        """The roll-backs, newest first. Raises `StoreError`."""
        return await self._actions.latest(limit, before, AREA)

    async def undo(self, why: str, actor: str) -> Undone:
        """Take the last roll-back of flags or time-outs back that is not undone. Raises `RequestError`: `not_found`,
        `overloaded` while the journal cannot be written; `StoreError`."""
        async with self._undoing:  # who comes second undoes the one before, not the same again
            row = await self._last()
            if self._actions.waits(AREA):  # it is the last one, and what is before it is not to be undone instead
                message = "the last roll-back is not in the journal yet; clear its flags instead, or try again"
                raise RequestError("overloaded", message, retry_after=5.0)
            if row is None:
                raise RequestError("not_found", "there is no roll-back to undo; code is put back by deploying it again")
            level: Level = "flags" if row.subject == "flags" else "timeouts"
            before, after = (_rules(each) for each in (row.before, row.after))
            restored = [name for name, rule in after.items() if self._restore(name, rule, before.get(name), actor, why)]
            undone = Undone(row.number, level, restored, [name for name in after if name not in restored])
            self._actions.record(actor, AREA, _UNDO, level, after=undone, why=why)
            self._undone += 1
            self.policy.acted(self._clock.monotonic())
            await self._actions.settled()
            return undone

    def _restore(self, name: str, held: Rule | None, before: Rule | None, actor: str, why: str) -> bool:
        """Put the rule of `before` back where the one that the roll-back set is `held` still. Returns whether it is."""
        if _effect(self._flags.rules.get(name)) != held:
            return False
        try:
            self._control.put(name, before, actor, why)
        except (
            UnknownFlag,
            FlagError,
        ) as error:  # the code was rolled back, too: the others are to be undone all the same
            _logger.warning("rollback_not_undone", flag=name, error=str(error))
            return False
        return True

    async def _last(self) -> ActionRow | None:
        undone: set[int] = set()
        for row in await self.history(_LOOKED_BACK):
            if row.action == _UNDO and row.after is not None:
                undone.add(msgspec.json.decode(row.after, type=Undone).number)
            elif row.action == "roll back" and row.number not in undone and _changed_something(row):
                return row
        return None

    @property
    def hook_runs(self) -> bool:
        """Whether the deploy hook runs now."""
        return self._hooked is not None and not self._hooked.done()

    @property
    def has_hook(self) -> bool:
        return self._hook is not None

    def statistics(self) -> RollbackStatistics:
        return RollbackStatistics(len(self.in_effect), len(self.policy.triggers), self._done, self._undone)

    def cooling(self) -> float:
        """For how many more seconds the server does nothing by itself."""
        return self.policy.cooling(self._clock.monotonic())


def _changed_something(row: ActionRow) -> bool:
    """Whether there is anything to undo: of the code there is not, nor where all was rolled back before."""
    return row.subject != "code" and _rules(row.before) != _rules(row.after)


def _effect(rule: Rule | None) -> Rule | None:
    return None if rule is None else rule.effect


def _effects(rules: Mapping[str, Rule | None]) -> dict[str, Any] | None:
    return {name: _effect(rule) for name, rule in rules.items()} or None


def _rules(data: bytes | None) -> dict[str, Rule | None]:
    return {} if data is None else msgspec.json.decode(data, type=dict[str, Rule | None])
