"""Each rule has a smallest history that it must fail, and a neighbour that it must pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract import history as h
from tests.contract.judge import RULES, judge

USER, THREAD, EPOCH = "ann", "t", "e"


def opened(number: int = 1, seq: int = 0, **fields: Any) -> h.Opened:
    values = {
        "user": USER, "thread_id": THREAD, "epoch": EPOCH, "head": None, "gap": False, "after": None, "asked_at": 0,
    }  # fmt: skip
    return h.Opened(subscription=number, seq=seq, **{**values, **fields})


def saw(seq: int, kind: str, number: int = 1, run_id: str | None = "r", **fields: Any) -> h.Saw:
    return h.Saw(number, seq, run_id, json.dumps({"type": kind, **fields}, separators=(",", ":")).encode())


def started(seq: int, number: int = 1, run_id: str = "r", **fields: Any) -> h.Saw:
    return saw(seq, "RUN_STARTED", number, run_id, **{"threadId": THREAD, "runId": run_id, **fields})


def finished(seq: int, number: int = 1, run_id: str = "r", **fields: Any) -> h.Saw:
    return saw(seq, "RUN_FINISHED", number, run_id, threadId=THREAD, runId=run_id, **fields)


def error(seq: int, run_id: str = "r", code: str = "agent_error") -> h.Saw:
    return saw(seq, "RUN_ERROR", 1, run_id, message="it failed", code=code)


def accepted(run_id: str = "r", thread_id: str = THREAD, asked_at: int = 0) -> h.Accepted:
    return h.Accepted(USER, thread_id, EPOCH, run_id, asked_at)


def custom(seq: int, number: int = 1, run_id: str = "r", value: Any = 0) -> h.Saw:
    return saw(seq, "CUSTOM", number, run_id, name="n", value=value)


def snapshot(seq: int, *messages: Any, number: int = 1) -> h.Saw:
    return saw(seq, "MESSAGES_SNAPSHOT", number, None, messages=list(messages))


def told(seq: int, *messages: Any, epoch: str = EPOCH, asked_at: int = 0) -> h.Messages:
    return h.Messages(USER, THREAD, epoch, seq, json.dumps(messages).encode(), asked_at)


def status(name: str) -> h.Status:
    return h.Status(USER, THREAD, "r", name, None)


RUN: list[h.Record] = [started(1), finished(2)]
TEXT: list[h.Record] = [
    started(1),
    saw(2, "TEXT_MESSAGE_START", messageId="m", role="assistant"),
    saw(3, "TEXT_MESSAGE_CONTENT", messageId="m", delta="hi"),
    saw(4, "TEXT_MESSAGE_END", messageId="m"),
    finished(5),
]
HI = {"role": "assistant", "id": "m", "content": "hi"}
GONE: list[h.Record] = [h.Deleting(USER, THREAD), h.Deleted(USER, THREAD)]

Case = tuple[str, str, list[h.Record], list[h.Record]]
CASES: list[Case] = [
    ("sequence", "a lost event", [opened(), started(1), finished(3)], [opened(), *RUN]),
    ("sequence", "a repeated event", [opened(), started(1), started(1), finished(2)], [opened(), *RUN]),
    ("sequence", "events out of order", [opened(), finished(2), started(1)], [opened(), *RUN]),
    ("sequence", "a late first event", [opened(), opened(2), *RUN, finished(2, 2)],
     [opened(), opened(2, seq=1), *RUN, finished(2, 2)]),
    ("sequence", "an event after the end of the subscription", [opened(), started(1), h.Closed(1), finished(2)],
     [opened(), *RUN, h.Closed(1)]),
    ("sequence", "a gap without its snapshot", [opened(), *RUN, opened(2, seq=1, gap=True), finished(2, 2)],
     [opened(), *RUN, opened(2, seq=1, gap=True), snapshot(1, number=2), finished(2, 2)]),
    ("sequence", "a snapshot that nothing announced", [opened(), snapshot(0), *RUN],
     [opened(gap=True), snapshot(0), *RUN]),
    ("sequence", "a snapshot of another place", [opened(gap=True), snapshot(1), *RUN],
     [opened(gap=True), snapshot(0), *RUN]),
    ("resume", "another place than asked for", [opened(after=(EPOCH, 1)), *RUN], [opened(after=(EPOCH, 0)), *RUN]),
    ("resume", "another epoch than asked for", [opened(after=("old", 0)), *RUN], [opened(after=(None, 0)), *RUN]),
    ("resume", "a place above the head", [opened(seq=1, head=0)], [opened(seq=1, head=1)]),
    ("resume", "a gap for who asked for no place", [opened(gap=True)], [opened()]),
    ("unchanged", "other bytes", [opened(), *RUN, opened(2), started(1, 2, extra=1), finished(2, 2)],
     [opened(), *RUN, opened(2), started(1, 2), finished(2, 2)]),
    ("unchanged", "another run", [opened(), *RUN, opened(2), started(1, 2), finished(2, 2, run_id="q")],
     [opened(), *RUN, opened(2), started(1, 2), finished(2, 2)]),
    ("kept", "a head that went back", [opened(), *RUN, opened(2, seq=1, head=1, asked_at=3)],
     [opened(), *RUN, opened(2, seq=1, head=1, asked_at=2)]),
    ("kept", "a history that went back", [opened(), *TEXT, told(4, HI, asked_at=6)],
     [opened(), *TEXT, told(5, HI, asked_at=6)]),
    ("kept", "a new epoch for no reason", [told(0), told(0, epoch="f")], [told(0), *GONE, told(0, epoch="f")]),
    ("deleted", "a log that comes back", [told(0), *GONE, told(0, asked_at=3)],
     [told(0), *GONE, told(0, epoch="f", asked_at=3)]),
    ("deleted", "a run in a deleted log", [told(0), *GONE, accepted(asked_at=3)],
     [told(0), *GONE, accepted(asked_at=2)]),
    ("deleted", "a subscription to a deleted log", [told(0), *GONE, opened(asked_at=3)],
     [told(0), *GONE, opened(asked_at=2)]),
    ("contiguous", "two runs that interleave",
     [opened(), started(1), started(2, run_id="q"), finished(3), finished(4, run_id="q")],
     [opened(), started(1), finished(2), started(3, run_id="q"), finished(4, run_id="q")]),
    ("contiguous", "a run that begins before the other has ended",
     [opened(), started(1), started(2, run_id="q"), finished(3, run_id="q")],
     [opened(), *RUN, started(3, run_id="q"), finished(4, run_id="q")]),
    ("started_once", "no beginning", [opened(), finished(1)], [opened(), *RUN]),
    ("started_once", "two beginnings", [opened(), started(1), started(2), finished(3)], [opened(), *RUN]),
    ("started_once", "a beginning of another run", [opened(), started(1, runId="q"), finished(2)], [opened(), *RUN]),
    ("ended_once", "no end", [opened(), started(1)], [opened(), *RUN]),
    ("ended_once", "two ends", [opened(), *RUN, finished(3)], [opened(), *RUN]),
    ("ended_once", "something after the end", [opened(), *RUN, custom(3)], [opened(), started(1), custom(2), error(3)]),
    ("ended_once", "an accepted run that is nowhere", [accepted("q"), opened(), *RUN], [accepted(), opened(), *RUN]),
    ("ended_once", "an accepted run that is nowhere, in a thread that is still there", [accepted("q")],
     [opened(), *RUN, accepted("q", "gone"), h.Deleting(USER, "gone")]),
    ("closed", "a message that is open at the end", [opened(), *TEXT[:3], finished(4)], [opened(), *TEXT]),
    ("closed", "text for no message", [opened(), started(1), TEXT[2], finished(4)], [opened(), *TEXT]),
    ("closed", "the end of a step that never began", [opened(), started(1), saw(2, "STEP_FINISHED", stepName="s")],
     [opened(), started(1), saw(2, "STEP_STARTED", stepName="s"), saw(3, "STEP_FINISHED", stepName="s")]),
    ("status", "an end that changes", [status("finished"), status("interrupted")],
     [status("running"), status("interrupted")]),
    ("status", "an end that the events do not tell", [opened(), *RUN, status("failed")],
     [opened(), started(1), error(2), status("failed")]),
    ("status", "a cancel that the events do not tell", [opened(), *RUN, status("cancelled")],
     [opened(), started(1), finished(2, outcome={"type": "cancelled"}), status("cancelled")]),
    ("status", "an interruption that the events do not tell", [opened(), started(1), error(2), status("interrupted")],
     [opened(), started(1), error(2, code="run_interrupted"), status("interrupted")]),
    ("private", "another's marker in an event", [opened(), started(1), custom(2, value="<bob>")],
     [opened(), started(1), custom(2, value="<ann>")]),
    ("private", "another's marker in a history", [told(0, {**HI, "content": "<bob>"})],
     [told(0, {**HI, "content": "<ann>"})]),
    ("private", "another's marker in an answer", [h.Said(USER, b"<bob>")], [h.Said("bob", b"<bob>")]),
    ("messages", "a history that lacks a message", [opened(), *TEXT, told(5)], [opened(), *TEXT, told(5, HI)]),
    ("messages", "a history that is ahead of its seq", [opened(), *TEXT, told(2, HI)],
     [opened(), *TEXT, told(3, HI)]),
    ("messages", "a snapshot that lacks the text so far",
     [opened(), *TEXT, opened(2, seq=3, gap=True), snapshot(3, {**HI, "content": ""}, number=2)],
     [opened(), *TEXT, opened(2, seq=3, gap=True), snapshot(3, HI, number=2)]),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "what", "bad", "good"), CASES, ids=[f"{case[0]}: {case[1]}" for case in CASES])
def test_a_rule_fails_the_smallest_broken_history_and_passes_its_neighbour(
    rule: str, what: str, bad: list[h.Record], good: list[h.Record]
) -> None:
    markers = {USER: b"<ann>", "bob": b"<bob>"}
    assert rule in {fault.rule for fault in judge(h.History(bad, markers), gaps=True).faults}
    verdict = judge(h.History(good, markers), gaps=True)
    assert rule not in {fault.rule for fault in verdict.faults}
    assert rule in verdict.checked or "above the head" in what or "asked for no place" in what


def test_every_rule_has_a_history_that_fails_it() -> None:
    assert {case[0] for case in CASES} == {rule.__name__ for rule in RULES}


def test_a_gap_is_a_fault_where_nothing_was_lost() -> None:
    history = h.History([opened(after=(EPOCH, 9), gap=True), snapshot(0), *RUN])
    assert {fault.rule for fault in judge(history).faults} == {"resume"}
    assert not judge(history, gaps=True).faults


def test_a_whole_history_without_a_fault_passes_and_says_what_it_looked_at() -> None:
    deleted: list[h.Record] = [told(0), *GONE, told(0, epoch="f"), *GONE]
    run: list[h.Record] = [accepted(thread_id="u"), started(1, threadId="u"), *TEXT[1:]]
    answers: list[h.Record] = [
        h.Messages(USER, "u", EPOCH, 5, json.dumps([HI]).encode(), 0),
        h.Status(USER, "u", "r", "finished", None),
    ]
    history = h.History([*deleted, opened(after=(None, 0), thread_id="u"), *run, *answers], {USER: b"<ann>"})
    verdict = judge(history)
    verdict.require(**{rule.__name__: 1 for rule in RULES})


def test_a_rule_that_looked_at_nothing_fails_the_test_that_requires_it() -> None:
    with pytest.raises(AssertionError, match="messages looked at 0 things"):
        judge(h.History([opened(), *RUN])).require(messages=1)


def test_a_fault_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="got seq 3 after 1"):
        judge(h.History([opened(), started(1), finished(3)])).require()
