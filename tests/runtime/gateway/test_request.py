from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from goldenpath.runtime.gateway.request import Answer, ClientGoneError, Request, answer, parse, problem
from goldenpath.wire.errors import ERRORS, RequestError

Message = dict[str, Any]


def parts(*bodies: bytes, complete: bool = True) -> list[Message]:
    """Body messages; the last one ends the body where it is complete."""
    found: list[Message] = [{"type": "http.request", "body": body, "more_body": True} for body in bodies]
    if complete:
        found[-1]["more_body"] = False
    return found


class Sent:
    """What a client sends, message by message; then it is silent."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.taken = 0

    async def receive(self) -> Message:
        if self.taken == len(self.messages):
            await asyncio.Event().wait()
        self.taken += 1
        return self.messages[self.taken - 1]


def request(
    *messages: Message, query: bytes = b"", path: dict[str, str] | None = None, patience: float = 30.0, **headers: str
) -> tuple[Request, Sent]:
    scope = {
        "type": "http",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "query_string": query,
        "path_params": path or {},
    }
    sent = Sent(*messages)
    return Request(scope, sent.receive, patience), sent


async def refusal(found: Request, limit: int = 10) -> RequestError:
    with pytest.raises(RequestError) as refused:
        await found.body(limit)
    return refused.value


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bodies", [[b""], [b"0123456789"], [b"01234", b"56789"], [b"", b"01", b"", b"2"], [b"0123456789", b""]]
)
async def test_a_body_is_read_to_its_end_up_to_the_limit(bodies: list[bytes]) -> None:
    found, _ = request(*parts(*bodies))
    assert await found.body(10) == b"".join(bodies)


async def test_a_message_without_body_or_more_is_the_end() -> None:
    found, _ = request({"type": "http.request"})
    assert await found.body(10) == b""


@pytest.mark.parametrize("bodies", [[b"x" * 11], [b"x" * 10, b"x"], [b"x"] * 30])
async def test_a_body_over_the_limit_is_refused_and_read_off_so_that_the_answer_arrives(bodies: list[bytes]) -> None:
    found, sent = request(*parts(*bodies))
    assert (await refusal(found)).code == "payload_too_large"
    assert sent.taken == len(bodies)


async def test_a_body_that_is_announced_as_too_big_is_refused() -> None:
    found, sent = request(*parts(b"x" * 11), content_length="11")
    assert "has 11 bytes; at most 10" in (await refusal(found)).message
    assert sent.taken == 1
    found, _ = request(*parts(b"x" * 10), content_length="10")
    assert await found.body(10) == b"x" * 10


async def test_who_asks_first_is_refused_before_anything_is_sent() -> None:
    found, sent = request(*parts(b"x" * 11), content_length="11", expect="100-continue")
    assert (await refusal(found)).code == "payload_too_large"
    assert sent.taken == 0


@pytest.mark.parametrize("length", ["", "-1", "ten", "1e9", "9" * 30])
async def test_a_nonsensical_length_is_not_believed(length: str) -> None:
    found, _ = request(*parts(b"abc"), content_length=length)
    assert await found.body(10) == b"abc"


async def test_an_endless_body_is_not_read_for_ever() -> None:
    found, sent = request(*parts(*[b"x" * (1 << 20)] * 100, complete=False))
    assert (await refusal(found)).code == "payload_too_large"
    assert 8 <= sent.taken < 20


async def test_a_client_that_leaves_is_answered_by_nobody() -> None:
    for messages in (parts(b"a", complete=False), parts(b"x" * 20, complete=False), []):
        found, _ = request(*messages, {"type": "http.disconnect"})
        with pytest.raises(ClientGoneError):
            await found.body(10)


async def test_a_body_that_stands_still_is_not_waited_for() -> None:
    found, _ = request(*parts(b"a", complete=False), patience=0.01)
    assert (await refusal(found)).code == "timeout"


async def test_a_body_that_comes_drop_by_drop_is_not_waited_for_for_ever() -> None:
    """However little each drop lets wait."""

    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"", "more_body": True}

    found = Request({"type": "http", "headers": [], "query_string": b""}, receive, 0.1)
    assert (await refusal(found)).code == "timeout"


class Shape(msgspec.Struct):
    number: int
    inner: Any = None


async def test_json_is_read_into_its_shape() -> None:
    found, _ = request(*parts(b'{"number":', b"3}"))
    assert await found.json(Shape, 100) == Shape(3)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"number":"3"}',
        b'{"number":3} x',
        b'{"number":3,"inner":"\xff"}',
        b'{"number":3,"inner":"\\ud800"}',
        b'{"number":3,"inner":NaN}',
        b'{"number":3,"inner":' + b"[" * 200 + b"]" * 200 + b"}",
        b"[" * 100_000,
    ],
)
def test_what_is_not_json_of_that_shape_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        parse(body, Shape, nested=True)
    assert refused.value.code == "bad_request"
    assert len(refused.value.message) < 1000


def test_the_first_header_of_a_name_counts() -> None:
    scope = {"headers": [(b"a", b"1"), (b"b", b"\xe9"), (b"a", b"2")], "query_string": b""}
    found = Request(scope, Sent().receive, 1.0)
    assert [found.header(name) for name in (b"a", b"b", b"c")] == ["1", "\u00e9", None]


@pytest.mark.parametrize(
    ("query", "value"),
    [(b"", None), (b"a=1", "1"), (b"a=1&a=2", "2"), (b"a=", ""), (b"a", ""), (b"a=%20%2B+x", " + x"), (b"b=1", None)],
)
def test_a_query_parameter_is_decoded_and_the_last_one_counts(query: bytes, value: str | None) -> None:
    found, _ = request(query=query)
    assert found.query("a") == value
    assert found.query("a") == value


@pytest.mark.parametrize(
    ("text", "value"), [(b"", None), (b"n=0", 0), (b"n=00012", 12), (b"n=" + b"9" * 18, 10**18 - 1)]
)
def test_a_whole_number_is_read(text: bytes, value: int | None) -> None:
    assert request(query=text)[0].integer("n") == value


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "1e3", "0x1", " 1", "\u0661", "9" * 19, "1_0", "one"])
def test_anything_else_is_a_bad_request(text: str) -> None:
    from urllib.parse import quote

    found, _ = request(query=b"n=" + quote(text).encode())
    with pytest.raises(RequestError) as refused:
        found.integer("n")
    assert refused.value.code == "bad_request"


def test_a_name_in_the_path_has_the_form_of_a_name() -> None:
    found, _ = request(path={"good": "t1", "bad": "a/b", "empty": ""})
    assert found.name("good") == "t1"
    for parameter in ("bad", "empty"):
        with pytest.raises(RequestError, match=f"{parameter} is not a valid id"):
            found.name(parameter)


# --- answering --------------------------------------------------------------------------------------------------------


async def shown(given: Answer) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await given.send(send)
    start, body = sent
    assert len(start["headers"]) == len(dict(start["headers"]))
    return start["status"], dict(start["headers"]), body["body"]


async def test_an_answer_has_its_length_and_is_not_cached() -> None:
    status, headers, body = await shown(answer({"a": 1}, 201))
    assert (status, body) == (201, b'{"a":1}')
    assert headers == {b"content-type": b"application/json", b"content-length": b"7", b"cache-control": b"no-store"}


async def test_no_content_has_no_content_headers() -> None:
    assert await shown(Answer(204)) == (204, {}, b"")


@pytest.mark.parametrize("code", ERRORS)
async def test_an_error_is_a_problem_document_with_the_headers_that_it_asks_for(code: Any) -> None:
    status, headers, body = await shown(problem(RequestError(code, "why")))
    document = json.loads(body)
    assert status == document["status"] == ERRORS[code].status
    assert (document["code"], document["detail"], document["retryable"]) == (code, "why", ERRORS[code].retryable)
    assert headers[b"content-type"] == b"application/problem+json"
    assert (b"www-authenticate" in headers) == (status == 401)
    assert b"retry-after" not in headers


@pytest.mark.parametrize(
    ("seconds", "header"), [(0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.5, b"2"), (2.5, b"3"), (60.01, b"61")]
)
async def test_retry_after_is_whole_seconds_and_not_too_early(seconds: float, header: bytes) -> None:
    _, headers, body = await shown(problem(RequestError("overloaded", "why", retry_after=seconds)))
    assert headers[b"retry-after"] == header
    assert json.loads(body)["retry_after"] == seconds


async def test_a_problem_may_have_another_status_and_more_headers() -> None:
    status, headers, body = await shown(
        problem(RequestError("not_found", "x"), status=405, headers=((b"allow", b"GET"),))
    )
    assert (status, headers[b"allow"], json.loads(body)["status"]) == (405, b"GET", 405)


# --- a client that leaves ---------------------------------------------------------------------------------------------

LEFT: Message = {"type": "http.disconnect"}


async def test_a_call_is_cancelled_when_its_client_leaves() -> None:
    gone = asyncio.Event()
    cancelled = asyncio.Event()

    async def receive() -> Message:
        if gone.is_set():
            return LEFT
        await gone.wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def call() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    asking = asyncio.create_task(Request({"type": "http", "headers": []}, receive, 30.0).while_connected(call()))
    await asyncio.sleep(0)
    assert not asking.done()
    gone.set()
    with pytest.raises(ClientGoneError):
        await asyncio.wait_for(asking, 10)
    assert cancelled.is_set()


async def test_a_call_whose_client_stays_gives_what_it_gives_and_reads_nothing_more() -> None:
    async def call() -> str:
        return "found"

    async def failing() -> None:
        raise ValueError("broken")

    found, _ = request(*parts(b""))
    assert await found.while_connected(call()) == "found"
    with pytest.raises(ValueError, match="broken"):
        await found.while_connected(failing())
    found.close()
    await asyncio.wait([found.leaving])
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_server_is_asked_once_whether_its_client_is_there() -> None:
    """As granian does: asked again after it was asked in vain, it says that the client has left."""
    asked = 0

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        if asked > 1:
            return LEFT
        await asyncio.Event().wait()
        raise AssertionError

    async def call() -> str:
        for _ in range(5):
            await asyncio.sleep(0)
        return "found"

    found = Request({"type": "http", "headers": []}, receive, 30.0)
    assert [await found.while_connected(call()) for _ in range(3)] == ["found"] * 3
    assert not found.leaving.done()
    found.close()
    found.close()
    await asyncio.wait([found.leaving])
    assert (asked, found.leaving.cancelled()) == (1, True)


async def test_a_server_that_cannot_tell_whether_the_client_is_there_is_not_believed() -> None:
    async def receive() -> Message:
        raise RuntimeError("the body was read")

    async def call() -> str:
        await asyncio.sleep(0.01)
        return "found"

    found = Request({"type": "http", "headers": []}, receive, 30.0)
    assert await found.while_connected(call()) == "found"
    found.close()


async def test_who_cancels_a_request_cancels_its_call() -> None:
    found, _ = request(*parts(b""))
    asking = asyncio.create_task(found.while_connected(asyncio.Event().wait()))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    found.close()
    await asyncio.wait([found.leaving])
    assert asyncio.all_tasks() == {asyncio.current_task()}
