"""A server without a network: in the memory of its process, with our own server's frames, and deterministic.

For tests of whatever drives users: each event comes in a turn of the event loop of its own, in the same order every
time, and no clock is looked at. All clients of one target share its users, threads and logs. What it answers is what
it was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import count
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from goldenpath.lab.records import Invoke
from goldenpath.lab.target import Ability, Sink, TargetError
from goldenpath.lab.targets.memory_log import Log, Run
from goldenpath.lab.targets.unable import UnableClient
from goldenpath.lab.targets.web import raise_for_status

_PIECE: Final = 8
_GONE: Final = 1006
_ABILITIES: Final[frozenset[Ability]] = frozenset(
    ("login", "connect", "resume", "cancel", "history", "threads", "intrude", "echo")
)

Failure = Literal["down", "refuses_logins", "garbage", "closes_in_handshake", "dies", "admits"]
"""What is wrong with it: nobody is there; every login is refused; what it sends cannot be read; a connection is closed
before it is one; it is gone for good after the first piece of an answer; users get at what is others'."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How it behaves."""

    failure: Failure | None = None


class MemoryTarget:
    """A server and the way to it in one. Belongs to one event loop."""

    format = "goldenpath"
    abilities = _ABILITIES
    tokens: Mapping[int, str] = MappingProxyType({})

    def __init__(self, options: Options) -> None:
        self.options = options
        self.format_options: Mapping[str, Any] = {}
        self.users: set[int] = set()
        """Who is logged in."""
        self.clients: list[MemoryClient] = []
        """Who is connected."""
        self.is_up = options.failure != "down"
        self._logs: dict[tuple[int, str], Log] = {}
        self._epochs = count(1)
        self._working: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        if not self.is_up:
            raise TargetError("unreachable", "nobody is there")

    def client(self, user: int, viewer: int, sink: Sink) -> MemoryClient:
        return MemoryClient(self, user, viewer, sink)

    def log(self, user: int, thread: str) -> Log:
        """A user's thread; a new one where there is none yet."""
        known = self._logs.get((user, thread))
        if known is None:
            known = self._logs[user, thread] = Log(f"epoch-{next(self._epochs)}")
        return known

    def find(self, user: int, thread: str) -> Log:
        """A user's thread. Raises `TargetError` where there is none."""
        owners = [user] if self.options.failure != "admits" else [user, *sorted(self.users)]
        for owner in owners:
            if (owner, thread) in self._logs:
                return self._logs[owner, thread]
        raise TargetError("not_found", f"there is no thread {thread!r}")

    def threads_of(self, user: int) -> list[str]:
        """The names of a user's threads."""
        return [thread for owner, thread in self._logs if owner == user]

    def start(self, log: Log, op: Invoke) -> None:
        """A new run, behind those that the thread has. A run id that it has starts nothing."""
        if op.run in log.runs:
            return
        log.runs[op.run] = Run(op.text)
        log.queue.append(op.run)
        if len(log.queue) == 1:
            task = asyncio.ensure_future(self._work(log, op.thread))
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _work(self, log: Log, thread: str) -> None:
        while log.queue:
            name = log.queue[0]
            await self._play(log, thread, name, log.runs[name])
            log.runs[name].has_ended = True
            del log.queue[0]

    async def _play(self, log: Log, thread: str, name: str, run: Run) -> None:
        message = f"{name}-answer"
        pieces = [run.text[start : start + _PIECE] for start in range(0, len(run.text), _PIECE)]
        events: list[dict[str, Any]] = [
            {"type": "RUN_STARTED", "threadId": thread, "runId": name},
            {"type": "TEXT_MESSAGE_START", "messageId": message, "role": "assistant"},
            *({"type": "TEXT_MESSAGE_CONTENT", "messageId": message, "delta": piece} for piece in pieces),
        ]
        said = ""
        for event in events:
            await asyncio.sleep(0)
            if run.is_cancelled:
                break
            said += event.get("delta", "")
            log.append(thread, name, event)
            if self.options.failure == "dies" and said:
                self.die()
                return
        if said or not run.is_cancelled:
            log.append(thread, name, {"type": "TEXT_MESSAGE_END", "messageId": message})
        outcome = "cancelled" if run.is_cancelled else "success"
        finished = {"type": "RUN_FINISHED", "threadId": thread, "runId": name, "outcome": {"type": outcome}}
        log.messages += [
            {"id": f"{name}-question", "role": "user", "content": run.text},
            {"id": message, "role": "assistant", "content": said},
        ]
        log.append(thread, name, finished)

    def die(self) -> None:
        """Be gone: every connection is lost, and no new one is made."""
        self.is_up = False
        for client in list(self.clients):
            client.end(ours=False, code=_GONE)
        for task in self._working:
            task.cancel()

    async def close(self) -> None:
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)


