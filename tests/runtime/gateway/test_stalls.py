from __future__ import annotations

from goldenpath.runtime.gateway.stalls import INTERVAL, STALL, Stalls


def test_a_stall_is_told_at_once_and_a_little_lateness_is_none() -> None:
    stalls = Stalls()
    assert stalls.note(STALL - 0.01, 1) is None
    assert stalls.note(STALL, 2) == STALL


def test_of_many_stalls_the_longest_is_told_once_in_a_while() -> None:
    stalls = Stalls()
    assert stalls.note(1.0, 100) == 1.0
    for now, late in ((101, 2.0), (103, 3.0), (105, 1.5), (99 + INTERVAL, 0.0)):
        assert stalls.note(late, now) is None
    assert stalls.note(0.0, 100 + INTERVAL) == 3.0
    assert stalls.note(0.0, 100 + 3 * INTERVAL) is None
