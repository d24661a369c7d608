"""What is known of the reference workload besides its answers is checked: how many events, what a tool says."""

from __future__ import annotations

import pytest
from bench.tally import Reference

from bench import judging, workload
from goldenpath.lab.canary import Canaries
from goldenpath.lab.checkers import standard_checkers
from goldenpath.lab.formats import make_format
from goldenpath.lab.judge import Judge
from goldenpath.lab.records import Received

OTHERS = workload.marker(7, 0).encode()
MARK = workload.marker(1, 0).encode()


def wrong(old: bytes, new: bytes) -> set[tuple[str, str]]:
    """What is found in a history of one run in which the server says `new` instead of `old`."""
    reference = Reference(judging.USERS)
    format_ = make_format("goldenpath", {})
    judge = Judge(format_, [*standard_checkers(format_, Canaries(judging.NONCE)), reference])
    changed = 0
    for record in judging.records(workload.EVENTS):
        if isinstance(record, Received):
            changed += record.payload.count(old)
            judge.take(Received(record.at, record.user, record.connection, record.payload.replace(old, new)))
        else:
            judge.take(record)
    assert changed <= 1
    return {(finding.checker, kind) for finding in judge.findings() for kind in finding.counts}


def test_nothing_is_wrong_with_what_is_right() -> None:
    assert wrong(b"nowhere", b"") == set()


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (MARK + b": sunny", OTHERS + b": sunny", ("reference", "content")),
        (b'query\\":\\"' + MARK, b'query\\":\\"' + OTHERS, ("reference", "content")),
        (MARK + b'14"', OTHERS + b'14"', ("delivery", "altered")),
        (b'"seq":20,', b'"seq":19,', ("delivery", "lost")),
    ],
)
def test_what_belongs_to_somebody_else_or_is_lost_is_found(old: bytes, new: bytes, found: tuple[str, str]) -> None:
    assert found in wrong(old, new)


def test_a_run_with_an_event_too_few_is_found_though_the_numbers_are_closed_up() -> None:
    without = b'"event":{"type":"TOOL_CALL_END"}'
    end = b'{"thread_id":"t-1-0","run_id":"run-1","seq":4,' + without + b"}\n"
    assert ("reference", "events") in wrong(end, b"")
