"""Random histories of a right server raise no alarm, and each with one thing wrong raises the right one."""

from __future__ import annotations

import copy
import json
from itertools import groupby
from typing import Any, NamedTuple

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from goldenpath.lab.checker import Finding
from goldenpath.lab.checkers import standard_checkers, whole_checkers
from goldenpath.lab.frames import Format
from goldenpath.lab.judge import judge
from goldenpath.lab.records import Invoke, Received
from tests.lab.histories import CANARIES, FORMAT, Script, UnnumberedFormat, event

TEXTS = st.lists(st.text("abc", min_size=1, max_size=3), max_size=4)


class Run(NamedTuple):
    """What happens in one run, before it is numbered."""

    parts: list[str]
    tools: int
    end: str


RUNS = st.builds(Run, TEXTS, st.integers(0, 2), st.sampled_from(["success", "success", "error", "interrupt"]))


def events_of(run: Run, name: str) -> list[dict[str, Any]]:
    """A right run."""
    lines = [event("RUN_STARTED", run=name)]
    for number in range(run.tools):
        call: dict[str, Any] = {"toolCallId": f"{name}-{number}"}
        lines.append(event("STEP_STARTED", run=name, stepName=f"s{number}"))
        lines.append(event("TOOL_CALL_START", run=name, **call))
        lines.append(event("TOOL_CALL_ARGS", run=name, delta="{}", **call))
        lines.append(event("TOOL_CALL_END", run=name, **call))
        lines.append(event("STEP_FINISHED", run=name, stepName=f"s{number}"))
    message: dict[str, Any] = {"messageId": f"m-{name}"}
    lines.append(event("TEXT_MESSAGE_START", run=name, **message))
    lines.extend(event("TEXT_MESSAGE_CONTENT", run=name, delta=part, **message) for part in run.parts)
    if run.end == "error":
        lines.append(event("RUN_ERROR", run=name, code="agent_error"))
    else:
        lines.append(event("TEXT_MESSAGE_END", run=name, **message))
        lines.append(event("RUN_FINISHED", run=name, outcome={"type": run.end}))
    return lines


def numbered(runs: list[Run]) -> list[dict[str, Any]]:
    """The log of a thread."""
    lines = [line for number, run in enumerate(runs) for line in events_of(run, f"r{number}")]
    return [{**line, "seq": seq} for seq, line in enumerate(lines, 1)]


def seen(
    runs: list[Run], log: list[dict[str, Any]], cuts: set[int], sizes: list[int], *, tab: bool = False, user: int = 1
) -> Script:
    """One user asks for all runs and reads `log`, coalesced in `sizes`, over a new connection after each of `cuts`.
    `tab`: a second viewer has read it all from the start in the end."""
    script = Script()
    connection = script.open(user)
    asks: dict[str, Invoke] = {}
    for number, run in enumerate(runs):
        op = script.ask(connection, user, run=f"r{number}", answer="".join(run.parts))
        asks[op.run] = op
        script.reply(op, 0, connection=connection)
    ends: dict[str, str] = {}
    last = at = turn = 0
    while at < len(log):
        size = sizes[turn % len(sizes)]
        turn += 1
        cut = min((cut for cut in cuts if at < cut), default=len(log))
        lines = log[at : min(at + size, cut)]
        at += len(lines)
        script.send(*lines, connection=connection, user=user)
        for line in lines:
            last = max(last, line["seq"])
            if line["event"]["type"] in ("RUN_FINISHED", "RUN_ERROR"):
                ends[line["run_id"]] = line["event"]["type"]
        if at in cuts and at < len(log):
            script.close(connection, user)
            connection = script.open(user)
            op = script.invoke("attach", user, connection=connection, thread="t", epoch="e1", after=last)
            script.reply(op, last, connection=connection)
            script.complete(op)
    if tab:
        other = script.open(user, viewer=1)
        op = script.invoke("attach", user, connection=other, thread="t", after=0)
        script.reply(op, 0, connection=other)
        script.complete(op)
        script.send(*log, connection=other, user=user)
    for name, op in asks.items():
        match ends.get(name):
            case None:
                script.complete(op, "info", "timeout")
            case "RUN_ERROR":
                script.complete(op, "info", "agent_error")
            case _:
                script.complete(op)
    return script


