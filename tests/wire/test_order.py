from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.wire import events as ev
from goldenpath.wire.order import OrderError, RunOrder

IDS = st.sampled_from(["a", "b"])

# What opens, continues and closes, written once more: kind -> (start, content, ends).
PAIRS: dict[str, tuple[type, type | None, tuple[type, ...]]] = {
    "message": (ev.TextMessageStart, ev.TextMessageContent, (ev.TextMessageEnd,)),
    "tool call": (ev.ToolCallStart, ev.ToolCallArgs, (ev.ToolCallEnd,)),
    "reasoning": (ev.ReasoningStart, None, (ev.ReasoningEnd,)),
    "reasoning message": (ev.ReasoningMessageStart, ev.ReasoningMessageContent, (ev.ReasoningMessageEnd,)),
    "step": (ev.StepStarted, None, (ev.StepFinished,)),
    "subagent": (ev.SubagentStarted, None, (ev.SubagentFinished, ev.SubagentError)),
}


def make(kind: type, identity: str) -> ev.Event:
    match kind:
        case ev.TextMessageContent | ev.ReasoningMessageContent | ev.ToolCallArgs:
            return kind(identity, "x")
        case ev.ToolCallStart | ev.SubagentStarted:
            return kind(identity, "name")
        case ev.SubagentError:
            return ev.SubagentError(identity, "failed")
    return kind(identity)  # type: ignore[no-any-return]


PAIRED = st.builds(
    make,
    st.sampled_from([kind for start, content, ends in PAIRS.values() for kind in (start, content, *ends) if kind]),
    IDS,
)
FREE: list[ev.Event] = [
    ev.StateSnapshot({}),
    ev.StateDelta([]),
    ev.MessagesSnapshot([]),
    ev.ToolCallResult("m", "a", "done"),
    ev.Custom("n", 1),
    ev.Raw({}),
    ev.ActivitySnapshot("a", "plan", {}),
    ev.ActivityDelta("a", "plan", []),
    ev.ReasoningEncryptedValue("message", "a", "x"),
    ev.TextMessageChunk(),
]


def identity_of(event: ev.Event) -> str:
    for field in ("message_id", "tool_call_id", "step_name", "subagent_run_id"):
        value = getattr(event, field, None)
        if value is not None:
            return str(value)
    raise AssertionError(event)


class Naive:
    """What is open, as a list."""

    def __init__(self) -> None:
        self.open: list[tuple[str, str]] = []

    def fits(self, event: ev.Event) -> bool:
        for kind, (start, content, ends) in PAIRS.items():
            key = (kind, identity_of(event)) if type(event) in (start, content, *ends) else None
            if key is None:
                continue
            if isinstance(event, start):
                if key in self.open:
                    return False
                self.open.append(key)
                return True
            if key not in self.open:
                return False
            if isinstance(event, ends):
                self.open.remove(key)
            return True
        return True


@given(st.lists(st.one_of(PAIRED, PAIRED, PAIRED, st.sampled_from(FREE)), max_size=40))
def test_an_event_is_taken_exactly_where_it_has_a_place(events: list[ev.Event]) -> None:
    order, naive = RunOrder(), Naive()
    taken: list[ev.Event] = []
    for event in events:
        try:
            order.check(event)
        except OrderError:
            assert not naive.fits(event)
        else:
            assert naive.fits(event)
            taken.append(event)
        for kind in PAIRS:
            for identity in ("a", "b"):
                assert ((kind, identity) in order.places) == ((kind, identity) in naive.open)
    closing = order.closing()
    assert [identity_of(event) for event in closing] == [identity for _, identity in reversed(naive.open)]
    assert order.closing() == []
    again = RunOrder()
    for event in [*taken, *closing]:
        again.check(event)
    assert again.closing() == []


@pytest.mark.parametrize("kind", PAIRS)
def test_what_is_left_open_is_closed_by_its_own_kind_of_end(kind: str) -> None:
    start, _, ends = PAIRS[kind]
    order = RunOrder()
    order.check(make(start, "a"))
    (closing,) = order.closing()
    assert isinstance(closing, ends)
    assert identity_of(closing) == "a"
    assert not order.places


def test_an_agent_left_in_the_middle_of_a_subagent_fails_it() -> None:
    order = RunOrder()
    order.check(ev.SubagentStarted("s1", "helper"))
    assert order.closing() == [ev.SubagentError("s1", "the run ended")]


@pytest.mark.parametrize("kind", PAIRS)
def test_a_second_start_is_refused_until_the_first_has_ended(kind: str) -> None:
    start, _, ends = PAIRS[kind]
    for end in ends:
        order = RunOrder()
        order.check(make(start, "a"))
        with pytest.raises(OrderError, match="open already"):
            order.check(make(start, "a"))
        order.check(make(start, "b"))
        order.check(make(end, "a"))
        order.check(make(start, "a"))


@pytest.mark.parametrize(
    "event",
    [ev.RunStarted("t", "r"), ev.RunFinished("t", "r"), ev.RunError("failed")],
    ids=lambda event: type(event).__name__,
)
def test_the_events_of_the_run_itself_are_the_servers(event: ev.Event) -> None:
    with pytest.raises(OrderError, match="the server's to send"):
        RunOrder().check(event)


def test_the_reason_names_the_event_and_the_id() -> None:
    with pytest.raises(OrderError, match=r"^TEXT_MESSAGE_CONTENT: no message 'm1' is open$"):
        RunOrder().check(ev.TextMessageContent("m1", "x"))
    with pytest.raises(ValueError, match=r"^TOOL_CALL_END: no tool call 'c1' is open$"):
        RunOrder().check(ev.ToolCallEnd("c1"))
