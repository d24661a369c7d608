"""Server-sent events in pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.lab.formats import sse
from goldenpath.lab.formats.sse import SseDecoder
from goldenpath.lab.frames import FormatError

BOM = b"\xef\xbb\xbf"
values = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=12)
lines = st.one_of(
    values.map(lambda value: f"data: {value}"),
    values.map(lambda value: f"data:{value}"),
    values.map(lambda value: f": {value}"),
    st.sampled_from(["", "data", "event: x", "id: 7", "retry: 10", "nonsense", "database: no"]),
)


@given(st.lists(st.tuples(lines, st.sampled_from(["\n", "\r\n", "\r"]))), st.booleans(), st.lists(st.integers(0, 300)))
def test_the_same_events_come_wherever_the_stream_is_cut(
    stream: list[tuple[str, str]], marked: bool, cuts: list[int]
) -> None:
    # Told line by line, in the standard's words.
    expected: list[bytes] = []
    data: list[str] = []
    for line, _ in stream:
        name, _, value = line.partition(":")
        if not line:
            if data:
                expected.append("\n".join(data).encode())
            data = []
        elif name == "data":
            data.append(value.removeprefix(" "))
    text = BOM * marked
    for (line, end), (following, _) in pairwise([*stream, ("x", "")]):
        # CR followed by LF would be one line end, not two
        text += line.encode() + ("\r\n" if end == "\r" and not following else end).encode()
    decoder, got = SseDecoder(), []
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    for start, stop in pairwise(places):
        got += decoder.feed(text[start:stop])
    assert got == expected


def test_byte_by_byte() -> None:
    decoder = SseDecoder()
    text = BOM + b"data: 1\r\ndata:2\r\n\r\n:hello\n\ndata: 3\n\n"
    assert [event for byte in text for event in decoder.feed(bytes([byte]))] == [b"1\n2", b"3"]


def test_what_no_blank_line_ended_does_not_count() -> None:
    assert SseDecoder().feed(b"data: 1\n\ndata: 2\n") == [b"1"]


@pytest.mark.parametrize("endless", [b"x" * 50, b"data: x\n" * 10])
def test_an_event_without_end_is_not_kept(endless: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST", 1000)
    decoder = SseDecoder()
    for _ in range(12):
        decoder.feed(endless)
    with pytest.raises(FormatError, match="more than 1000 bytes"):
        decoder.feed(endless * 10)
