from __future__ import annotations

from typing import Any

import pytest

from goldenpath.lab.checkers.resume import Resume
from tests.lab.histories import FORMAT, Script, asked, event, find, kinds, whole_run


def cut_off(seen: int = 4) -> Script:
    """A viewer has seen the first events of a run of six when the connection is lost."""
    script = Script()
    asked(script)
    script.send(*whole_run()[:seen])
    script.close(1)
    script.open()
    return script


def back(script: Script, after: int | None, seq: int, **reply: Any) -> None:
    """The viewer attaches over the second connection."""
    op = script.invoke("attach", connection=2, thread="t", epoch="e1", after=after)
    script.reply(op, seq, connection=2, **reply)


def test_reading_on_where_it_stood() -> None:
    script = cut_off()
    back(script, 4, 4)
    script.send(*whole_run()[4:], connection=2)
    finding = find(Resume(FORMAT), script.records)
    assert not finding.counts
    assert finding.checked


@pytest.mark.parametrize(("seq", "kind"), [(5, "skipped"), (3, "rewound")])
def test_reading_on_elsewhere_without_a_gap(seq: int, kind: str) -> None:
    script = cut_off()
    back(script, 4, seq)
    assert kinds(Resume(FORMAT), script) == {kind: 1}


def test_a_gap_begins_with_a_snapshot_at_its_position() -> None:
    snapshot = event("MESSAGES_SNAPSHOT", 9, run=None)
    later = event("CUSTOM", 10)
    for lines, expected in (
        ([snapshot, later], {}),
        ([later], {"snapshot": 1}),
        ([{**snapshot, "seq": 8}, later], {"snapshot": 1}),
    ):
        script = cut_off()
        back(script, 4, 9, gap=True)
        script.send(*lines, connection=2)
        assert kinds(Resume(FORMAT), script) == expected


def test_a_snapshot_at_a_gap_that_nobody_announced() -> None:
    script = cut_off()
    back(script, 4, 4)
    script.send(event("MESSAGES_SNAPSHOT", 4, run=None), connection=2)
    assert kinds(Resume(FORMAT), script) == {"snapshot": 1}


def test_a_snapshot_within_a_run_is_an_event_like_others() -> None:
    script = cut_off()
    back(script, 4, 4)
    script.send(event("MESSAGES_SNAPSHOT", 5), connection=2)
    assert not kinds(Resume(FORMAT), script)


def test_another_epoch_is_another_log_even_when_a_gap_says_so() -> None:
    script = cut_off()
    back(script, 4, 0, epoch="e2", gap=True)
    assert kinds(Resume(FORMAT), script) == {"epoch": 1}


def test_a_log_that_ends_before_what_was_seen() -> None:
    script = cut_off()
    back(script, 4, 3, gap=True)
    assert kinds(Resume(FORMAT), script) == {"forgotten": 1}


@pytest.mark.parametrize(("seq", "expected"), [(4, {}), (6, {}), (3, {"forgotten": 1})])
def test_from_now_on_is_not_before_what_was_seen(seq: int, expected: dict[str, int]) -> None:
    script = cut_off()
    back(script, None, seq)
    assert kinds(Resume(FORMAT), script) == expected


@pytest.mark.parametrize(("seq", "expected"), [(4, {}), (3, {"forgotten": 1})])
def test_a_new_run_begins_behind_what_was_seen(seq: int, expected: dict[str, int]) -> None:
    script = cut_off()
    op = script.ask(2, run="r2")
    script.reply(op, seq, connection=2)
    assert kinds(Resume(FORMAT), script) == expected


def test_what_others_saw_since_it_was_asked_does_not_count() -> None:
    script = cut_off()
    op = script.ask(2, run="r2")
    other = script.open(viewer=1)
    script.reply(script.invoke("attach", connection=other, thread="t", epoch="e1", after=4), 4, connection=other)
    script.send(*whole_run()[4:], connection=other)
    script.reply(op, 4, connection=2)
    assert not kinds(Resume(FORMAT), script)


def test_a_run_that_is_asked_for_again_begins_where_it_began() -> None:
    script = cut_off()
    op = script.ask(2)
    script.reply(op, 0, connection=2)
    script.send(*whole_run(), connection=2)
    assert not kinds(Resume(FORMAT), script)


def replayed(change: int | None, *, ended: bool = False, **fields: Any) -> dict[str, int]:
    """A run is seen, in part or whole, then read from its start, with one event not as it was."""
    script = cut_off(6 if ended else 4)
    back(script, 0, 0)
    lines = whole_run()
    if change is not None:
        lines[change]["event"].update(fields)
    script.send(*lines, connection=2)
    return kinds(Resume(FORMAT), script)


def test_what_comes_again_is_what_it_was() -> None:
    assert not replayed(None)
    assert not replayed(None, ended=True)


def test_an_event_that_is_not_what_it_was() -> None:
    assert replayed(2, delta="hal") == {"changed": 1}
    assert replayed(1, messageId="other") == {"changed": 1}
    assert not replayed(4, type="CUSTOM")  # nobody had seen it


def test_a_run_that_is_not_what_it_was() -> None:
    assert replayed(2, ended=True, delta="hal") == {"changed": 1}
    assert replayed(5, ended=True, outcome={"type": "cancelled"}) == {"changed": 1}


def test_two_viewers_see_the_same() -> None:
    for delta, expected in (("hel", {}), ("hal", {"changed": 1})):
        script = Script()
        asked(script)
        other = script.open(viewer=1)
        script.reply(script.invoke("attach", connection=other, thread="t", after=0), 0, connection=other)
        for line in whole_run()[:4]:
            script.send(line)
            if line["event"].get("delta") == "hel":
                line["event"]["delta"] = delta
            script.send(line, connection=other)
        assert kinds(Resume(FORMAT), script) == expected


def test_events_of_another_user_in_a_thread_of_the_same_name_are_others() -> None:
    script = Script()
    asked(script)
    script.send(*whole_run()[:4])
    asked(script, user=2)
    script.send(*whole_run(["hal", "lo"])[:4], connection=2, user=2)
    assert not kinds(Resume(FORMAT), script)


def test_who_never_comes_back_is_no_evidence() -> None:
    script = Script()
    asked(script)
    script.send(*whole_run())
    finding = find(Resume(FORMAT), script.records)
    assert finding.checked == 0
    assert finding.optional
