"""Server-sent events, as they come: in pieces that end anywhere."""

from __future__ import annotations

from typing import Final

from goldenpath.lab.frames import FormatError

LONGEST: Final = 32 * 1024 * 1024
"""A line or an event of more bytes is not kept."""
_BOM: Final = b"\xef\xbb\xbf"


class SseDecoder:
    """The data of each event of one stream, by the WHATWG rules: lines end with CRLF, LF or CR, several `data` lines of
    an event are joined by LF, comments and all other fields are skipped, and what no blank line ended does not count.
    """

    __slots__ = ("_data", "_rest", "_size", "_skips_lf", "_started")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._started = False
        self._skips_lf = False
        """Whether the last piece ended with CR: an LF at the beginning of the next one belongs to it."""

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that are complete now. Raises `FormatError` for one that is too long."""
        text = self._rest + piece
        if not self._started:
            if len(text) < len(_BOM) and _BOM.startswith(text):
                self._rest = text
                return []
            self._started = True
            text = text.removeprefix(_BOM)
        elif self._skips_lf and piece:
            text = self._rest + piece.removeprefix(b"\n")
        self._skips_lf = text.endswith(b"\r")
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = text.split(b"\n")
        events = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._size += len(line)
            elif not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data.clear()
                    self._size = 0
            elif line == b"data":
                self._data.append(b"")
        if len(self._rest) + self._size > LONGEST:
            raise FormatError(f"an event of more than {LONGEST} bytes")
        return events
