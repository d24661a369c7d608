from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldenpath.wire import commands as c
from goldenpath.wire.errors import ErrorBody, RequestError
from goldenpath.wire.messages import RunAgentInput, UserMessage

NAMES = st.text("abcXYZ019._:-", min_size=1, max_size=128)
EPOCHS = st.text("abcXYZ019_-", min_size=1, max_size=64)
IDS = st.one_of(st.text(max_size=128), st.integers(-(2**70), 2**70))
INPUTS = st.builds(RunAgentInput, messages=st.just([UserMessage(id="m", content="hi")]), state=st.integers(0, 9))
RUNS = st.builds(
    c.RunCommand,
    id=IDS,
    agent=NAMES,
    text=st.text(),
    thread_id=st.none() | NAMES,
    run_id=st.none() | NAMES,
    on_disconnect=st.sampled_from(["continue", "cancel"]),
    on_busy=st.sampled_from(["enqueue", "reject", "interrupt"]),
)
COMMANDS: st.SearchStrategy[c.Command] = st.one_of(
    RUNS,
    st.builds(c.RunCommand, id=IDS, agent=NAMES, input=INPUTS),
    st.builds(
        c.AttachCommand,
        id=IDS,
        thread_id=NAMES,
        after=st.none() | st.builds(c.Cursor, seq=st.integers(0, 2**70), epoch=EPOCHS) | st.just(c.Cursor(seq=0)),
    ),
    st.builds(c.DetachCommand, id=IDS, thread_id=NAMES),
    st.builds(c.CancelCommand, id=IDS, thread_id=NAMES, run_id=st.none() | NAMES),
    st.builds(c.RefreshCommand, id=IDS, token=st.text()),
    st.builds(c.PingCommand, id=IDS),
)
RUN = {"id": 1, "op": "run", "agent": "echo", "text": "hello"}
ATTACH = {"id": 1, "op": "attach", "thread_id": "t1"}


def refusal(line: str | bytes | dict[str, Any]) -> tuple[str, c.CommandId | None]:
    with pytest.raises(c.BadCommand) as caught:
        c.decode(json.dumps(line) if isinstance(line, dict) else line)
    # Whatever was sent, the refusal can be sent back.
    reply = c.encode(c.ErrorReply(re=caught.value.re, error=ErrorBody.of(caught.value)))
    assert len(reply) < 2000
    return caught.value.code, caught.value.re


@given(COMMANDS)
def test_a_command_reads_back_as_it_was_written(command: c.Command) -> None:
    line = msgspec.json.encode(command)
    assert b"\n" not in line
    assert c.decode(line) == command
    assert c.decode(line.decode()) == command


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "null",
        "[]",
        '"run"',
        "1",
        '{"id":1,"op":"ping"} x',
        '{"id":1,"op":"ping"}\x00',
        '\ufeff{"id":1,"op":"ping"}',
        '{"id":NaN,"op":"ping"}',
        '{"id":1,"op":"run","agent":"a","text":NaN}',
        "{'id':1,'op':'ping'}",
        b'{"id":"\xff","op":"ping"}',
        b'{"id":1,"op":"refresh","token":"\xed\xa0\x80"}',
        '{"id":1,"op":"ping"}'.encode("utf-16"),
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
    ],
    ids=repr,
)
def test_what_is_no_json_object_is_a_bad_frame(line: str | bytes) -> None:
    assert refusal(line) == ("bad_frame", None)


@pytest.mark.parametrize(
    "command_id", ["null", "true", "1.0", "1e3", "1e400", "[1]", "{}", '"\\ud800"', f'"{"x" * 129}"', "9" * 5000]
)
@pytest.mark.parametrize("rest", ['"op":"ping"', '"op":"run"', '"op":"none"'])
def test_a_command_without_a_valid_id_is_a_bad_frame(command_id: str, rest: str) -> None:
    assert refusal(f'{{"id":{command_id},{rest}}}') == ("bad_frame", None)
    assert refusal(f"{{{rest}}}") == ("bad_frame", None)


@pytest.mark.parametrize("op", [None, "", "RUN", "stop", ["run"], 1, {}])
def test_an_unknown_op_is_a_bad_frame_that_names_its_id(op: Any) -> None:
    assert refusal({"id": "a", "op": op}) == ("bad_frame", "a")


