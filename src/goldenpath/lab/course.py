"""What the course of a run says: whether it got slower, and how long it took to recover."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from goldenpath.lab.histogram import Histogram
from goldenpath.lab.timeline import Bin, Timeline

_USUAL: Final = 2.0
"""As before: the 95th percentile is at most this many times what it was."""
_NOTICED: Final = 0.1
"""Seconds; and answers that come faster than this are as before in any case."""
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
    did not recover, or nothing was asked afterwards."""
    bins = list(_bins(timeline))
    highest = max((each.offered for _, each in bins), default=0)
    high = [at for at, each in bins if each.offered >= _PEAK * highest]
    if not high or not highest:
        return None
    return _recovered(timeline, min(high), max(high) + timeline.width)


def recovery_after_fault(timeline: Timeline) -> float | None:
    """Seconds from the end of the last fault until answers come as before the first. None where they did not, or
    nothing was asked afterwards."""
    if not timeline.faults:
        return None
    ends = [fault.began if fault.ended is None else fault.ended for fault in timeline.faults]
    return _recovered(timeline, min(fault.began for fault in timeline.faults), max(ends))


def _recovered(timeline: Timeline, begin: float, end: float) -> float | None:
    bins = list(_bins(timeline))
    before = _tokens(each for at, each in bins if at + timeline.width <= begin).percentile(95) or 0.0
    usual = max(_NOTICED, _USUAL * before)
    after = [(at, each) for at, each in bins if at >= end and (each.completed or each.failed)]
    recovered: float | None = None
    for at, each in after:
        slowest = each.first_token.percentile(95)
        if each.failed or (slowest is not None and slowest > usual):
            recovered = None
        elif recovered is None:
            recovered = at - end
    return recovered


def _bins(timeline: Timeline) -> Iterable[tuple[float, Bin]]:
    """From the beginning of the load, in order, with their times."""
    return ((number * timeline.width, timeline.bins[number]) for number in sorted(timeline.bins) if number >= 0)


def _tokens(bins: Iterable[Bin]) -> Histogram:
    whole = Histogram()
    for each in bins:
        whole.merge(each.first_token)
    return whole
