"""Changing flags while the server runs: by operators' calls, and by a file that is watched.

The file is where rules outlive the process. A change holds at once, whether the file takes it or not: a switch must
work on a server whose disk is full. What the file did not take is tried again whenever it is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from goldenpath.clock import Clock, timeout
from goldenpath.runtime.flags import file
from goldenpath.runtime.flags.definition import BUILTIN, FlagError
from goldenpath.runtime.flags.flags import FlagChange, Flags
from goldenpath.runtime.flags.rule import Rule
from goldenpath.runtime.offload import call_in_thread
from goldenpath.runtime.operators import FILE, PATIENCE, Actions
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.startup import StartupError

AREA: Final = "flag"
"""Of flags in the journal of operators."""

_NOTHING: Final = object()
_logger = structlog.get_logger("goldenpath.flags")


class FlagStatistics(msgspec.Struct, frozen=True):
    """The flags now."""

    rules: int
    """Flags that have a rule."""
    changes: int
    """Changes since the start."""
    broken: int
    """1 while the flags' file makes no sense or cannot be read, and the rules from before hold; else 0."""
    unsaved: int
    """Changes that hold, but that the file has not taken yet."""


class FlagControl:
    """Changes `flags`, records each change, and keeps them in the file at `path`; None: in memory only. The file is
    looked at every `interval` seconds. Belongs to one event loop."""

    def __init__(self, flags: Flags, actions: Actions, clock: Clock, path: Path | None, interval: float) -> None:
        self.flags = flags
        self.path = path
        self.problem: str | None = None
        """What is wrong with the file, while the rules from before hold; None: nothing."""
        self._actions = actions
        self._clock = clock
        self._interval = interval
        self._lock = asyncio.Lock()
        self._seen: file.Signature | None = None
        self._changes = 0
        self._unsaved: dict[str, Rule | None] = {}
        self._looks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take the rules of the file, and watch it while the context is open; at its end the file gets what it has not
        taken yet, and the journal too. Raises `StartupError` for a file that makes no sense: there are no rules
        from before, and what was switched off would be on."""
        if self.path is not None:
            await self._look(first=True)
            if self.problem is not None:
                raise StartupError(self.problem)
        task = asyncio.create_task(self._watch(), name="goldenpath-flags")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, *self._looks, return_exceptions=True)
            await self._look()
            await self._actions.settled()

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(self._interval)
            try:
                await self._look()
                self._actions.retry()
            except Exception:
                _logger.exception("flags_watch_failed")

    # --- the file -----------------------------------------------------------------------------------------------------

    async def _look(self, *, first: bool = False) -> None:
        """Take in what the file says where it changed, and give it what it has not taken yet."""
        async with self._lock:
            await self._take_in(first=first)
            while self._unsaved and await self._save():
                pass  # more may have been changed meanwhile

    async def _take_in(self, *, first: bool = False) -> None:
        if self.path is None:
            return
        try:
            # One that could not be read may be back just as it was seen.
            found = await call_in_thread(_changed, self.path, self._seen, first or self.problem is not None)
            if found is None:
                return
            self._seen, rules = found
            changes = _replaced(self.flags, file.merged(rules, self._unsaved), self.path)
        except FlagError as error:
            if not first:
                self._tell_problem(str(error))
            self.problem = str(error)
            return
        if self.problem is not None:
            _logger.warning("flags_file_mended", path=str(self.path))
            self.problem = None
        for name in self.flags.unknown:
            _logger.warning("flag_unknown", flag=name, path=str(self.path))
        if first and changes:
            held = {change.name: change.after and change.after.effect for change in changes}
            self._actions.record(FILE, AREA, "load", str(self.path), after=held)
            return
        for change in changes:
            self._record(change, _who(change), (change.after and change.after.why) or "")

    def _tell_problem(self, problem: str) -> None:
        if problem != self.problem:
            _logger.error("flags_file_broken", error=problem, held="the rules from before")

    async def _save(self) -> bool:
        """Have the file take what it has not taken. Returns whether it did; what fails is told, and stays to be tried
        again."""
        if self.path is None:
            self._unsaved.clear()
            return True
        unsaved = dict(self._unsaved)
        try:
            await call_in_thread(_save, self.path, unsaved)
        except FlagError as error:
            _logger.error("flags_not_saved", flags=list(unsaved), error=str(error))  # noqa: TRY400
            return False
        for name, rule in unsaved.items():
            if self._unsaved.get(name, _NOTHING) is rule:
                del self._unsaved[name]
        return True

    def _begin_look(self) -> asyncio.Task[None]:
        """In a task of its own: whoever waits for it and leaves must not leave a thread behind that writes what is old
        by then."""
        look = asyncio.get_running_loop().create_task(self._look())
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)
        return look

    # --- changing -----------------------------------------------------------------------------------------------------

    def put(self, name: str, rule: Rule | None, actor: str, why: str) -> FlagChange | None:
        """Set a flag's rule (None: take it away), at once, and record it. `settled` waits for the file. Returns what
        changed; None: nothing. Raises `UnknownFlag`, `FlagError`."""
        if rule is not None:
            rule = msgspec.structs.replace(rule, by=actor, why=why)
        change = self.flags.put(name, rule)
        if change is not None:
            self._unsaved[name] = rule
            self._record(change, actor, why)
            if not self._looks:  # else the one that waits, or is at work and looks again, saves it too
                self._begin_look()
        return change

    async def settled(self) -> bool:
        """Wait until the file and the journal have what was changed, for `PATIENCE` seconds each at most. Returns
        whether the file does; where it does not, the change holds as long as the process. Cancelling is safe: the file
        is given it at the next look."""
        with suppress(TimeoutError):
            async with timeout(self._clock, PATIENCE):
                await asyncio.shield(self._begin_look())
        await self._actions.settled()
        return not self._unsaved and self.path is not None

    def _record(self, change: FlagChange, actor: str, why: str) -> None:
        self._changes += 1
        before, after = (None if rule is None else rule.effect for rule in (change.before, change.after))
        action = "clear" if after is None else "set"
        self._actions.record(actor, AREA, action, change.name, before=before, after=after, why=why)

    def statistics(self) -> FlagStatistics:
        return FlagStatistics(
            rules=len(self.flags.rules),
            changes=self._changes,
            broken=int(self.problem is not None),
            unsaved=len(self._unsaved),
        )


def rules_of(settings: Settings) -> Mapping[str, Rule]:
    """The rules that a start with `settings` finds in its file; whether those of the app's own flags fit them, only the
    start sees. Blocking. Raises `FlagError` where it would be refused."""
    flags = Flags(BUILTIN, settings.environment)
    if settings.flags_path is not None:
        _replaced(flags, file.read(settings.flags_path), settings.flags_path)
    return flags.rules


def _replaced(flags: Flags, rules: Mapping[str, Rule], path: Path) -> list[FlagChange]:
    """Give `flags` the rules that the file at `path` has. Raises `FlagError`, which names the file."""
    try:
        return flags.replace(rules)
    except FlagError as error:
        raise FlagError(f"{path}: {error}") from None


def _who(change: FlagChange) -> str:
    """Who made a change of the file, as far as it says so: where it says what it said before, that was somebody's who
    set the rule before, and whoever edited it did not say."""
    before, after = change.before, change.after
    if after is None or (before is not None and (before.by, before.why) == (after.by, after.why)):
        return FILE
    return after.by or FILE


def _changed(
    path: Path, seen: file.Signature | None, anyway: bool
) -> tuple[file.Signature | None, dict[str, Rule]] | None:
    """What the file is and says now; None: it is as it was `seen`. `anyway`: also then."""
    found = file.signature(path)
    if found == seen and not anyway:
        return None
    return found, file.read(path)


def _save(path: Path, changes: Mapping[str, Rule | None]) -> None:
    file.edit(path, lambda rules: file.merged(rules, changes), wait=False)