@pytest.mark.parametrize(
    "line",
    [
        {"id": 1, "op": "run"},
        {"id": 1, "op": "run", "agent": "echo"},
        RUN | {"input": {}},
        RUN | {"agent": "no spaces"},
        RUN | {"agent": ""},
        RUN | {"text": 1},
        RUN | {"thread_id": "a/b"},
        RUN | {"thread_id": "x" * 129},
        RUN | {"run_id": "a\n"},
        RUN | {"on_busy": "wait"},
        RUN | {"on_disconnect": None},
        RUN | {"unknown": 1},
        {"id": 1, "op": "run", "agent": "echo", "input": []},
        {"id": 1, "op": "run", "agent": "echo", "input": {"messages": [{"role": "user", "id": "m"}]}},
        {"id": 1, "op": "run", "agent": "echo", "input": {"threadId": "a b"}},
        {"id": 1, "op": "run", "agent": "echo", "thread_id": "a", "input": {"threadId": "b"}},
        {"id": 1, "op": "run", "agent": "echo", "run_id": "a", "input": {"runId": "b"}},
        {"id": 1, "op": "attach"},
        ATTACH | {"thread_id": 1},
        ATTACH | {"after": 1},
        ATTACH | {"after": {}},
        ATTACH | {"after": {"seq": 1}},
        ATTACH | {"after": {"seq": -1, "epoch": "e"}},
        ATTACH | {"after": {"seq": "1", "epoch": "e"}},
        ATTACH | {"after": {"seq": 1.0, "epoch": "e"}},
        ATTACH | {"after": {"seq": True, "epoch": "e"}},
        ATTACH | {"after": {"seq": 1, "epoch": "a.b"}},
        ATTACH | {"after": {"seq": 1, "epoch": ""}},
        {"id": 1, "op": "detach"},
        {"id": 1, "op": "cancel", "thread_id": "t", "run_id": ""},
        {"id": 1, "op": "refresh"},
        {"id": 1, "op": "ping", "x": "y" * 10_000},
        {"id": 1, "op": "ping", "y" * 10_000: 1},
    ],
    ids=lambda line: json.dumps(line)[:100],
)
def test_a_known_op_with_wrong_fields_is_a_bad_request(line: dict[str, Any]) -> None:
    assert refusal(line) == ("bad_request", 1)


@pytest.mark.parametrize(
    "line",
    [
        '{"id":7,"op":"run","agent":"a","text":"cut \\ud83d"}',
        '{"id":7,"op":"attach","thread_id":"t","after":{"seq":1e400,"epoch":"e"}}',
        '{"id":7,"op":"run","agent":"a","input":{"state":1e999}}',
        '{"id":7,"op":"run","agent":"a","input":{"state":' + "9" * 5000 + "}}",
        '{"id":7,"op":"ping","op":"run"}',
        '{"id":7,"op":"run","op":"ping"}',
    ],
    ids=lambda line: line[:80],
)
def test_json_that_cannot_be_kept_is_a_bad_request_that_names_its_command(line: str) -> None:
    assert refusal(line) == ("bad_request", 7)


def test_of_a_repeated_key_the_last_value_counts() -> None:
    assert c.decode('{"id":1,"id":2,"op":"ping"}') == c.PingCommand(id=2)


def test_a_long_id_is_echoed_up_to_its_limit() -> None:
    assert c.decode(f'{{"id":"{"ä" * 128}","op":"ping"}}').id == "ä" * 128


@pytest.mark.parametrize(("levels", "fits"), [(125, True), (126, True), (127, False), (900, False)])
def test_an_input_that_is_nested_too_deeply_is_a_bad_request(levels: int, fits: bool) -> None:
    # Two levels are the command and the input themselves.
    line = f'{{"id":1,"op":"run","agent":"a","input":{{"state":{"[" * levels}{"]" * levels}}}}}'
    if fits:
        assert isinstance(c.decode(line), c.RunCommand)
    else:
        assert refusal(line) == ("bad_request", 1)


def outcome(line: bytes | str) -> tuple[c.Command | None, c.BadCommand | None]:
    try:
        return c.decode(line), None
    except c.BadCommand as error:
        return None, error


def mutated(line: bytes, chance: random.Random) -> bytes:
    """`line` after a few random edits of the kinds that broken or hostile clients make."""
    data = bytearray(line)
    for _ in range(chance.randint(1, 4)):
        place = chance.randint(0, len(data))
        end = place + chance.randint(0, 8)
        match chance.randint(0, 5):
            case 0:
                del data[place:end]
            case 1:
                data[place:place] = chance.randbytes(chance.randint(1, 4))
            case 2:
                data[place:place] = chance.choice(
                    [b'"', b"{", b"}", b"[", b",", b":", b"\\u", b"\\ud800", b"null", b"1e999"]
                )
            case 3:
                data[place:place] = data[place:end] * chance.randint(1, 3)
            case 4:
                data[place:end] = data[place:end][::-1]
            case 5 if place < len(data):
                data[place] ^= 1 << chance.randint(0, 7)
    return bytes(data)


