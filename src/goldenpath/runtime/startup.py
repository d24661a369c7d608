"""What a server depends on, looked at when it starts: all at once, each within its time-out, and remembered.

A definite no of what the server cannot do without ends the start at once, with one line. What is not there yet is tried
again until the grace of the start is over: in the cloud everything is started together, and what one needs comes up a
little later. Then it is a problem that health shows, and is looked at now and then until it is there. What was found
well is not looked at again: from then on the circuit breakers see how it does.

`StartupState` decides, without I/O; `Startup` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal, NamedTuple

import msgspec
import structlog

from goldenpath.runtime.deadlines import Deadline, Deadlines, TimedOut
from goldenpath.runtime.timeouts import Level
from goldenpath.wire.errors import GoldenpathError

Verdict = Literal["ok", "waiting", "warning", "problem"]
"""`waiting`: not there yet, and tried again; `warning`: serves, though it should be better."""

FIRST_RETRY: Final = 0.25
"""What is not there is tried again after so many seconds, then after twice as many, and so on."""
LAST_RETRY: Final = 5.0
RECHECK: Final = 30.0
"""What is still not there when the grace is over is looked at this often, in seconds."""

_logger = structlog.get_logger("goldenpath.startup")


class StartupError(GoldenpathError):
    """The server cannot do without what said no."""


class NotSo(GoldenpathError):
    """A check found something else than it should. `advice` says what to do."""

    def __init__(self, found: str, advice: str = "") -> None:
        super().__init__(found)
        self.advice = advice


class DefiniteNo(NotSo):
    """It will not come by waiting."""


class NotYet(NotSo):
    """It may come."""


class Doubt(NotSo):
    """It serves, though it should be better."""


class Check(NamedTuple):
    """Something that a server depends on. `look` returns what was found; it raises `NotSo`, and may be cancelled. What
    else it raises is a definite no."""

    name: str
    look: Callable[[], Awaitable[str]]
    required: bool
    """Whether the server cannot do anything without it; else a part of its work goes on."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `advice` says what to do where it is not ok."""

    what: str
    verdict: Verdict
    found: str
    advice: str = ""


class StartupStatistics(msgspec.Struct, frozen=True):
    """What the server depends on, as it was found."""

    waiting: int
    """Dependencies that are not there yet, and are tried again."""
    failed: int
    """Dependencies that said no, or were not there when the grace of the start was over."""


class StartupState:
    """What was found so far. Something may not be there yet until `grace_ends`, on the time line of `found`."""

    def __init__(self, names: Sequence[str], grace_ends: float) -> None:
        self.grace_ends = grace_ends
        self._tries = dict.fromkeys(names, 0)
        self.findings = {name: Finding(name, "waiting", "not looked at yet") for name in names}
        """By name, in the order of the checks."""

    def found(self, name: str, result: str | NotSo, now: float) -> float | None:
        """Take in what a look at `name` found. Returns in how many seconds to look again; None: not again."""
        if isinstance(result, str):
            self.findings[name] = Finding(name, "ok", result)
            return None
        if isinstance(result, Doubt):
            self.findings[name] = Finding(name, "warning", str(result), result.advice)
            return None
        retry = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(self._tries[name], 10))
        self._tries[name] += 1
        if isinstance(result, NotYet) and now + retry <= self.grace_ends:
            self.findings[name] = Finding(name, "waiting", str(result), result.advice)
            return retry
        self.findings[name] = Finding(name, "problem", str(result), result.advice)
        return RECHECK

    def end_grace(self) -> list[str]:
        """The grace is over: nothing is waited for any more. Returns the names of what was."""
        late = [name for name, finding in self.findings.items() if finding.verdict == "waiting"]
        for name in late:
            self.findings[name] = msgspec.structs.replace(self.findings[name], verdict="problem")
        return late

    @property
    def settled(self) -> bool:
        """Whether nothing is waited for any more, be it that it is there or that the grace is over."""
        return all(finding.verdict != "waiting" for finding in self.findings.values())

    def statistics(self) -> StartupStatistics:
        verdicts = [finding.verdict for finding in self.findings.values()]
        return StartupStatistics(waiting=verdicts.count("waiting"), failed=verdicts.count("problem"))