def judged(script: Script, format_: Format = FORMAT) -> list[Finding]:
    findings = judge(format_, [*standard_checkers(format_, CANARIES), *whole_checkers()], script.records)
    assert not any(finding.broken for finding in findings), findings
    return findings


def told(findings: list[Finding]) -> set[str]:
    return {f"{finding.checker}.{kind}" for finding in findings for kind in finding.counts}


class Case(NamedTuple):
    runs: list[Run]
    log: list[dict[str, Any]]
    cuts: set[int]
    sizes: list[int]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    runs = draw(st.lists(RUNS, min_size=1, max_size=3))
    log = numbered(runs)
    cuts = draw(st.sets(st.integers(1, len(log) - 1), max_size=3))
    return Case(runs, log, cuts, draw(st.lists(st.integers(1, 9), min_size=1, max_size=5)))


CASES = cases()


@settings(max_examples=100, deadline=None)
@given(CASES, st.booleans())
def test_a_right_server_raises_no_alarm(case: Case, tab: bool) -> None:
    findings = judged(seen(*case, tab=tab))
    assert not told(findings)
    checked = {finding.checker: finding.checked for finding in findings}
    assert checked["delivery"] == checked["order"] == len(case.log) * (1 + tab)
    assert checked["resume"] >= len(case.cuts)


@settings(max_examples=100, deadline=None)
@given(CASES, st.data())
def test_whoever_joins_late_raises_no_alarm(case: Case, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(case.log) - 1))
    script = Script()
    connection = script.open()
    op = script.invoke("attach", connection=connection, thread="t")
    script.reply(op, first, connection=connection)
    for line in case.log[first:]:
        script.send(line)
    script.complete(op)
    assert not told(judged(script))


@settings(max_examples=100, deadline=None)
@given(CASES, st.data())
def test_an_event_that_is_missing(case: Case, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(case.log) - 1))
    log = case.log[:place] + case.log[place + 1 :]
    kinds = told(judged(seen(case.runs, log, case.cuts, case.sizes)))
    assert ("terminal.endless" if place == len(log) else "delivery.lost") in kinds


@settings(max_examples=100, deadline=None)
@given(CASES, st.data())
def test_an_event_that_comes_twice(case: Case, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(case.log) - 1))
    log = case.log[: place + 1] + case.log[place:]
    kinds = told(judged(seen(case.runs, log, set(), case.sizes)))
    assert "delivery.duplicate" in kinds
    assert kinds <= {"delivery.duplicate", "delivery.altered"}, "no other checker counts it again"


@settings(max_examples=100, deadline=None)
@given(CASES, st.data())
def test_two_events_that_change_places(case: Case, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(case.log) - 2))
    log = [*case.log]
    log[place : place + 2] = reversed(log[place : place + 2])
    kinds = told(judged(seen(case.runs, log, set(), case.sizes)))
    assert "delivery.reordered" in kinds
    assert "delivery.lost" not in kinds


@settings(max_examples=100, deadline=None)
@given(CASES, st.data())
def test_a_piece_of_an_answer_that_is_another(case: Case, data: st.DataObject) -> None:
    pieces = [place for place, line in enumerate(case.log) if line["event"]["type"] == "TEXT_MESSAGE_CONTENT"]
    assume(pieces)
    log = copy.deepcopy(case.log)
    log[data.draw(st.sampled_from(pieces))]["event"]["delta"] += "X"
    assert told(judged(seen(case.runs, log, case.cuts, case.sizes))) == {"delivery.altered"}


@settings(max_examples=100, deadline=None)
@given(CASES, st.data())
def test_a_terminal_event_that_a_server_forgets_or_says_twice(case: Case, data: st.DataObject) -> None:
    ends = [place for place, line in enumerate(case.log) if line["event"]["type"] in ("RUN_FINISHED", "RUN_ERROR")]
    place = data.draw(st.sampled_from(ends))
    for times, expected in ((0, {"terminal.endless"}), (2, {"terminal.twice"})):
        lines = [*case.log[:place], *([case.log[place]] * times), *case.log[place + 1 :]]
        log = [{**line, "seq": seq} for seq, line in enumerate(lines, 1)]
        kinds = told(judged(seen(case.runs, log, set(), case.sizes)))
        assert expected <= kinds
        assert kinds <= expected | {"order.interleaved"}


