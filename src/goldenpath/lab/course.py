"""What the course of a run says: whether it got slower, and how long it took to recover."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, inf
from typing import Final

from goldenpath.histogram import Histogram
from goldenpath.lab.timeline import Bin, Timeline

_USUAL: Final = 2.0
"""As before: the 95th percentile is at most this many times what it was."""
_NOTICED: Final = 0.1
"""Seconds; and answers that come faster than this are as before in any case."""
_STEADY: Final = 5.0
"""Seconds for which answers have to be as before, or to the end of the load where less is left: what happens later is
nothing of what happened then."""
_LUCK: Final = 0.05
"""So likely it may be, at most, that nothing failed by luck alone, though as large a share fails as since the fault: a
few users of many may go on failing, each now and then."""
_PEAK: Final = 0.5
"""The highest load lasts as long as at least this share of the highest rate is offered."""


def drift(timeline: Timeline, floor: float) -> float | None:
    """How much larger the median time to the first token is in the last quarter of a run than in its first; times below
    `floor` seconds count as that. None where either has none."""
    quarter = timeline.seconds / 4
    first = _tokens(each for at, each in _bins(timeline) if at < quarter).percentile(50)
    last = _tokens(each for at, each in _bins(timeline) if at >= 3 * quarter).percentile(50)
    if first is None or last is None:
        return None
    return max(last, floor) / max(first, floor) - 1


def recovery_after_load(timeline: Timeline) -> float | None:
    """Seconds from the end of the highest offered load until answers come as before it and nothing fails. None where it
    did not recover as long as the load lasted, or nothing was asked afterwards."""
    bins = list(_bins(timeline))
    highest = max((each.offered for _, each in bins), default=0)
    high = [at for at, each in bins if each.offered >= _PEAK * highest]
    if not high or not highest:
        return None
    recovery = _recovered(timeline, min(high), max(high) + timeline.width)
    return None if recovery == inf else recovery  # what is worked off yet is not broken


def recovery_after_fault(timeline: Timeline) -> float | None:
    """Seconds from the end of the last fault until answers come as before the first, and no larger share fails. `inf`
    where that never was, as long as anybody asked; None where there was no fault, or too little was asked afterwards to
    tell."""
    if not timeline.faults:
        return None
    ends = [fault.began if fault.ended is None else fault.ended for fault in timeline.faults]
    return _recovered(timeline, min(fault.began for fault in timeline.faults), max(ends))


def _recovered(timeline: Timeline, begin: float, end: float) -> float | None:
    """None also where too little came afterwards to tell."""
    bins = list(_bins(timeline))
    before = [each for at, each in bins if at + timeline.width <= begin]
    slow = max(_NOTICED, _USUAL * (_tokens(before).percentile(95) or 0.0))
    failing = _share(sum(each.failed for each in before), sum(each.completed for each in before))
    after = [(at, each) for at, each in bins if at >= end and (each.completed or each.failed)]
    if not after:
        return None
    if any(row.ok < end <= row.before_last and row.first >= begin for row in timeline.failed.values()):
        return inf  # of somebody nothing has gone well since
    recovered: float | None = None
    bad, good = [0, 0], [0, 0]
    """How many failed and how many went well: until `recovered`, and since."""
    for at, each in after:
        good = [good[0] + each.failed, good[1] + each.completed]
        slowest = each.first_token.percentile(95)
        failed = each.failed if recovered is None else good[0] - ceil(failing * sum(good))
        if failed > 0 or (slowest is not None and slowest > slow):
            bad, good = [bad[0] + good[0], bad[1] + good[1]], [0, 0]
            recovered = None
        elif recovered is None:
            recovered = at
        elif at + timeline.width - recovered >= _STEADY and _chance(_share(*bad) - failing, good[1]) <= _LUCK:
            break
    more = _share(*bad) - failing
    if recovered is None or (more > 0 and more * good[1] < 1):
        return inf
    return recovered - end if _chance(more, good[1]) <= _LUCK else None


def _share(failed: int, completed: int) -> float:
    """Of what was asked how much failed."""
    return failed / (failed + completed) if failed else 0.0


def _chance(failing: float, completed: int) -> float:
    """How likely it is that so many go well in a row though such a share still fails."""
    return (1 - failing) ** completed if failing > 0 else 0.0


def _bins(timeline: Timeline) -> Iterable[tuple[float, Bin]]:
    """From the beginning of the load, in order, with their times."""
    return ((number * timeline.width, timeline.bins[number]) for number in sorted(timeline.bins) if number >= 0)


def _tokens(bins: Iterable[Bin]) -> Histogram:
    whole = Histogram()
    for each in bins:
        whole.merge(each.first_token)
    return whole