class Startup:
    """The checks of one server. Belongs to one event loop.

    Of the time-outs in force `health_check` bounds each look, `startup` all of `require`, and `health_wait` is the
    grace of `watch`; `orchestration` bounds it all together, from `begin` on. Those that fire are counted. With
    `patient` the server is not `ready` before everything is there or the grace is over.
    """

    def __init__(self, checks: Sequence[Check], deadlines: Deadlines, *, patient: bool) -> None:
        self._checks = tuple(checks)
        self._deadlines = deadlines
        self._clock = deadlines.clock
        self._patient = patient
        self.begin()

    def begin(self) -> None:
        """The start begins now: its time counts from here, and nothing was looked at yet."""
        self._whole = self._grace = self._deadlines.start("orchestration")
        self._whole_fired = False
        self.state = StartupState([check.name for check in self._checks], self._whole.at)

    @property
    def ready(self) -> bool:
        """Whether traffic should come, as far as this goes."""
        return not self._patient or self.state.settled

    def findings(self) -> list[Finding]:
        """What was found of each, in the order of the checks."""
        return list(self.state.findings.values())

    def statistics(self) -> StartupStatistics:
        return self.state.statistics()

    async def require(self) -> None:
        """Look at what the server cannot do without, all at once. Raises `StartupError` for the first no of the
        checks' order, or where they take longer than they may."""
        required = [check for check in self._checks if check.required]
        try:
            async with self._deadlines.within(self._part("startup")):
                await asyncio.gather(*(self._look(check) for check in required))
        except TimedOut as late:
            raise StartupError(f"the start was not done within {late.seconds:g} s") from None
        for check in required:
            finding = self.state.findings[check.name]
            if finding.verdict in ("waiting", "problem"):
                raise StartupError(": ".join(filter(None, (finding.what, finding.found, finding.advice))))

    async def watch(self) -> None:
        """Look at everything else, again and again until it is there. The grace begins. Cancelling is safe."""
        self._grace = self._part("health_wait")
        self.state.grace_ends = self._grace.at
        timer = self._clock.call_later(self._grace.remaining(self._clock.monotonic()), self._end_grace)
        try:
            await asyncio.gather(*(self._watch(check) for check in self._checks if not check.required))
        finally:
            timer.cancel()

    def _end_grace(self) -> None:
        """What is looked at right now is a problem from now on, however long that look may go on."""
        for _ in self.state.end_grace():
            self._gave_up()

    async def _watch(self, check: Check) -> None:
        told: Verdict = "waiting"
        while (retry := await self._look(check)) is not None:
            finding = self.state.findings[check.name]
            if finding.verdict != told:
                told = finding.verdict
                _logger.error("dependency_missing", what=check.name, found=finding.found, advice=finding.advice)
            await self._clock.sleep(retry)
        if told != "waiting":
            _logger.info("dependency_there", what=check.name, found=self.state.findings[check.name].found)

    async def _look(self, check: Check) -> float | None:
        result = await look(check, self._deadlines)
        waited = self.state.findings[check.name].verdict == "waiting"
        retry = self.state.found(check.name, result, self._clock.monotonic())
        if isinstance(result, NotYet) and waited and self.state.findings[check.name].verdict == "problem":
            self._gave_up()
        return retry

    def _gave_up(self) -> None:
        """Count that one service is waited for no longer, and once that this is the end of the whole start's time."""
        self._deadlines.fired("health_wait", self._grace.seconds)
        if self._grace.level == "orchestration" and not self._whole_fired:
            self._whole_fired = True
            self._deadlines.fired("orchestration", self._grace.seconds)

    def _part(self, level: Level) -> Deadline:
        """The deadline of a part of the start that begins now."""
        return self._whole.child(level, self._deadlines.timeouts.now.of(level), self._clock.monotonic())


async def look(check: Check, deadlines: Deadlines) -> str | NotSo:
    """What one check finds within `health_check`. Raises nothing but by cancelling."""
    try:
        async with deadlines.within(deadlines.start("health_check")):
            return await check.look()
    except NotSo as found:
        return found
    except TimedOut as late:
        return NotYet(f"no answer within {late.seconds:g} s", "is it up, and can it be reached from here?")
    except Exception as error:
        # Only the kind is shown: the text may name what is internal, or be a secret, and anybody may read this.
        _logger.exception("check_failed", what=check.name)
        return DefiniteNo(f"it could not be looked at ({type(error).__name__})", "the server's log says more")