class MemoryClient(UnableClient):
    """One viewer."""

    def __init__(self, target: MemoryTarget, user: int, viewer: int, sink: Sink) -> None:
        super().__init__(user, viewer, sink)
        self.target = target
        self._connection = 0
        self._following: list[Log] = []
        self._is_reading = True
        self._waiting: list[bytes] = []
        """What came while it was not reading."""

    @property
    def connection(self) -> int:
        return self._connection

    async def login(self, op: Invoke) -> None:
        self._see_whether_it_is_up()
        refused = self.target.options.failure == "refuses_logins"
        answer = {"code": "unauthorized", "detail": "wrong password", "definite": True} if refused else {}
        self._answer(op, 401 if refused else 200, answer)
        self.target.users.add(self.user)

    def _see_whether_it_is_up(self) -> None:
        if not self.target.is_up:
            raise TargetError("unreachable", "nobody is there")

    def _answer(self, op: Invoke, status: int, answer: Any) -> None:
        body = msgspec.json.encode(answer)
        self.sink.answered(self.user, op.op, status, body)
        raise_for_status(status, body)

    async def connect(self) -> None:
        self._see_whether_it_is_up()
        if self.target.options.failure == "closes_in_handshake":
            raise TargetError("disconnected", "closed in the handshake")
        if self.user not in self.target.users:
            raise TargetError("unauthorized", "401: there is no such user")
        self._connection = self.sink.opened(self.user, self.viewer)
        self.target.clients.append(self)

    async def ask(self, op: Invoke) -> None:
        self._see_whether_it_is_connected()
        log = self.target.log(self.user, op.thread)
        self._follow(log, op, len(log.events), {"run_id": op.run, "status": "queued" if log.queue else "running"})
        self.target.start(log, op)

    async def attach(self, op: Invoke) -> None:
        self._see_whether_it_is_connected()
        try:
            log = self.target.find(self.user, op.thread)
        except TargetError as error:
            self._reply(op, {"ok": False, "error": {"code": error.code, "message": error.detail, "definite": True}})
            return
        after = len(log.events) if op.after is None else op.after if op.epoch == log.epoch else 0
        self._follow(log, op, after, {})

    def _follow(self, log: Log, op: Invoke, after: int, more: dict[str, Any]) -> None:
        """Reply, and bring what is there. Who follows already goes on where they stand."""
        self._reply(op, {"ok": True, "thread_id": op.thread, "epoch": log.epoch, "seq": after, **more})
        if log in self._following:
            if "run_id" in more:
                return
        else:
            self._following.append(log)
            log.followers.append(self)
        for event in log.events[after:]:
            self.bring(event)

    async def cancel(self, op: Invoke) -> None:
        self._see_whether_it_is_connected()
        log = self.target.log(self.user, op.thread)
        run = log.runs.get(op.run)
        if run is None:
            self._reply(op, {"ok": False, "error": {"code": "not_found", "message": op.run, "definite": True}})
            return
        run.is_cancelled = run.is_cancelled or not run.has_ended
        self._reply(op, {"ok": True})

    def _reply(self, op: Invoke, reply: dict[str, Any]) -> None:
        self.bring(msgspec.json.encode({"re": op.op, **reply}))

    async def history(self, op: Invoke) -> None:
        self._see_whether_it_is_up()
        try:
            log = self.target.find(self.user, op.thread)
        except TargetError as error:
            self._answer(op, 404, {"code": error.code, "detail": error.detail, "definite": True})
            return
        self._answer(op, 200, {"messages": log.messages})

    async def threads(self, op: Invoke) -> None:
        self._see_whether_it_is_up()
        self._answer(op, 200, {"threads": [{"thread_id": name} for name in self.target.threads_of(self.user)]})

    async def intrude(self, op: Invoke) -> bool:
        try:
            await self.history(op)
        except TargetError as error:
            if error.code != "not_found":
                raise
            await self.attach(msgspec.structs.replace(op, epoch="", after=0))
            return True
        raise TargetError("admitted", "the history was shown", definite=False)

    def _see_whether_it_is_connected(self) -> None:
        if not self._connection:
            raise TargetError("disconnected", "there is no connection")

    def bring(self, payload: bytes) -> None:
        """Something for this client; nothing where it is not connected any more."""
        if self.target.options.failure == "garbage":
            payload = b"<html>" + payload
        if not self._is_reading:
            self._waiting.append(payload)
        elif self._connection:
            self.sink.received(self.user, self._connection, payload)

    def end(self, *, ours: bool, code: int = 0) -> None:
        """The connection is no more."""
        if not self._connection:
            return
        connection, self._connection = self._connection, 0
        self._waiting.clear()
        self._is_reading = True
        self.target.clients.remove(self)
        for log in self._following:
            log.followers.remove(self)
        self._following.clear()
        record = self.sink.closed(self.user, connection, ours=ours, code=code)
        if self.on_closed is not None:
            self.on_closed(record, 0)

    def drop(self) -> None:
        self.end(ours=True)

    def pause(self, *, reading: bool) -> None:
        self._is_reading = reading
        if reading:
            waiting, self._waiting = self._waiting, []
            for payload in waiting:
                self.bring(payload)

    async def close(self) -> None:
        self.end(ours=True)
