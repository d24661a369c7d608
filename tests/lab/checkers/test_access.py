from __future__ import annotations

from goldenpath.lab.checkers.access import Access
from tests.lab.histories import Script, find, kinds


def test_whoever_comes_without_a_token_is_refused() -> None:
    script = Script()
    op = script.invoke("trespass", text="no token")
    script.answer(op, b"{}", 401)
    script.complete(op)
    finding = find(Access(), script.records)
    assert (finding.checked, finding.counts) == (1, {})


def test_whoever_is_let_in_with_a_token_that_has_ended() -> None:
    for status in (200, 401):
        script = Script()
        op = script.invoke("trespass", text="a token that has ended")
        script.answer(op, b"{}", status)
        script.complete(op, "info", "admitted", "the connection stayed open")
        finding = find(Access(), script.records)
        assert finding.counts == {"trespass": 1}
        assert finding.violations[0].witness.startswith("user 1 was let in with a token that has ended: ")


def test_a_target_that_cannot_be_reached_says_nothing() -> None:
    script = Script()
    script.complete(script.invoke("trespass", text="no token"), "fail", "unreachable")
    assert not kinds(Access(), script)
    assert find(Access(), script.records).checked == 0