@pytest.mark.parametrize("seed", range(20))
def test_mutated_commands_are_refused_or_understood_and_nothing_else(seed: int) -> None:
    chance = random.Random(seed)
    good = [
        json.dumps(RUN | {"thread_id": "t1", "run_id": "r1", "on_busy": "reject"}).encode(),
        json.dumps(ATTACH | {"after": {"epoch": "e1", "seq": 5}}).encode(),
        b'{"id":"x","op":"run","agent":"a","input":{"messages":[{"role":"user","id":"m","content":"hi"}],"state":{"a":[1]}}}',
        b'{"id":1,"op":"cancel","thread_id":"t","run_id":"r"}',
    ]
    refused = 0
    for _ in range(1000):
        command, error = outcome(mutated(chance.choice(good), chance))
        if command is not None:
            c.encode(c.PingReply(re=command.id, time=""))
        if error is not None:
            refused += 1
            assert error.re is None or error.code == "bad_request" or error.message.startswith("unknown op")
            c.encode(c.ErrorReply(re=error.re, error=ErrorBody.of(error)))
    assert 500 < refused < 1000


@given(st.one_of(st.binary(), st.text(), st.text('{}[]",:\\abcdu0189.e-+ntrfs')))
@settings(max_examples=500)
def test_any_line_is_refused_or_understood_and_nothing_else(line: bytes | str) -> None:
    with pytest.raises(c.BadCommand):
        c.decode(line)


@given(
    st.dictionaries(
        st.sampled_from(["id", "op", "agent", "text", "thread_id", "after", "input"]),
        st.recursive(
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.floats(allow_nan=False, allow_infinity=False),
                st.text(max_size=4),
                st.sampled_from(list(c.OPS)),
            ),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.sampled_from(["seq", "epoch", "messages", "x"]), inner, max_size=2)
            ),
            max_leaves=5,
        ),
    )
)
@settings(max_examples=500)
def test_any_object_with_known_field_names_is_refused_or_understood_and_nothing_else(value: dict[str, Any]) -> None:
    command, error = outcome(json.dumps(value))
    if error is not None:
        command_id = value.get("id")
        valid = isinstance(command_id, str | int) and not isinstance(command_id, bool)
        known = isinstance(value.get("op"), str) and value["op"] in c.OPS
        assert error.code == ("bad_request" if valid and known else "bad_frame")
        assert error.re == (command_id if valid else None)
    if command is not None:
        assert command.id == value["id"]


def test_a_cursor_that_breaks_the_rules_is_refused_elsewhere_too() -> None:
    c.check_cursor(c.Cursor(seq=0))
    c.check_cursor(c.Cursor(seq=3, epoch="e"))
    for cursor in (c.Cursor(seq=-1), c.Cursor(seq=1), c.Cursor(seq=1, epoch="a b")):
        with pytest.raises(RequestError) as caught:
            c.check_cursor(cursor)
        assert caught.value.code == "bad_request"


@given(NAMES, st.none() | NAMES, st.integers(1, 2**60))
def test_an_event_frame_wraps_the_events_own_bytes(thread_id: str, run_id: str | None, seq: int) -> None:
    event = b'{"type":"CUSTOM","name":"n","value":"\\n"}'
    frame = c.EVENT_FRAME % (c.event_frame_start(thread_id, run_id), seq, event)
    assert event in frame
    assert json.loads(frame) == {"thread_id": thread_id, "run_id": run_id, "seq": seq, "event": json.loads(event)}


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (
            c.RunReply(re=1, thread_id="t1", run_id="r1", status="running", epoch="e", seq=0),
            '{"re":1,"thread_id":"t1","run_id":"r1","status":"running","epoch":"e","seq":0,"ok":true}',
        ),
        (c.Ok(re="a"), '{"re":"a","ok":true}'),
        (c.Detached(thread_id="t", reason="deleted"), '{"type":"detached","thread_id":"t","reason":"deleted"}'),
        (c.TokenExpiring(expires_in=60), '{"type":"token_expiring","expires_in":60}'),
        (
            c.ErrorReply(re=None, error=ErrorBody.of(RequestError("timeout", "m", retry_after=1.5))),
            '{"re":null,"error":{"code":"timeout","message":"m","retryable":true,"definite":false,"retry_after":1.5},"ok":false}',
        ),
    ],
)
def test_the_servers_frames_have_the_shape_of_the_protocol(frame: c.Frame, text: str) -> None:
    assert c.encode(frame).decode() == text
