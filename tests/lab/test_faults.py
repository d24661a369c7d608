"""Faults as the command line names them."""

from __future__ import annotations

import pytest

from goldenpath.lab.faults import KINDS, Fault, parse_fault


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("kill@10", Fault("kill@10", "kill", 10, 0)),
        ("kill@10+2", Fault("kill@10+2", "kill", 10, 2)),
        ("stop@5+2.5", Fault("stop@5+2.5", "stop", 5, 2.5)),
        ("restart@0", Fault("restart@0", "restart", 0, 0)),
        ("latency=100ms@5+10", Fault("latency=100ms@5+10", "latency", 5, 10, 0.1)),
        ("jitter=0.5s@1s+2s", Fault("jitter=0.5s@1s+2s", "jitter", 1, 2, 0.5)),
        ("bandwidth=20kB~0.5@1", Fault("bandwidth=20kB~0.5@1", "bandwidth", 1, 5, 20_000, 0.5)),
        ("reset~0.2@8", Fault("reset~0.2@8", "reset", 8, 0, 0, 0.2)),
        ("cut=4096@1+1", Fault("cut=4096@1+1", "cut", 1, 1, 4096)),
    ],
)
def test_a_fault_says_what_when_how_long_how_much_and_of_whom(spec: str, fault: Fault) -> None:
    assert parse_fault(spec) == fault


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("", "write KIND"),
        ("kill", "write KIND"),
        ("kill@", "write KIND"),
        ("kill@soon", "write KIND"),
        ("flood@3", "there is no fault 'flood'"),
        ("latency@3", "needs a value in seconds"),
        ("kill=3@3", "has no value"),
        ("latency=3kB@3", "is no unit of seconds"),
        ("reset@3+1", "over at once"),
        ("reset~0@3", "a share is more than 0"),
        ("reset~1.5@3", "a share is more than 0"),
        ("kill~0.5@3", "the whole server"),
        ("latency=1.2.3@3", "not a number"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(spec: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_fault(spec)


def test_every_kind_says_what_it_does() -> None:
    assert all(kind.effect for kind in KINDS.values())
