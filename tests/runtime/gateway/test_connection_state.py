from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldenpath.runtime.gateway.connection_state import EXPIRY_NOTICE, Close, ConnectionState, Ping, SendFrame
from goldenpath.wire import commands
from goldenpath.wire.commands import ErrorReply, PingCommand, TokenExpiring
from goldenpath.wire.errors import GOING_AWAY, PROTOCOL_MISUSE, TOO_SLOW, UNAUTHORIZED

GOOD = b'{"id":%d,"op":"ping"}'
BAD = b"hello"
WRONG = b'{"id":"w","op":"attach"}'


def opened(
    *, token_life: float = 1e9, heartbeat: float = 25.0, write_timeout: float = 60.0, max_bad_frames: int = 10
) -> ConnectionState:
    return ConnectionState(
        0.0, token_life=token_life, heartbeat=heartbeat, write_timeout=write_timeout, max_bad_frames=max_bad_frames
    )


def code(answer: commands.Command | SendFrame | Close | Ping) -> str | int:
    """Short: the id of a command, the error code of a reply, a close code."""
    if isinstance(answer, SendFrame):
        assert isinstance(answer.frame, ErrorReply)
        return answer.frame.error.code
    if isinstance(answer, Close):
        return answer.code
    assert isinstance(answer, PingCommand)
    return answer.id


def codes(state: ConnectionState, line: bytes, *, binary: bool = False) -> list[str | int]:
    """What comes of a line, in short."""
    taken = state.receive(line, binary=binary)
    return [code(each) for each in (taken if isinstance(taken, list) else [taken])]


# --- frames -----------------------------------------------------------------------------------------------------------


def test_a_line_is_a_command_or_is_answered() -> None:
    state = opened()
    taken = [codes(state, line) for line in (GOOD % 1, BAD, GOOD % 2 + b"\r", WRONG)]
    assert taken == [[1], ["bad_frame"], [2], ["bad_request"]]


@pytest.mark.parametrize("line", [b"", b" ", b" \t\r", b"\n"])
def test_a_blank_line_asks_for_nothing(line: bytes) -> None:
    assert opened().receive(line, binary=False) == []


def test_a_binary_message_is_one_bad_frame_whatever_it_holds() -> None:
    for message in (b"", b"  ", GOOD % 1, GOOD % 1 + b"\n" + GOOD % 2):
        assert codes(opened(), message, binary=True) == ["bad_frame"]


def test_a_refusal_repeats_the_id_where_there_is_one() -> None:
    for line, binary, named in ((WRONG, False, "w"), (BAD, False, None), (GOOD % 1, True, None)):
        taken = opened().receive(line, binary=binary)
        assert isinstance(taken, list)
        (reply,) = taken
        assert isinstance(reply, SendFrame)
        assert isinstance(reply.frame, ErrorReply)
        assert reply.frame.re == named


@given(st.lists(st.sampled_from(["good", "bad", "wrong", "blank", "binary"]), max_size=40), st.integers(1, 5))
def test_only_bad_frames_in_a_row_close_and_the_last_one_is_answered(kinds: list[str], limit: int) -> None:
    state = opened(max_bad_frames=limit)
    lines = {"good": GOOD % 1, "bad": BAD, "wrong": WRONG, "blank": b"  ", "binary": b"x"}
    answers: dict[str, str | int] = {"good": 1, "bad": "bad_frame", "wrong": "bad_request", "binary": "bad_frame"}
    in_a_row = 0
    over = False
    for kind in kinds:
        expected: list[str | int] = []
        if not over and kind != "blank":
            in_a_row = in_a_row + 1 if kind in ("bad", "binary") else 0
            expected.append(answers[kind])
            if in_a_row == limit:
                expected.append(PROTOCOL_MISUSE)
                over = True
        assert codes(state, lines[kind], binary=kind == "binary") == expected
        assert state.is_over == over
        assert state.state == ("closing" if over else "open")


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=60), st.text(max_size=40).map(str.encode)), max_size=5), st.booleans())
def test_nothing_that_a_client_sends_raises(lines: list[bytes], binary: bool) -> None:
    state = opened(max_bad_frames=3)
    for line in lines:
        taken = state.receive(line, binary=binary)
        for answer in taken if isinstance(taken, list) else []:
            if isinstance(answer, SendFrame):
                assert commands.encode(answer.frame)


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_connection_that_is_over_takes_nothing_in_and_asks_for_nothing() -> None:
    for end in ("close", "closed"):
        state = opened(token_life=10.0)
        if end == "close":
            assert state.close(1000, "bye") == Close(1000, "bye")
        else:
            state.closed()
        assert state.is_over
        assert state.receive(GOOD % 1, binary=False) == []
        assert state.tick(1e6, buffered=5) == []


def test_a_connection_that_is_gone_does_not_begin_to_close() -> None:
    state = opened()
    state.closed()
    state.close(1000, "too late")
    assert state.state == "closed"


