"""Stored runs as a worker would have left them, made up record by record: every number in them is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from goldenpath.lab.canary import Canaries
from goldenpath.lab.history import HistoryWriter, path_of, save_manifest
from goldenpath.lab.records import (
    Answered,
    Closed,
    Complete,
    Injected,
    Invoke,
    Manifest,
    Noted,
    NoteKind,
    Opened,
    Outcome,
    Received,
    Record,
    Sampled,
)

ZERO = 1000.0
NONCE = "made"


class MadeRun:
    """Collects records; `store` writes them in the order of their times. Times are seconds from
    the load's beginning."""

    def __init__(self, scenario: str = "golden_path", *, users: int = 1, **manifest: Any) -> None:
        self.manifest = Manifest(
            version="0",
            scenario=scenario,
            users=users,
            seed=1,
            nonce=NONCE,
            format="goldenpath",
            zero=ZERO,
            **{"command": "goldenpath lab run", "started_at": 1_700_000_000.0, **manifest},
        )
        self.canaries = Canaries(NONCE)
        self._records: list[Record] = []
        self._ops = 0
        self._seqs: dict[int, int] = {}

    def add(self, *records: Record) -> Self:
        self._records += records
        return self

    def _op(self) -> int:
        self._ops += 1
        return self._ops

    def operation(
        self,
        user: int,
        kind: Any,
        at: float,
        took: float,
        outcome: Outcome = "ok",
        code: str = "",
        *,
        late: float = 0.0,
    ) -> Self:
        op = self._op()
        at += ZERO
        self.add(Invoke(at + late, op, user, kind, at), Complete(at + took, op, outcome, code))
        return self

    def arrive(self, user: int, at: float = 0.0, *, login: float = 0.01, connect: float = 0.01) -> Self:
        """Log in and connect."""
        self.operation(user, "login", at, login)
        self.operation(user, "connect", at + login, connect)
        return self.add(Opened(ZERO + at + login + connect, user, user + 1))

    def leave(self, user: int, at: float) -> Self:
        return self.add(Closed(ZERO + at, user, user + 1, ours=True))

    def ask(
        self,
        user: int,
        at: float,
        took: float = 0.1,
        *,
        first: float | None = None,
        answer: str = "an answer",
        lose: int = 0,
        late: float = 0.0,
        leaks: int | None = None,
    ) -> Self:
        """A run that ends well. `lose`: so many events are left out before its end. `leaks`: whose canary is in it."""
        op = self._op()
        thread, run, begun = f"thread-{user}", f"run-{op}", ZERO + at
        text = answer + (self.canaries.make(leaks, 1) if leaks is not None else "")
        seq = self._seqs.get(user, 0)

        def event(kind: str, **fields: Any) -> bytes:
            nonlocal seq
            seq += 1
            body = {"thread_id": thread, "run_id": run, "seq": seq, "event": {"type": kind, **fields}}
            return json.dumps(body).encode()

        reply = {"re": op, "ok": True, "thread_id": thread, "run_id": run, "epoch": "e", "seq": seq}
        self.add(Invoke(begun + late, op, user, "ask", begun, user + 1, thread, run, "?", answer))
        begin = [json.dumps(reply).encode(), event("RUN_STARTED"), event("TEXT_MESSAGE_START", messageId="m")]
        middle = event("TEXT_MESSAGE_CONTENT", messageId="m", delta=text)
        seq += lose
        end = [event("TEXT_MESSAGE_END", messageId="m"), event("RUN_FINISHED")]
        self._seqs[user] = seq
        times = [late] * 3 + [took if first is None else first] + [took] * 2
        for after, payload in zip(times, [*begin, middle, *end], strict=True):
            self.add(Received(begun + after, user, user + 1, payload))
        return self.add(Complete(begun + took, op, "ok"))

    def sample(self, at: float, source: str = "target", **figures: float) -> Self:
        return self.add(Sampled(ZERO + at, source, figures))

    def fault(self, fault: str, began: float, ended: float) -> Self:
        return self.add(Injected(ZERO + began, fault, on=True), Injected(ZERO + ended, fault, on=False))

    def note(self, at: float, kind: NoteKind, text: str = "") -> Self:
        return self.add(Noted(ZERO + at, kind, text))

    def answered(self, user: int, at: float, body: Mapping[str, Any]) -> Self:
        op = self._op()
        at += ZERO
        return self.add(
            Invoke(at, op, user, "history", at, thread=f"thread-{user}"),
            Answered(at, user, op, 200, json.dumps(body).encode()),
            Complete(at, op, "ok"),
        )

    def store(self, directory: Path, *, ended: bool = True) -> Path:
        """`ended` False: as the lab leaves it that is killed."""
        directory.mkdir(parents=True, exist_ok=True)
        with HistoryWriter(path_of(directory, 0), self.manifest.nonce) as writer:
            writer.write(Noted(ZERO, "sealed", save_manifest(directory, self.manifest)))
        last = max((record.at for record in self._records), default=ZERO)
        with HistoryWriter(path_of(directory, 1), self.manifest.nonce) as writer:
            for record in sorted(self._records, key=lambda record: record.at):
                writer.write(record)
            if ended:
                writer.write(Noted(last, "ended"))
        return directory


def path_of_users(
    count: int, scenario: str = "golden_path", *, asks: int = 3, stays: float = 0.0, **manifest: Any
) -> MadeRun:
    """A run in which everything goes well: each user's answers take 10 ms more than those of the user before.
    They stay connected for `stays` seconds at least."""
    run = MadeRun(scenario, users=count, **manifest)
    run.sample(-0.1, memory_mb=100.0, cpu_percent=0.0)
    end = 0.0
    for user in range(count):
        begin = user * 0.01
        run.arrive(user, begin)
        for number in range(asks):
            took = 0.01 * (user % 10 + 1)
            run.ask(user, begin + 0.1 + number * 0.2, took, first=took / 2)
        end = begin + 0.1 + asks * 0.2
        run.leave(user, max(end, stays))
    return run.sample(end, memory_mb=110.0, cpu_percent=50.0, round_trip=0.004).sample(
        end, "worker 0", cpu_percent=20.0, loop_lag=0.001
    )


def named(levels: Iterable[Any], name: str) -> Any:
    """The one of this name."""
    (found,) = [level for level in levels if getattr(level, "level", level).name == name]
    return found
