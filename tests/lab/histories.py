"""Builds small histories: what a goldenpath server would have sent, or a wrong one, record by record."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from goldenpath.lab.canary import Canaries
from goldenpath.lab.checker import Checker, Finding
from goldenpath.lab.formats.goldenpath import GoldenpathFormat
from goldenpath.lab.frames import Format
from goldenpath.lab.judge import judge
from goldenpath.lab.records import (
    Answered,
    Closed,
    Complete,
    Injected,
    Invoke,
    Kind,
    Noted,
    NoteKind,
    Opened,
    Outcome,
    Received,
    Record,
    Sent,
)

NONCE = "0badcafe"
CANARIES = Canaries(NONCE)
FORMAT = GoldenpathFormat({})
EPOCH = "e1"
THREAD = "t"


class UnnumberedFormat(GoldenpathFormat):
    """As a target that numbers nothing."""

    numbered = False


class Script:
    """A history as it grows. Each record comes a millisecond after the last; `wait` makes it longer."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.now = 100.0
        self._ops = self._connections = 0

    def _at(self) -> float:
        self.now = round(self.now + 0.001, 6)
        return self.now

    def wait(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 6)

    def open(self, user: int = 1, viewer: int | None = 0) -> int:
        self._connections += 1
        number = self._connections
        self.records.append(Opened(self._at(), user, number, -number if viewer is None else viewer))
        return number

    def close(self, connection: int, user: int = 1, *, ours: bool = False) -> None:
        self.records.append(Closed(self._at(), user, connection, ours))

    def invoke(self, kind: Kind, user: int = 1, *, intended: float | None = None, **fields: Any) -> Invoke:
        self._ops += 1
        at = self._at()
        op = Invoke(at, self._ops, user, kind, at if intended is None else intended, **fields)
        self.records.append(op)
        return op

    def ask(
        self, connection: int = 1, user: int = 1, *, run: str = "r1", thread: str = THREAD, answer: str | None = None
    ) -> Invoke:
        text = f"{CANARIES.make(user, self._ops + 1)} hello"
        return self.invoke("ask", user, connection=connection, thread=thread, run=run, text=text, answer=answer)

    def complete(self, op: Invoke, outcome: Outcome = "ok", code: str = "", detail: str = "") -> None:
        self.records.append(Complete(self._at(), op.op, outcome, code, detail))

    def send(self, *lines: dict[str, Any], connection: int = 1, user: int = 1) -> None:
        """One message with these frames."""
        payload = "\n".join(json.dumps(line) for line in lines).encode()
        self.records.append(Received(self._at(), user, connection, payload))

    def reply(self, op: Invoke, seq: int = 0, *, connection: int = 1, epoch: str = EPOCH, **fields: Any) -> None:
        """A subscription begins."""
        line: dict[str, Any] = {"re": op.op, "ok": True, "thread_id": op.thread, "epoch": epoch, "seq": seq, **fields}
        if op.kind == "ask":
            line["run_id"] = op.run
        self.send(line, connection=connection, user=op.user)

    def answer(self, op: Invoke, body: bytes, status: int = 200) -> None:
        self.records.append(Answered(self._at(), op.user, op.op, status, body))

    def messages(self, op: Invoke, *messages: tuple[str, str, str]) -> None:
        """A history's answer: id, role and text of each message."""
        listed = [{"id": name, "role": role, "content": text} for name, role, text in messages]
        self.answer(op, json.dumps({"messages": listed}).encode())

    def sent(self, op: Invoke, connection: int) -> None:
        self.records.append(Sent(self._at(), op.op, connection))

    def inject(self, fault: str, *, on: bool) -> None:
        self.records.append(Injected(self._at(), fault, on))

    def note(self, kind: NoteKind, text: str = "") -> None:
        self.records.append(Noted(self._at(), kind, text))


def event(kind: str, seq: int = 0, *, run: str | None = "r1", thread: str = THREAD, **fields: Any) -> dict[str, Any]:
    """A frame with an event."""
    return {"thread_id": thread, "run_id": run, "seq": seq, "event": {"type": kind, **fields}}


def whole_run(
    parts: Sequence[str] = ("hel", "lo"),
    *,
    run: str = "r1",
    after: int = 0,
    thread: str = THREAD,
    outcome: str = "success",
    numbered: bool = True,
) -> list[dict[str, Any]]:
    """The frames of a run that says `parts`."""
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("RUN_STARTED", {}),
        ("TEXT_MESSAGE_START", {"messageId": f"m-{run}"}),
        *(("TEXT_MESSAGE_CONTENT", {"messageId": f"m-{run}", "delta": part}) for part in parts),
        ("TEXT_MESSAGE_END", {"messageId": f"m-{run}"}),
        ("RUN_FINISHED", {"outcome": {"type": outcome}}),
    ]
    return [
        event(kind, after + index if numbered else 0, run=run, thread=thread, **fields)
        for index, (kind, fields) in enumerate(kinds, 1)
    ]


def asked(script: Script, *, user: int = 1, run: str = "r1", seq: int = 0, answer: str | None = "hello") -> Invoke:
    """A user connects and asks, and the run is accepted."""
    connection = script.open(user)
    op = script.ask(connection, user, run=run, answer=answer)
    script.reply(op, seq, connection=connection)
    return op


def find(checker: Checker, records: Iterable[Record], format_: Format = FORMAT) -> Finding:
    """What one checker says of a history. It must not break."""
    (finding,) = judge(format_, [checker], records)
    assert not finding.broken
    return finding


def kinds(checker: Checker, script: Script, format_: Format = FORMAT) -> dict[str, int]:
    """How many violations of each kind it finds."""
    return find(checker, script.records, format_).counts
