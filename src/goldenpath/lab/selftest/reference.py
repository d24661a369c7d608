"""The reference server: what a right server of docs/protocol.md does, in memory, as far as the lab's users ask for it.

Each method is also a place where a server can be wrong: `goldenpath.lab.selftest.faults` overrides them one by one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any, Final, Literal

import msgspec

from goldenpath.lab.selftest.connection import Connection, Socket, Subscription, lines_of
from goldenpath.lab.selftest.settings import Refusal, Settings
from goldenpath.lab.selftest.thread_log import AgUiEvent, Entry, Run, Thread
from goldenpath.lab.selftest.turns import Turns

Purpose = Literal["run", "attach", "cancel", "read", "history", "delete"]
"""What somebody wants with a thread."""

DELTA: Final = 8
"""Characters of an answer in one event."""
TOO_SLOW: Final = 4508
"""The close code for a reader who is left behind."""


class ReferenceServer:
    """Belongs to one event loop."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.random = Random(seed)
        self.threads: dict[tuple[str, str], Thread] = {}
        """By user and id."""
        self.connections: set[Connection] = set()
        self.turns = Turns(settings.places)
        self._accepted: Counter[str] = Counter()
        """By user: runs that have not ended."""
        self._tokens: dict[str, tuple[str, float]] = {}
        self._work: set[asyncio.Task[None]] = set()

    # --- who somebody is ----------------------------------------------------------------------------------------------

    def log_in(self, email: str) -> dict[str, Any]:
        """New tokens."""
        token, seconds = secrets.token_urlsafe(16), self.settings.token_seconds
        self._tokens[token] = (email, time.monotonic() + seconds)
        return {
            "user_id": email,
            "access_token": token,
            "refresh_token": secrets.token_urlsafe(16),
            "token_type": "Bearer",
            "expires_in": seconds,
        }

    def who(self, token: str) -> tuple[str, float] | None:
        """Whose token it is, and until when (monotonic); None: nobody's, or not any more."""
        found = self._tokens.get(token)
        return found if found is not None and time.monotonic() < found[1] else None

    # --- threads ------------------------------------------------------------------------------------------------------

    def find(self, user: str, thread_id: str, purpose: Purpose) -> Thread | None:  # noqa: ARG002
        """A user's own thread. What belongs to somebody else is found as little as what does not exist."""
        return self.threads.get((user, thread_id))

    def known(self, user: str, thread_id: str, purpose: Purpose) -> Thread:
        """The same. Raises `Refusal`."""
        thread = self.find(user, thread_id, purpose)
        if thread is None:
            raise Refusal(404, "not_found", "there is no such thread")
        return thread

    def listed(self, user: str) -> list[Thread]:
        """A user's threads."""
        return [thread for thread in self.threads.values() if thread.user == user]

    def history(self, thread: Thread) -> dict[str, Any]:
        """All messages, complete up to `seq`."""
        return {
            "thread_id": thread.thread_id,
            "epoch": thread.epoch,
            "seq": thread.head,
            "messages": thread.messages,
        }

    def delete(self, thread: Thread) -> None:
        """Its runs stop, its readers are told, and its name is free."""
        self.threads.pop((thread.user, thread.thread_id), None)
        for run in thread.queue:
            self.cancel(run)
        for connection in self.connections:
            if connection.user == thread.user and thread.thread_id in connection.subscriptions:
                del connection.subscriptions[thread.thread_id]
                connection.reply({"type": "detached", "thread_id": thread.thread_id, "reason": "deleted"})

    # --- commands -----------------------------------------------------------------------------------------------------

    def command(self, connection: Connection, line: str) -> None:
        """Carry out one command, and reply."""
        number: Any = None
        try:
            command = msgspec.json.decode(line, type=dict[str, Any])
            number = command["id"]
            connection.reply({"re": number, "ok": True, **self._operations()[command["op"]](connection, command)})
        except Refusal as refusal:
            error = {"code": refusal.code, "message": refusal.message, "retryable": False, "definite": True}
            connection.reply({"re": number, "ok": False, "error": error})
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            what = {"code": "bad_frame", "message": f"{type(error).__name__}", "retryable": False, "definite": True}
            connection.reply({"re": number, "ok": False, "error": what})

    def _operations(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "attach": self.attach,
            "cancel": self.cancel_command,
            "ping": lambda *_: {"time": time.time()},
        }

    def run(self, connection: Connection, command: dict[str, Any]) -> dict[str, Any]:
        """Accept a run once, and subscribe to what comes of it."""
        thread = self.find(connection.user, command["thread_id"], "run") or self.new_thread(connection.user, command)
        run = thread.runs.get(command["run_id"])
        seq = thread.head
        if run is None:
            run = self.accept(thread, command["run_id"], command["text"])
        elif run.status != "queued":
            seq = run.before
        if thread.thread_id not in connection.subscriptions:
            connection.subscribe(thread, seq)
        return {
            "thread_id": thread.thread_id,
            "run_id": run.run_id,
            "status": run.status,
            "epoch": thread.epoch,
            "seq": seq,
        }

    def new_thread(self, user: str, command: dict[str, Any]) -> Thread:
        """An empty log."""
        thread = Thread(user, command["thread_id"], secrets.token_hex(4), self.settings.held)
        self.threads[user, thread.thread_id] = thread
        return thread

    def accept(self, thread: Thread, run_id: str, text: str) -> Run:
        """A run that will be carried out."""
        if self._accepted[thread.user] >= self.settings.max_queued:
            raise Refusal(429, "quota_exceeded", "too many runs wait")
        self._accepted[thread.user] += 1
        run = thread.runs[run_id] = Run(thread, run_id, text)
        thread.queue.append(run)
        if len(thread.queue) == 1:
            self.spawn(self.work(thread))
        return run

    def attach(self, connection: Connection, command: dict[str, Any]) -> dict[str, Any]:
        """Subscribe to a thread from where the reader stands."""
        thread = self.known(connection.user, command["thread_id"], "attach")
        after = command.get("after")
        seq, gap = (thread.head, False) if after is None else self.resume(thread, after.get("epoch"), after["seq"])
        subscription = connection.subscribe(thread, seq)
        if gap:
            subscription.snapshot = thread.snapshot()
        return {"thread_id": thread.thread_id, "epoch": thread.epoch, "seq": seq, "head": thread.head, "gap": gap}

    def resume(self, thread: Thread, epoch: str | None, seq: int) -> tuple[int, bool]:
        """Where a reader goes on who has seen everything up to `seq` of `epoch`, and whether that leaves a gap."""
        if thread.holds(seq) and (epoch == thread.epoch or seq == 0):
            return seq, False
        return thread.head, True

    def cancel_command(self, connection: Connection, command: dict[str, Any]) -> dict[str, Any]:
        """Stop a run, or all of a thread."""
        thread = self.known(connection.user, command["thread_id"], "cancel")
        run_id = command.get("run_id")
        if run_id is not None and run_id not in thread.runs:
            raise Refusal(404, "not_found", "there is no such run")
        runs = [run for run in thread.queue if not run.ended and run_id in (None, run.run_id)]
        for run in runs:
            self.cancel(run)
        return {"cancelled": [run.run_id for run in runs]}

    def cancel(self, run: Run) -> None:
        """It ends as soon as it notices."""
        run.cancelled = True

    # --- runs ---------------------------------------------------------------------------------------------------------

    async def work(self, thread: Thread) -> None:
        """Carry out a thread's runs, one after another."""
        while thread.queue:
            run = thread.queue[0]
            await self.turns.take(thread.user)
            try:
                await self.execute(run)
            finally:
                self.turns.give_back(thread.user)
                thread.queue.popleft()
                self._accepted[thread.user] -= 1

    async def execute(self, run: Run) -> None:
        """From a run's RUN_STARTED to its terminal event."""
        run.status, run.before = "running", run.thread.head
        ids = {"threadId": run.thread.thread_id, "runId": run.run_id}
        question = {"id": f"{run.run_id}-question", "role": "user", "content": run.text}
        self.append(run, {"type": "RUN_STARTED", **ids, "input": {**ids, "messages": [question]}})
        message = {"messageId": f"{run.run_id}-answer"}
        self.append(run, {"type": "TEXT_MESSAGE_START", **message, "role": "assistant"})
        async for delta in self.answer(run):
            self.append(run, {"type": "TEXT_MESSAGE_CONTENT", **message, "delta": delta})
        self.append(run, {"type": "TEXT_MESSAGE_END", **message})
        run.status = "cancelled" if run.cancelled else "finished"
        outcome = {"type": "cancelled" if run.cancelled else "success"}
        self.append(run, {"type": "RUN_FINISHED", **ids, "outcome": outcome})

    async def answer(self, run: Run) -> AsyncIterator[str]:
        """The echo agent: what it was told, in pieces, until it is told to stop."""
        for begin in range(0, len(run.text), DELTA):
            await asyncio.sleep(self.settings.pace)
            if run.cancelled:
                return
            yield run.text[begin : begin + DELTA]

    def append(self, run: Run, event: AgUiEvent) -> None:
        """Put an event into the log, and tell its readers that there is one."""
        run.thread.append(run.run_id, event)
        self.tell(run.thread)

    def tell(self, thread: Thread) -> None:
        """There are new events in `thread`."""
        for connection in self.connections:
            subscription = connection.subscriptions.get(thread.thread_id)
            if subscription is not None and subscription.thread is thread:
                connection.wake(thread)

    # --- what readers get ---------------------------------------------------------------------------------------------

    async def write(self, connection: Connection, socket: Socket) -> None:
        """Send what there is to send, until cancelled."""
        while True:
            await connection.something()
            while not connection.is_left_behind and (lines := self.next_lines(connection)):
                await self.send(connection, socket, b"\n".join(lines).decode())
            if connection.is_left_behind:
                await socket.close(TOO_SLOW)
                return

    def next_lines(self, connection: Connection) -> list[bytes]:
        """Replies first, then events."""
        lines = connection.take_replies()
        for subscription in connection.ready():
            entries = connection.next_entries(subscription)
            if entries:
                lines += lines_of(self.deliver(connection, subscription, entries))
        return lines

    def deliver(
        self,
        connection: Connection,  # noqa: ARG002
        subscription: Subscription,  # noqa: ARG002
        entries: Sequence[Entry],
    ) -> Sequence[Entry]:
        """What a reader gets where these come next in the log: exactly these."""
        return entries

    async def send(self, connection: Connection, socket: Socket, text: str) -> None:  # noqa: ARG002
        """One message."""
        await socket.send(text)

    # ------------------------------------------------------------------------------------------------------------------

    def spawn(self, work: Any) -> None:
        """Begin something that goes on by itself."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
