"""A viewer's reading of a thread: pieces of a text that go on are taken in together as they are one by one."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from goldenpath.lab.checker import Checker, Finding
from goldenpath.lab.checkers import standard_checkers
from goldenpath.lab.frames import Event, Format, Frame
from goldenpath.lab.judge import judge
from goldenpath.lab.records import Record
from goldenpath.lab.stream import SeenRun, Stream
from tests.lab.histories import CANARIES, FORMAT, Script, UnnumberedFormat, asked, event

KINDS = ("RUN_STARTED", "TEXT_MESSAGE_START", *["TEXT_MESSAGE_CONTENT"] * 8, "TEXT_MESSAGE_END", "RUN_FINISHED", "X")
LINES = st.builds(
    lambda kind, message, run, delta: event(kind, run=run, messageId=message, delta=delta),
    st.sampled_from(KINDS),
    st.sampled_from(["m", "m", "m", "n"]),
    st.sampled_from(["r1", "r1", "r1", "r1", "r2", None]),
    st.sampled_from(["a", "bc", "", [], None]),
)
STEPS = st.sampled_from([1, 1, 1, 1, 1, 1, 0, 2, -2])
"""From the number of an event to that of the next."""


@st.composite
def logs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events that make sense now and then."""
    seq, log = 0, []
    for line in draw(st.lists(LINES, max_size=30)):
        seq = max(0, seq + draw(STEPS))
        log.append({**line, "seq": seq})
    return log


def state(stream: Stream) -> tuple[Any, ...]:
    run = stream.present
    seen = None if run is None else [getattr(run, name) for name in SeenRun.__slots__]
    return stream.seq, stream.message, stream.runs_ended, seen


@settings(max_examples=200, deadline=None)
@given(logs(), st.integers(1, 9))
def test_pieces_taken_in_together_move_a_stream_as_one_by_one(log: list[dict[str, Any]], size: int) -> None:
    one_by_one, together = Stream(1, 0, "t"), Stream(1, 0, "t")
    frames = msgspec.convert(log, list[Frame])
    for start in range(0, len(frames), size):
        came = frames[start : start + size]
        for frame in came:
            one_by_one.take([frame], start)
        place = 0
        while place < len(came):
            end = together.pieces(came, place, 1)
            if end > place:
                together.go_on(came[place:end], start)
            else:
                end = place + 1
                together.take(came[place:end], start)
            place = end
        assert state(together) == state(one_by_one)


def test_a_piece_goes_on_only_with_the_same_text_of_the_same_run_in_its_turn() -> None:
    def piece(seq: int = 2, *, thread: str = "t", run: str = "r", message: str = "m", delta: Any = "x") -> Frame:
        event_ = Event("TEXT_MESSAGE_CONTENT", message_id=message, delta=delta)
        return Frame(event=event_, seq=seq, thread_id=thread, run_id=run)

    stream = Stream(1, 0, "t")
    assert stream.pieces([piece(1)], 0, 1) == 0
    stream.take([piece(1)], 0.0)
    assert stream.pieces([piece(2), piece(3), piece(5)], 0, 1) == 2
    others = [piece(1), piece(3), piece(thread="u"), piece(run="s"), piece(message="n"), piece(delta=[])]
    assert [stream.pieces([other], 0, 1) for other in others] == [0] * len(others)
    stream.subscribe(Frame(thread_id="t", epoch="e", seq=1))
    assert stream.pieces([piece(2)], 0, 1) == 0, "what a subscription begins with is looked at whole"


def at_length(checkers: list[Checker]) -> list[Checker]:
    """The same, but they look at each piece of a text as at any event."""
    for checker in checkers:
        kind = type(checker)
        checker.__class__ = type(kind.__name__, (kind,), {"pieces": Checker.pieces, "heeds_pieces": True})
    return checkers


def findings(format_: Format, checkers: list[Checker], records: list[Record]) -> list[Finding]:
    found = judge(format_, checkers, records)
    assert not any(finding.broken for finding in found)
    return found


@settings(max_examples=300, deadline=None)
@given(logs(), st.integers(1, 9), st.booleans(), st.booleans())
def test_checkers_find_the_same_in_pieces_as_in_events(
    log: list[dict[str, Any]], size: int, numbered: bool, tab: bool
) -> None:
    format_ = FORMAT if numbered else UnnumberedFormat({})
    script = Script()
    op = asked(script)
    connections = [1]
    if tab:
        connections.append(script.open(viewer=1))
        attach = script.invoke("attach", connection=2, thread="t", after=0)
        script.reply(attach, 0, connection=2)
        script.complete(attach)
    lines = log if numbered else [{**line, "seq": 0} for line in log]
    for start in range(0, len(lines), size):
        for connection in connections:
            script.send(*lines[start : start + size], connection=connection)
    script.complete(op)
    short = findings(format_, standard_checkers(format_, CANARIES), script.records)
    assert short == findings(format_, at_length(standard_checkers(format_, CANARIES)), script.records)
