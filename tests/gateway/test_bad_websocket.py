"""`goldenpath serve` against clients that break RFC 6455: a close with a code, and nobody else notices."""

from __future__ import annotations

import json

import pytest

from tests.gateway.rawsocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    RawSocket,
    command,
    frame,
    raw,
    upgrade,
    upgraded,
)
from tests.serverprocess import ServerProcess

LIMIT = 1_048_576
PING_COMMAND = b'{"id":1,"op":"ping"}'


async def still_open(socket: RawSocket) -> None:
    await socket.send(command(id="still", op="ping"))
    while (await socket.reply())["re"] != "still":
        pass


BROKEN = {
    "an unmasked frame": frame(TEXT, PING_COMMAND, masked=False),
    "reserved bit 1": frame(TEXT, PING_COMMAND, rsv=4),
    "reserved bit 2": frame(TEXT, PING_COMMAND, rsv=2),
    "reserved bit 3": frame(TEXT, PING_COMMAND, rsv=1),
    "a reserved bit on a ping": frame(PING, rsv=4),
    "a reserved bit on a continuation": frame(TEXT, b"{", fin=False) + frame(CONTINUATION, b"}", rsv=1),
    "a continuation of nothing": frame(CONTINUATION, PING_COMMAND),
    "a continuation after a whole message": frame(TEXT, PING_COMMAND) + frame(CONTINUATION, b"x"),
    "a message inside another": frame(TEXT, b"{", fin=False) + frame(TEXT, PING_COMMAND),
    "a binary message inside a text": frame(TEXT, b"{", fin=False) + frame(BINARY, b"x"),
    "a long ping": frame(PING, b"x" * 126),
    "a long pong": frame(PONG, b"x" * 126),
    "a ping in fragments": frame(PING, b"x", fin=False),
    "a close in fragments": frame(CLOSE, b"\x03\xe8", fin=False),
    **{f"opcode {opcode}": frame(opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a length that needs no 16 bits": b"\x81\xfe\x00\x05\0\0\0\0hello",
    "a length that needs no 64 bits": b"\x81\xff" + (200).to_bytes(8, "big") + b"\0\0\0\0" + b"x" * 200,
    "a length with the highest bit": frame(TEXT, b"x", length=2**63 + 1),
    "a close of one byte": frame(CLOSE, b"\x03"),
    "a close with code 999": frame(CLOSE, (999).to_bytes(2, "big")),
    "a close with code 1005": frame(CLOSE, (1005).to_bytes(2, "big")),
    "a long close": frame(CLOSE, b"\x03\xe8" + b"x" * 124),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_frame_closes_with_1002(server: ServerProcess, token: str, name: str) -> None:
    async with upgraded(server, token) as bystander:
        async with upgraded(server, token) as socket:
            await socket.send(BROKEN[name])
            assert await socket.ended() == 1002
        await still_open(bystander)


async def test_a_close_whose_reason_is_not_utf_8_is_answered_with_1007(server: ServerProcess, token: str) -> None:
    async with upgraded(server, token) as socket:
        await socket.send(frame(CLOSE, b"\x03\xe8\xff"))
        assert await socket.ended() == 1007


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0b\xb8", b"\x13\x87\xe2\x98\x83"])
async def test_a_good_close_is_answered_with_its_code(server: ServerProcess, token: str, payload: bytes) -> None:
    async with upgraded(server, token) as socket:
        await socket.send(frame(CLOSE, payload))
        opcode, answer = await socket.frame()
        assert opcode == CLOSE
        assert answer[:2] in (payload[:2], b"\0\0" if not payload else payload[:2])
        assert await socket.cut() == b""


@pytest.mark.parametrize(
    "payload",
    [b"\xff\xfe", b'{"id":"\xff","op":"ping"}', b"\xed\xa0\x80", b'{"id":1,"op":"ping","x":"\xc0\xaf"}', b"\0"],
)
async def test_text_that_is_not_utf_8_is_a_bad_frame(server: ServerProcess, token: str, payload: bytes) -> None:
    async with upgraded(server, token) as socket:
        await socket.send(frame(TEXT, payload))
        reply = await socket.reply()
        assert (reply["re"], reply["error"]["code"]) == (None, "bad_frame")
        await still_open(socket)


async def test_a_message_in_fragments_with_pings_between_is_put_together(server: ServerProcess, token: str) -> None:
    async with upgraded(server, token) as socket:
        await socket.send(
            frame(TEXT, b'{"id":1,', fin=False),
            frame(PING, b"hey"),
            frame(CONTINUATION, b"", fin=False),
            frame(CONTINUATION, b'"op"', fin=False),
            frame(PONG, b"unasked"),
            frame(CONTINUATION, b':"ping"}'),
        )
        assert await socket.frame() == (PONG, b"hey")
        assert (await socket.reply())["re"] == 1


async def test_a_command_byte_by_byte_is_put_together(server: ServerProcess, token: str) -> None:
    async with upgraded(server, token) as socket:
        for byte in command(id=1, op="ping"):
            await socket.send(bytes([byte]))
        assert (await socket.reply())["re"] == 1


async def test_a_hundred_thousand_empty_fragments_are_nothing(server: ServerProcess, token: str) -> None:
    async with upgraded(server, token) as socket:
        await socket.send(frame(TEXT, fin=False), frame(CONTINUATION, fin=False) * 100_000)
        await socket.send(frame(CONTINUATION, PING_COMMAND))
        assert (await socket.reply())["re"] == 1


@pytest.mark.parametrize("pieces", [1, 2, 7, 1000])
async def test_a_message_of_exactly_the_limit_passes_in_any_number_of_fragments(
    server: ServerProcess, token: str, pieces: int
) -> None:
    async with upgraded(server, token) as socket:
        await socket.send(*in_fragments(PING_COMMAND.ljust(LIMIT), pieces))
        assert (await socket.reply())["re"] == 1


@pytest.mark.parametrize("pieces", [1, 2, 7, 1000])
async def test_one_byte_more_closes_with_1009_in_any_number_of_fragments(
    server: ServerProcess, token: str, pieces: int
) -> None:
    async with upgraded(server, token) as socket:
        await socket.send(*in_fragments(PING_COMMAND.ljust(LIMIT + 1), pieces))
        assert await socket.ended() == 1009


def in_fragments(payload: bytes, pieces: int) -> list[bytes]:
    size = -(-len(payload) // pieces)
    parts = [payload[start : start + size] for start in range(0, len(payload), size)]
    return [
        frame(TEXT if index == 0 else CONTINUATION, part, fin=index == len(parts) - 1)
        for index, part in enumerate(parts)
    ]


async def test_a_length_of_exabytes_is_refused_before_the_payload(server: ServerProcess, token: str) -> None:
    async with upgraded(server, token) as socket:
        await socket.send(frame(TEXT, b"x" * 100, length=2**62))
        assert await socket.ended() == 1009


async def test_an_empty_message_is_nothing(server: ServerProcess, token: str) -> None:
    async with upgraded(server, token) as socket:
        await socket.send(frame(TEXT))
        await still_open(socket)


async def test_a_ping_is_answered_with_its_payload(server: ServerProcess, token: str) -> None:
    async with upgraded(server, token) as socket:
        for payload in (b"", b"x", bytes(range(125))):
            await socket.send(frame(PING, payload))
            assert await socket.frame() == (PONG, payload)


async def test_ten_thousand_pings_are_answered(server: ServerProcess, token: str) -> None:
    """As RFC 6455, 5.5.3, allows: those that came together by one pong, to the last of them."""
    async with upgraded(server, token) as socket:
        for last in range(100, 10_001, 100):
            await socket.send(b"".join(frame(PING, b"%d" % number) for number in range(last - 99, last + 1)))
            while (heard := await socket.frame()) != (PONG, b"%d" % last):
                assert heard[0] == PONG
        await still_open(socket)


async def test_a_connection_that_is_cut_in_the_middle_of_a_frame_leaves_nothing(
    server: ServerProcess, token: str
) -> None:
    for _ in range(20):
        async with upgraded(server, token) as socket:
            await socket.send(command(id=1, op="ping")[:-3])
    async with upgraded(server, token) as socket:
        await still_open(socket)


# --- the upgrade ------------------------------------------------------------------------------------------------------


async def test_commands_in_one_packet_with_the_upgrade_are_answered(server: ServerProcess, token: str) -> None:
    async with raw(server) as socket:
        await socket.send(upgrade(token) + command(id=1, op="ping") + command(id=2, op="ping"))
        assert (await socket.answer()).status == 101
        assert (await socket.text())[0]["type"] == "welcome"
        assert [(await socket.reply())["re"] for _ in range(2)] == [1, 2]


async def test_a_refused_upgrade_swallows_what_came_with_it(server: ServerProcess) -> None:
    async with raw(server) as socket:
        await socket.send(upgrade("bad") + command(id=1, op="ping") * 10)
        answer = await socket.answer()
        assert answer.problem()["code"] == "unauthorized"
        assert answer.headers["connection"] == "close"
        assert await socket.cut() == b""


@pytest.mark.parametrize(
    "headers",
    [
        {"connection": "keep-alive, Upgrade"},  # Firefox
        {"connection": "upgrade", "upgrade": "WebSocket"},
        {"connection": "UPGRADE , close", "upgrade": "websocket"},
        {"sec_websocket_extensions": "permessage-deflate; client_max_window_bits"},
        {"x_padding": "x" * 60_000},
        {"cookie": "a=b; c=d", "pragma": "no-cache", "user_agent": "\xe4\xf6\xfc"},
    ],
)
async def test_what_browsers_send_is_taken(server: ServerProcess, token: str, headers: dict[str, str]) -> None:
    async with upgraded(server, token, headers) as socket:
        await still_open(socket)


async def test_the_accept_header_answers_the_key(server: ServerProcess, token: str) -> None:
    async with raw(server) as socket:
        await socket.send(upgrade(token))
        answer = await socket.answer()
        assert KEY == "dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455
        assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert answer.headers["upgrade"].lower() == "websocket"
        assert "sec-websocket-extensions" not in answer.headers


async def test_an_upgrade_byte_by_byte_is_taken(server: ServerProcess, token: str) -> None:
    async with raw(server) as socket:
        for byte in upgrade(token):
            await socket.send(bytes([byte]))
        assert (await socket.answer()).status == 101


async def test_an_upgrade_after_a_request_on_the_same_connection_is_taken(server: ServerProcess, token: str) -> None:
    async with raw(server) as socket:
        for _ in range(2):
            await socket.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await socket.answer()).status == 200
        await socket.send(upgrade(token))
        assert (await socket.answer()).status == 101
        assert (await socket.text())[0]["type"] == "welcome"
        await still_open(socket)


async def test_an_upgrade_behind_a_request_that_is_being_answered_is_cut(server: ServerProcess, token: str) -> None:
    head = f"GET /v1/threads/t/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    for first in (head, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"):
        async with raw(server) as socket:
            await socket.send(first + upgrade(token))
            assert b"101" not in await socket.cut()


BAD_UPGRADES = {
    "no key": upgrade("{token}", drop="sec-websocket-key"),
    "an empty key": upgrade("{token}", sec_websocket_key=""),
    "a short key": upgrade("{token}", sec_websocket_key="eA=="),
    "a key that is not base 64": upgrade("{token}", sec_websocket_key="!" * 24),
    "two keys": upgrade("{token}", sec_websocket_key=f"{KEY}\r\nSec-WebSocket-Key: {KEY}"),
    "no host": upgrade("{token}", drop="host"),
    "two hosts": upgrade("{token}", host="127.0.0.1\r\nHost: 127.0.0.1"),
    "two origins": upgrade("{token}", origin="http://127.0.0.1\r\nOrigin: http://127.0.0.1"),
    "two tokens": upgrade("{token}", authorization="Bearer {token}\r\nAuthorization: Bearer {token}"),
    "POST": upgrade("{token}", method="POST"),
    "HEAD": upgrade("{token}", method="HEAD"),
    "HTTP/1.0": upgrade("{token}").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/2.0": upgrade("{token}").replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/0.9": upgrade("{token}").replace(b"HTTP/1.1", b"HTTP/0.9"),
    "a body": upgrade("{token}", content_length="5") + b"hello",
    "a chunked body": upgrade("{token}", transfer_encoding="chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    "a long head": upgrade("{token}", x_padding="x" * 70_000),
}


@pytest.mark.parametrize("name", BAD_UPGRADES)
async def test_a_bad_upgrade_is_a_problem(server: ServerProcess, token: str, name: str) -> None:
    async with raw(server) as socket:
        await socket.send(BAD_UPGRADES[name].replace(b"{token}", token.encode()))
        answer = await socket.answer()
        assert answer.status == 400
        assert answer.problem()["code"] == "bad_request"


@pytest.mark.parametrize("version", [None, "8", "12", "14", "13, 8", "", "13\r\nSec-WebSocket-Version: 13"])
async def test_another_version_of_the_protocol_is_426_and_told_the_right_one(
    server: ServerProcess, token: str, version: str | None
) -> None:
    drop = "sec-websocket-version" if version is None else ""
    async with raw(server) as socket:
        await socket.send(upgrade(token, drop=drop, sec_websocket_version=version or ""))
        answer = await socket.answer()
        assert answer.status == 426
        assert answer.headers["sec-websocket-version"] == "13"
        assert answer.problem()["code"] == "bad_request"
        assert await socket.cut() == b""


@pytest.mark.parametrize("drop", ["connection", "upgrade"])
async def test_without_its_headers_it_is_told_to_ask_for_an_upgrade(
    server: ServerProcess, token: str, drop: str
) -> None:
    async with raw(server) as socket:
        await socket.send(upgrade(token, drop=drop))
        answer = await socket.answer()
        assert answer.problem()["status"] == 426
        assert answer.headers["upgrade"] == "websocket"


async def test_an_offer_of_another_protocol_is_ignored(server: ServerProcess) -> None:
    async with raw(server) as socket:
        await socket.send(upgrade(None, path="/livez", upgrade="h2c", connection="Upgrade, HTTP2-Settings"))
        answer = await socket.answer()
        assert (answer.status, json.loads(answer.body)) == (200, {"status": "alive"})