def test_closing_ends_in_closed() -> None:
    state = opened()
    states = [state.state]
    state.close(1000, "bye", abort=True)
    states.append(state.state)
    state.closed()
    states.append(state.state)
    assert states == ["open", "closing", "closed"]


# --- the token --------------------------------------------------------------------------------------------------------


def test_a_client_is_told_once_before_its_token_expires_and_closed_when_it_has() -> None:
    state = opened(token_life=100.0, heartbeat=1e9)
    seen: list[tuple[int, object]] = []
    for now in range(102):
        seen += [(now, effect) for effect in state.tick(float(now), 0)]
    assert seen == [
        (40, SendFrame(TokenExpiring(60.0))),
        (100, Close(UNAUTHORIZED, "the token expired")),
    ]


def test_a_token_with_less_left_is_told_of_at_once() -> None:
    state = opened(token_life=12.3456)
    assert state.tick(0.0, 0) == [SendFrame(TokenExpiring(12.346))]
    assert state.tick(1.0, 0) == []


def test_a_new_token_starts_a_new_life_with_a_notice_of_its_own() -> None:
    state = opened(token_life=50.0, heartbeat=1e9)
    assert len(state.tick(0.0, 0)) == 1
    state.renew(200.0, now=10.0)
    assert state.tick(149.0, 0) == []
    assert state.tick(150.0, 0) == [SendFrame(TokenExpiring(EXPIRY_NOTICE))]
    assert state.tick(209.0, 0) == []
    assert state.tick(210.0, 0) == [Close(UNAUTHORIZED, "the token expired")]


def test_a_dead_token_closes_even_one_who_does_not_read() -> None:
    state = opened(token_life=5.0, write_timeout=60.0)
    state.tick(1.0, 1000)
    (close,) = state.tick(5.0, 1000)
    assert isinstance(close, Close)
    assert close.code == UNAUTHORIZED


# --- heartbeats -------------------------------------------------------------------------------------------------------


def test_a_silent_peer_is_pinged_once_and_dropped_after_another_heartbeat() -> None:
    state = opened(heartbeat=10.0)
    seen = [(now, effect) for now in range(25) for effect in state.tick(float(now), 0)]
    assert seen == [(10, Ping()), (20, Close(GOING_AWAY, "silent for two heartbeats", abort=True))]


def test_any_sign_of_life_starts_the_silence_anew() -> None:
    state = opened(heartbeat=10.0)
    pings = []
    for now in range(100):
        effects = state.tick(float(now), 0)
        pings += [now] * effects.count(Ping())
        assert not any(isinstance(effect, Close) for effect in effects)
        if now % 13 == 12:
            state.heard(float(now))
    assert pings == [10, 22, 35, 48, 61, 74, 87]


def test_after_a_pause_of_this_process_nobody_is_dropped_before_they_could_answer() -> None:
    state = opened(heartbeat=10.0)
    assert state.tick(500.0, 0) == [Ping()]
    assert state.tick(509.0, 0) == []
    (close,) = state.tick(510.0, 0)
    assert isinstance(close, Close)


def test_a_peer_that_the_ping_cannot_have_reached_is_not_dropped_for_silence() -> None:
    state = opened(heartbeat=10.0, write_timeout=60.0)
    assert state.tick(10.0, 0) == [Ping()]
    assert state.tick(30.0, 500) == []


# --- readers that do not read -----------------------------------------------------------------------------------------


def closed_at(buffered: list[int], *, write_timeout: float = 5.0) -> int | None:
    """The second in which a reader with so much waiting for it is closed."""
    state = opened(heartbeat=1e9, write_timeout=write_timeout)
    for now, size in enumerate(buffered):
        for effect in state.tick(float(now), size):
            assert effect == Close(TOO_SLOW, "nothing could be written")
            return now
    return None


@pytest.mark.parametrize(
    ("buffered", "closed"),
    [
        ([0] * 50, None),
        ([100] * 50, 5),
        ([0, 0, 0] + [100] * 50, 7),
        ([100, 200, 300, 400, 500, 600, 700], 5),
        ([100, 100, 100, 100, 99] * 10, None),
        ([100, 100, 100, 100, 100, 99] + [99] * 20, 10),
        ([100, 100, 100, 100, 0, 100, 100, 100, 100, 100, 100], 9),
        ([50_000 - second for second in range(50)], None),
    ],
)
def test_a_reader_is_closed_when_nothing_could_be_written_for_so_long(buffered: list[int], closed: int | None) -> None:
    assert closed_at(buffered) == closed


def test_a_reader_whose_socket_is_filled_again_whenever_it_takes_something_is_kept() -> None:
    state = opened(heartbeat=1e9, write_timeout=5.0)
    for now in range(50):
        if now % 4 == 3:
            state.wrote(float(now))
        assert state.tick(float(now), 100) == []
    (close,) = state.tick(52.0, 100)
    assert isinstance(close, Close)
