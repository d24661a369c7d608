"""Space-Saving: what a count of everybody would say, in bounded memory."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.dashboard.hitters import HeavyHitters

STREAM = st.lists(st.tuples(st.sampled_from("abcdefghijkl"), st.integers(1, 1000)), max_size=200)


@given(stream=STREAM, room=st.integers(1, 8))
def test_whoever_weighs_more_than_their_share_is_there_and_nobody_is_told_too_low(
    stream: list[tuple[str, int]], room: int
) -> None:
    hitters, exact = HeavyHitters(room), Counter[str]()
    for key, weight in stream:
        hitters.add(key, weight)
        exact[key] += weight
    told = dict(hitters)
    total = sum(exact.values())
    assert len(told) == len(hitters) == min(room, len(exact))
    assert hitters.total == sum(told.values()) == total
    for key, weight in exact.items():
        if weight > total / room:
            assert key in told
    for key, said in told.items():
        assert exact[key] <= said <= exact[key] + total / room


@given(stream=STREAM)
def test_with_room_for_all_it_is_exact(stream: list[tuple[str, int]]) -> None:
    hitters, exact = HeavyHitters(12), Counter[str]()
    for key, weight in stream:
        hitters.add(key, weight)
        exact[key] += weight
    assert dict(hitters) == dict(exact)


def test_no_weight_is_nothing_and_no_room_is_refused() -> None:
    hitters = HeavyHitters(1)
    hitters.add("a", 0)
    assert len(hitters) == 0
    with pytest.raises(ValueError, match="one key"):
        HeavyHitters(0)
