"""What no reader can read is malformed, in every format: it ends neither the reading nor the judge."""

from __future__ import annotations

from typing import Any

import pytest

from goldenpath.lab.checkers import standard_checkers, whole_checkers
from goldenpath.lab.formats import make_format
from goldenpath.lab.frames import FormatError
from goldenpath.lab.judge import judge
from goldenpath.lab.records import Answered, Complete, Invoke, Opened, Received, Record
from goldenpath.lab.verdict import Verdict
from tests.lab.histories import CANARIES

DEEP = b"[" * 100_000 + b"]" * 100_000
HALF_DEEP = b"[" * 900 + b"]" * 900
"""Deep enough to be read, and not to be written out again from deeper down."""
MAPPING = {"kind": "is", "delta": ["word"], "end": ["done"], "text": "text", "thread": "thread"}
FORMATS: list[tuple[str, dict[str, Any], bytes]] = [
    ("goldenpath", {}, b'{"thread_id":"t","run_id":"r","seq":1,"event":{"type":"CUSTOM","content":[%s]}}'),
    ("agui", {}, b'data: {"type":"CUSTOM","content":[%s]}\n\n'),
    ("mapping", MAPPING, b'{"is":"word","text":"x","thread":%s}'),
]


@pytest.mark.parametrize(("name", "options", "message"), FORMATS)
def test_what_lies_too_deep_is_malformed(name: str, options: dict[str, Any], message: bytes) -> None:
    format_ = make_format(name, options)
    with pytest.raises(FormatError, match="recursion"):
        format_.decoder().feed(message % DEEP)


@pytest.mark.parametrize(("name", "options", "message"), FORMATS)
@pytest.mark.parametrize("depth", [DEEP, HALF_DEEP])
def test_the_judge_goes_on(name: str, options: dict[str, Any], message: bytes, depth: bytes) -> None:
    format_ = make_format(name, options)
    records: list[Record] = [
        Opened(1.0, 0, 1),
        Invoke(1.1, 1, 0, "ask", 1.1, 1, "t", "r", "text"),
        Received(1.2, 0, 1, message % depth),
        Received(1.3, 0, 1, message % b"1"),
        Invoke(1.4, 2, 0, "history", 1.4, 1, "t"),
        Answered(1.5, 0, 2, 200, b'{"messages":[{"content":[{"text":%s}]}]}' % depth),
        Complete(1.6, 2, "ok"),
        Complete(1.7, 1, "info", "timeout"),
    ]
    findings = {
        finding.checker: finding
        for finding in judge(format_, [*standard_checkers(format_, CANARIES), *whole_checkers()], records)
    }
    assert not [finding.broken for finding in findings.values() if finding.broken]
    if depth is DEEP:
        assert findings["delivery"].verdict is Verdict.FAIL
        assert "malformed" in findings["delivery"].counts
