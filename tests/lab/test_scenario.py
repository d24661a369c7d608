"""Scenarios in another size, and what is said of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from goldenpath.lab.arrivals import ArrivalRate
from goldenpath.lab.faults import parse_fault
from goldenpath.lab.scenario import adapted, beyond
from goldenpath.lab.scenarios import SCENARIOS
from goldenpath.lab.targets import TargetSpec, make_target


@pytest.mark.parametrize(
    ("name", "sizes", "changes"),
    [
        ("sustained", {}, ""),
        ("sustained", {"users": 50, "rate": 10, "duration": 60}, ""),
        ("sustained", {"users": 3}, "3 users instead of 50"),
        (
            "sustained",
            {"rate": 2.5, "duration": 5},
            "2.5 iterations a second at most instead of 10, for 5 s instead of 60 s",
        ),
        ("stress", {"rate": 3_000}, "3,000 iterations a second at most instead of 1,500"),
        ("cancel_storm", {"duration": 20}, "for 20 s instead of 5 times each"),
        (
            "golden_path",
            {"users": 1, "faults": [parse_fault("kill@1"), parse_fault("reset@2")]},
            "1 user instead of 5, with kill@1 and reset@2",
        ),
    ],
)
def test_what_is_changed_is_said(name: str, sizes: dict[str, Any], changes: str) -> None:
    assert adapted(SCENARIOS[name], **sizes).changes == changes


def test_rates_keep_their_proportions() -> None:
    spike = adapted(SCENARIOS["spike"], rate=50, duration=8).arrivals
    assert isinstance(spike, ArrivalRate)
    assert (spike.highest, spike.start, spike.duration) == (50, 0.5, 8)


@pytest.mark.parametrize(("name", "sizes"), [("at_once", {"duration": 1}), ("golden_path", {"rate": 1})])
def test_what_a_scenario_does_not_have_cannot_be_changed(name: str, sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=name):
        adapted(SCENARIOS[name], **sizes)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"users": 100_000_000}, "users: 1e+08 is not between 1 and 100,000"),
        ({"users": 0}, "users: 0 is not between 1 and 100,000"),
        ({"rate": 1e9}, "rate: 1e+09 is not between 0.001 and 100,000"),
        ({"rate": float("nan")}, "rate: nan is not between 0.001 and 100,000"),
        ({"duration": float("inf")}, "duration: inf is not between 0.1 and 2,592,000"),
    ],
)
def test_sizes_have_bounds(sizes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        adapted(SCENARIOS["sustained"], **sizes)


async def test_a_scenario_is_beyond_a_target_that_cannot_do_what_it_is_about() -> None:
    target = make_target(TargetSpec("goldenpath", {"url": "http://127.0.0.1"}))
    await target.close()
    everything = target.abilities
    for name, scenario in SCENARIOS.items():
        assert not beyond(scenario, everything), name
        assert bool(beyond(scenario, ("connect", "login", "echo"))) == bool(scenario.about), name
