"""AG-UI over server-sent events: the answer to one run is a stream of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from goldenpath.lab.formats.sse import SseDecoder
from goldenpath.lab.frames import UNREADABLE, Event, FormatError, Frame, HistoryMessage

_decode = msgspec.json.Decoder(Event).decode


class AguiDecoder:
    """Only RUN_STARTED and RUN_FINISHED say which thread and run they belong to. The others belong to the run that
    started last; before any did, to the one that was asked for."""

    __slots__ = ("_run", "_sse", "_thread")

    def __init__(self) -> None:
        self._sse = SseDecoder()
        self._thread = self._run = ""

    def asked(self, thread: str, run: str) -> None:
        """What the stream is the answer to."""
        self._thread, self._run = thread, run

    def feed(self, payload: bytes) -> list[Frame]:
        """The events of one piece of the stream. Raises `FormatError`."""
        frames = []
        for data in self._sse.feed(payload):
            try:
                event = _decode(data)
            except UNREADABLE as error:
                raise FormatError(f"{error} in {data[:200]!r}") from None
            thread, run = event.thread_id or self._thread, event.run_id or self._run
            if event.type == "RUN_STARTED":
                self._thread, self._run = thread, run
            frames.append(Frame(event=event, thread_id=thread, run_id=run))
        return frames


class AguiFormat:
    """Events carry no numbers; there is no history but the client's own."""

    numbered = False
    fills_in = False

    def __init__(self, options: Mapping[str, Any]) -> None:
        if options:
            raise ValueError(f"the agui format has no options, but was given {', '.join(options)}")

    def decoder(self) -> AguiDecoder:
        """For the answer to one run."""
        return AguiDecoder()

    def messages(self, body: bytes) -> list[HistoryMessage]:
        """AG-UI has no way to ask for a history. Raises `FormatError`."""
        raise FormatError(f"AG-UI has no histories to read: {body[:200]!r}")
