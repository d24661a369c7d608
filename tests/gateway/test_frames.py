"""docs/protocol.md, WebSocket: messages, lines, ids and bad frames."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.gateway.users import User
from tests.wsclient import Frame, WsClient

ERROR_KEYS = ["code", "definite", "message", "retry_after", "retryable"]
MAX_MESSAGE = 1_048_576


async def answer(socket: WsClient, message: str | bytes) -> Frame:
    """Send a message; the next reply, whatever its `re`."""
    start = len(socket.frames)
    await socket.raw(message)
    return await socket.wait(lambda frame: "re" in frame, start)


def check_error(reply: Frame, re: Any, code: str) -> None:
    assert sorted(reply) == ["error", "ok", "re"]
    assert reply["ok"] is False
    assert reply["re"] == re
    assert type(reply["re"]) is type(re)
    assert sorted(reply["error"]) == ERROR_KEYS
    assert reply["error"]["code"] == code
    assert reply["error"]["message"]
    assert reply["error"]["retryable"] is False
    assert reply["error"]["definite"] is True
    assert reply["error"]["retry_after"] is None


async def test_a_message_holds_several_commands_one_a_line(user: User) -> None:
    async with user.connect() as socket:
        await socket.raw('{"id":1,"op":"ping"}\n{"id":2,"op":"ping"}\n{"id":3,"op":"ping"}')
        await socket.reply(3)
        assert [frame["re"] for frame in socket.frames if "re" in frame] == [1, 2, 3]


async def test_blank_lines_are_ignored(user: User) -> None:
    async with user.connect() as socket:
        await socket.raw("", "\n", "\n\n  \n\t\n\r\n", '\n\n{"id":1,"op":"ping"}\n   \n{"id":2,"op":"ping"}\r\n\n')
        await socket.reply(2)
        assert [frame["re"] for frame in socket.frames if "re" in frame] == [1, 2]


async def test_a_bad_line_spoils_no_other_line_of_its_message(user: User) -> None:
    async with user.connect() as socket:
        await socket.raw(
            '{"id":1,"op":"ping"}\nrubbish\n{"id":2,"op":"ping"}\n{"id":3,"op":"attach"}\n{"id":4,"op":"ping"}'
        )
        await socket.reply(4)
        replies = [frame for frame in socket.frames if "re" in frame]
        assert [(frame["re"], frame["ok"]) for frame in replies] == [
            (1, True), (None, False), (2, True), (3, False), (4, True),
        ]  # fmt: skip
        assert replies[1]["error"]["code"] == "bad_frame"
        assert replies[3]["error"]["code"] == "bad_request"


@pytest.mark.parametrize(
    "command_id", [0, 7, -3, 2**40, 2**63, -(2**70), "", "a", "ö☃𝄞", 'quote" \\ \n', "x" * 128, "☃" * 128]
)
async def test_the_reply_repeats_the_id(user: User, command_id: str | int) -> None:
    async with user.connect() as socket:
        reply = await answer(socket, json.dumps({"id": command_id, "op": "ping"}))
        assert reply["ok"] is True
        assert reply["re"] == command_id
        assert type(reply["re"]) is type(command_id)


BAD_FRAMES: dict[str, tuple[str | bytes, Any]] = {
    "not JSON": ("hello", None),
    "half of it": ('{"id":1,"op":"pi', None),
    "two objects in a line": ('{"id":1,"op":"ping"} {"id":2,"op":"ping"}', None),
    "NaN": ('{"id":1,"op":"ping","x":NaN}', None),
    "single quotes": ("{'id':1,'op':'ping'}", None),
    "an array": ('[{"id":1,"op":"ping"}]', None),
    "a string": ('"ping"', None),
    "a number": ("12", None),
    "null": ("null", None),
    "no id": ('{"op":"ping"}', None),
    "id null": ('{"id":null,"op":"ping"}', None),
    "id true": ('{"id":true,"op":"ping"}', None),
    "id a float": ('{"id":1.5,"op":"ping"}', None),
    "id an object": ('{"id":{},"op":"ping"}', None),
    "id a list": ('{"id":[1],"op":"ping"}', None),
    "id too long": (json.dumps({"id": "x" * 129, "op": "ping"}), None),
    "an unknown op": ('{"id":5,"op":"fly"}', 5),
    "no op": ('{"id":"six"}', "six"),
    "op a number": ('{"id":7,"op":1}', 7),
    "op null": ('{"id":8,"op":null}', 8),
    "op in capitals": ('{"id":9,"op":"PING"}', 9),
    "binary": (b'{"id":1,"op":"ping"}', None),
    "binary rubbish": (b"\x00\xff", None),
    "binary and empty": (b"", None),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_a_bad_frame_is_answered_and_the_socket_stays_open(user: User, name: str) -> None:
    message, re = BAD_FRAMES[name]
    async with user.connect() as socket:
        check_error(await answer(socket, message), re, "bad_frame")
        await socket.ok("ping")


CURSOR = {"epoch": "e", "seq": 1}
BAD_REQUESTS: dict[str, Frame] = {
    "run without agent": {"op": "run", "text": "x"},
    "run without text and input": {"op": "run", "agent": "echo"},
    "run with text and input": {"op": "run", "agent": "echo", "text": "x", "input": {"messages": []}},
    "run with a number as text": {"op": "run", "agent": "echo", "text": 1},
    "run with a list as input": {"op": "run", "agent": "echo", "input": []},
    "run with bad messages": {"op": "run", "agent": "echo", "input": {"messages": [{"role": "user"}]}},
    "run with an unknown role": {
        "op": "run", "agent": "echo", "input": {"messages": [{"role": "x", "id": "1", "content": "c"}]},
    },
    "run of a malformed agent": {"op": "run", "agent": "no such agent", "text": "x"},
    "run of an empty agent": {"op": "run", "agent": "", "text": "x"},
    "run in a malformed thread": {"op": "run", "agent": "echo", "text": "x", "thread_id": "a/b"},
    "run in an empty thread": {"op": "run", "agent": "echo", "text": "x", "thread_id": ""},
    "run in a long thread": {"op": "run", "agent": "echo", "text": "x", "thread_id": "t" * 129},
    "run with a malformed id": {"op": "run", "agent": "echo", "text": "x", "run_id": "r\n"},
    "run with an empty id": {"op": "run", "agent": "echo", "text": "x", "run_id": ""},
    "run with an unknown on_busy": {"op": "run", "agent": "echo", "text": "x", "on_busy": "wait"},
    "run with an unknown on_disconnect": {"op": "run", "agent": "echo", "text": "x", "on_disconnect": "stop"},
    "run with another thread in input": {
        "op": "run", "agent": "echo", "input": {"threadId": "t2", "messages": []}, "thread_id": "t1",
    },
    "run with another run in input": {
        "op": "run", "agent": "echo", "input": {"runId": "r2", "messages": []}, "run_id": "r1",
    },
    "run with a malformed thread in input": {"op": "run", "agent": "echo", "input": {"threadId": "ä", "messages": []}},
    "run with an unknown field": {"op": "run", "agent": "echo", "text": "x", "colour": "red"},
    "attach without thread": {"op": "attach"},
    "attach to a number": {"op": "attach", "thread_id": 1},
    "attach to a malformed thread": {"op": "attach", "thread_id": "t 1"},
    "attach after a number": {"op": "attach", "thread_id": "t", "after": 3},
    "attach after seq without epoch": {"op": "attach", "thread_id": "t", "after": {"seq": 1}},
    "attach after seq with epoch null": {"op": "attach", "thread_id": "t", "after": {"seq": 1, "epoch": None}},
    "attach after no seq": {"op": "attach", "thread_id": "t", "after": {"epoch": "e"}},
    "attach after a negative seq": {"op": "attach", "thread_id": "t", "after": {**CURSOR, "seq": -1}},
    "attach after a fraction": {"op": "attach", "thread_id": "t", "after": {**CURSOR, "seq": 1.5}},
    "attach after a string": {"op": "attach", "thread_id": "t", "after": {**CURSOR, "seq": "1"}},
    "attach after true": {"op": "attach", "thread_id": "t", "after": {**CURSOR, "seq": True}},
    "attach after null": {"op": "attach", "thread_id": "t", "after": {**CURSOR, "seq": None}},
    "attach in a malformed epoch": {"op": "attach", "thread_id": "t", "after": {"epoch": "e.e", "seq": 1}},
    "attach in an empty epoch": {"op": "attach", "thread_id": "t", "after": {"epoch": "", "seq": 0}},
    "attach in a long epoch": {"op": "attach", "thread_id": "t", "after": {"epoch": "e" * 65, "seq": 1}},
    "attach in a numbered epoch": {"op": "attach", "thread_id": "t", "after": {"epoch": 1, "seq": 1}},
    "detach without thread": {"op": "detach"},
    "detach of null": {"op": "detach", "thread_id": None},
    "cancel without thread": {"op": "cancel", "run_id": "r"},
    "cancel of a malformed run": {"op": "cancel", "thread_id": "t", "run_id": "r?"},
    "refresh without token": {"op": "refresh"},
    "refresh with a number": {"op": "refresh", "token": 1},
    "ping with a field": {"op": "ping", "time": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_a_known_op_with_missing_or_wrong_fields_is_a_bad_request(user: User, name: str) -> None:
    async with user.connect() as socket:
        check_error(await answer(socket, json.dumps({"id": "b", **BAD_REQUESTS[name]})), "b", "bad_request")
        await socket.ok("ping")


async def test_the_tenth_bad_frame_in_a_row_is_answered_and_closes_with_4400(user: User) -> None:
    async with user.connect() as socket:
        for _ in range(5):
            await socket.raw("rubbish", b"\x00")
        code, reason = await socket.closed()
        assert code == 4400
        assert reason
        replies = [frame for frame in socket.frames if "re" in frame]
        assert len(replies) == 10
        for reply in replies:
            check_error(reply, None, "bad_frame")


async def test_ten_bad_lines_of_one_message_close_too_and_nothing_after_them_counts(user: User) -> None:
    async with user.connect() as socket:
        await socket.raw("rubbish\n" * 10 + '{"id":1,"op":"ping"}')
        code, _ = await socket.closed()
        assert code == 4400
        assert [frame["re"] for frame in socket.frames if "re" in frame] == [None] * 10


async def test_what_came_before_the_tenth_bad_frame_took_effect(user: User) -> None:
    async with user.connect() as socket:
        await socket.raw('{"id":1,"op":"run","agent":"echo","thread_id":"t1","text":"said"}\n' + "rubbish\n" * 10)
        code, _ = await socket.closed()
        assert code == 4400
        assert (await socket.reply(1))["ok"] is True
    async with user.connect() as socket:
        await socket.ok("attach", thread_id="t1", after={"seq": 0})
        await socket.event("RUN_FINISHED", "t1")


async def test_a_good_command_begins_the_row_anew(user: User) -> None:
    async with user.connect() as socket:
        for _ in range(3):
            await socket.raw("rubbish\n" * 9)
            await socket.ok("ping")


async def test_a_bad_request_does_not_count_as_a_bad_frame(user: User) -> None:
    async with user.connect() as socket:
        await socket.raw("\n".join(['{"id":1,"op":"attach"}'] * 30))
        await socket.ok("ping")
        assert sum(frame.get("re") == 1 for frame in socket.frames) == 30


async def test_a_blank_line_does_not_begin_the_row_anew(user: User) -> None:
    async with user.connect() as socket:
        await socket.raw("rubbish\n\n" * 10)
        code, _ = await socket.closed()
        assert code == 4400


async def test_a_message_of_exactly_the_limit_passes(user: User) -> None:
    async with user.connect() as socket:
        command = json.dumps({"id": 1, "op": "ping"})
        await socket.raw(command + " " * (MAX_MESSAGE - len(command)))
        assert (await socket.reply(1))["ok"] is True


@pytest.mark.parametrize("excess", [1, 1024])
async def test_a_message_over_the_limit_closes_with_1009(user: User, excess: int) -> None:
    async with user.connect() as socket:
        command = json.dumps({"id": 1, "op": "ping"})
        with suppress(ConnectionClosed):  # it may close before the message is out
            await socket.raw(command + " " * (MAX_MESSAGE - len(command) + excess))
        code, _ = await socket.closed()
        assert code == 1009
        assert [frame for frame in socket.frames if "re" in frame] == []


async def test_the_limit_counts_bytes_not_characters(user: User) -> None:
    async with user.connect() as socket:
        with suppress(ConnectionClosed):
            await socket.raw(json.dumps({"id": 1, "op": "ping", "x": "☃" * (MAX_MESSAGE // 3)}, ensure_ascii=False))
        code, _ = await socket.closed()
        assert code == 1009


async def test_the_client_says_good_bye_with_1000(user: User) -> None:
    async with user.connect() as socket:
        await socket.welcome()
        await socket.close()
        assert socket.connection.close_code == 1000