@settings(max_examples=100, deadline=None)
@given(CASES, st.data())
def test_a_subscription_that_begins_elsewhere(case: Case, data: st.DataObject) -> None:
    script = seen(*case)
    replies = [
        index
        for index, record in enumerate(script.records)
        if isinstance(record, Received) and b'"re"' in record.payload and b'"run_id"' not in record.payload
    ]
    assume(replies)
    index = data.draw(st.sampled_from(replies))
    moved = data.draw(st.sampled_from([-1, 1]))
    record = script.records[index]
    assert isinstance(record, Received)
    line = json.loads(record.payload)
    line["seq"] += moved
    payload = json.dumps(line).encode()
    script.records[index] = Received(record.at, record.user, record.connection, payload)
    assert ("resume.skipped" if moved > 0 else "resume.rewound") in told(judged(script))


@settings(max_examples=100, deadline=None)
@given(CASES, st.data())
def test_an_event_that_has_changed_when_it_is_read_again(case: Case, data: st.DataObject) -> None:
    script = seen(*case)
    log = copy.deepcopy(case.log)
    ends = ("RUN_STARTED", "RUN_FINISHED", "RUN_ERROR")
    line = data.draw(st.sampled_from([line for line in log if line["event"]["type"] not in ends]))
    line["event"]["delta"] = line["event"].get("delta", "") + "X"
    connection = script.open(viewer=1)
    op = script.invoke("attach", connection=connection, thread="t", after=0)
    script.reply(op, 0, connection=connection)
    script.complete(op)
    script.send(*log, connection=connection)
    assert told(judged(script)) == {"resume.changed"}


@settings(max_examples=100, deadline=None)
@given(CASES, CASES, st.data())
def test_an_event_that_goes_to_another_user(one: Case, other: Case, data: st.DataObject) -> None:
    script = seen(*one)
    others = seen(*other, user=2)
    pieces = [index for index, record in enumerate(script.records) if isinstance(record, Received)]
    place = data.draw(st.sampled_from(pieces))
    stray = {**data.draw(st.sampled_from(other.log)), "thread_id": "t2"}
    leak = data.draw(st.booleans())
    if leak:
        stray = {**stray, "thread_id": "t", "event": {"type": "CUSTOM", "value": CANARIES.make(2, 1)}}
    before = script.records[place]
    assert isinstance(before, Received)
    script.records.insert(place + 1, Received(before.at, 1, before.connection, json.dumps(stray).encode()))
    kinds = told(judged(script))
    assert ("isolation.leak" if leak else "isolation.stray") in kinds
    assert not told(judged(others))


@settings(max_examples=100, deadline=None)
@given(TEXTS.filter(bool), st.lists(st.integers(1, 9), min_size=1, max_size=5), st.data())
def test_without_numbers_every_single_fault_of_a_text_shows(
    parts: list[str], sizes: list[int], data: st.DataObject
) -> None:
    format_ = UnnumberedFormat({})
    right = events_of(Run(parts, 0, "success"), "r0")
    log = [*right]
    place = data.draw(st.integers(0, len(log) - 1))
    match data.draw(st.sampled_from(["none", "drop", "repeat", "swap"])):
        case "drop":
            del log[place]
        case "repeat":
            log.insert(place, log[place])
        case "swap":
            log[place : place + 2] = reversed(log[place : place + 2])
    script = Script()
    op = script.ask(connection=0, run="r0", answer="".join(parts))
    connection = script.open(viewer=None)
    at = turn = 0
    while at < len(log):
        size = sizes[turn % len(sizes)]
        turn += 1
        script.send(*log[at : at + size], connection=connection)
        at += size
    script.close(connection)
    ended = any(line["event"]["type"] == "RUN_FINISHED" for line in log)
    script.complete(op, "ok" if ended else "info", "" if ended else "disconnected")

    def says(lines: list[dict[str, Any]]) -> list[str]:
        joined = "".join(line["event"].get("delta", "") for line in lines)
        return [joined, *(kind for kind, _ in groupby(lines, lambda line: str(line["event"]["type"])))]

    twice = len(log) > len(right) and "delta" not in log[place]["event"]
    assert bool(told(judged(script, format_))) == (twice or says(log) != says(right))
