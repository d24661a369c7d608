"""Canaries are found escaped, encoded, in upper case and backwards, and a user's own never counts."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.lab.canary import Canaries
from goldenpath.lab.checkers.isolation import Isolation
from goldenpath.lab.records import Overheard, Received
from tests.lab.histories import CANARIES, Script, asked, event, find

DISGUISES: dict[str, Callable[[bytes], bytes]] = {
    "escaped": lambda text: b"".join(b"\\u%04x" % each for each in text),
    "escaped in part": lambda text: text.replace(b"-", b"\\u002D"),
    "escaped twice": lambda text: b"".join(b"\\\\u%04x" % each for each in text),
    "base64": b64encode,
    "base64 for URLs": urlsafe_b64encode,
    "hexadecimal": lambda text: text.hex().encode(),
    "upper hexadecimal": lambda text: text.hex().upper().encode(),
    "backwards": lambda text: text[::-1],
    "upper case": bytes.upper,
    "for a URL": lambda text: quote_from_bytes(text).replace("-", "%2D").encode(),
    "for a URL, all of it": lambda text: b"".join(b"%%%02x" % each for each in text),
}


@pytest.mark.parametrize("disguise", DISGUISES)
@given(
    before=st.binary(max_size=9).filter(bytes.isascii),
    after=st.binary(max_size=9).filter(bytes.isascii),
    nonce=st.text("0123456789abcdef", min_size=8, max_size=8),
)
def test_a_canary_is_found_in_disguise(disguise: str, before: bytes, after: bytes, nonce: str) -> None:
    canaries = Canaries(nonce)
    text = before + b" " + canaries.make(2, 77).encode() + b" " + after
    payload = b'{"value":"' + DISGUISES[disguise](text) + b'"}'
    found = canaries.foreign_anyhow(1, payload)
    assert found is not None
    assert found[0] == (2, 77)
    assert canaries.foreign_anyhow(2, payload) is None


@given(st.binary())
def test_nothing_is_found_where_nothing_is(payload: bytes) -> None:
    assert CANARIES.foreign_anyhow(1, payload) is None


def leaks(script: Script) -> list[str]:
    return [violation.witness for violation in find(Isolation(CANARIES), script.records).violations]


@pytest.mark.parametrize("disguise", DISGUISES)
def test_what_is_no_text_is_searched_for_disguises(disguise: str) -> None:
    script = Script()
    asked(script)
    script.send(event("STATE_SNAPSHOT", 1, snapshot=["KEY"]))
    sent = script.records.pop()
    assert isinstance(sent, Received)
    hidden = DISGUISES[disguise](CANARIES.make(2, 5).encode())
    script.records.append(Received(sent.at, 1, 1, sent.payload.replace(b"KEY", hidden)))
    assert any("what user 2 sent in operation 5" in witness for witness in leaks(script))


def test_a_canary_in_pieces_of_events_that_are_no_text() -> None:
    script = Script()
    asked(script)
    hidden = b64encode(CANARIES.make(2, 5).encode()).decode()
    script.send(event("RUN_STARTED", 1))
    for place in range(0, len(hidden), 5):
        script.send(event("CUSTOM", 2 + place // 5, name="x", value={"part": [hidden[place : place + 5]]}))
    script.send(event("RUN_FINISHED", 99))
    assert len(leaks(script)) == 1


def test_what_is_overheard_and_why_something_failed() -> None:
    script = Script()
    op = script.invoke("connect")
    script.complete(op, "fail", "overloaded", f"503: {CANARIES.make(3, 4)}")
    script.records.append(Overheard(script.now, 1, "a ping", CANARIES.make(2, 5).encode()))
    assert {witness.partition(" sent in")[0] for witness in leaks(script)} == {
        "user 1 was told why connect failed, with what user 3",
        "user 1 received in a ping what user 2",
    }


def test_one_leak_is_told_once_as_bytes_and_as_text() -> None:
    script = Script()
    asked(script)
    script.send(event("RUN_STARTED", 1), event("CUSTOM", 2, value=CANARIES.make(2, 5)))
    script.send(event("RUN_FINISHED", 3))
    assert len(leaks(script)) == 1


def test_the_escape_is_what_json_says() -> None:
    text = CANARIES.make(2, 5)
    assert json.loads(f'"{DISGUISES["escaped"](text.encode()).decode()}"') == text
