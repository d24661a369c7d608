"""A user who writes down everything that it gets to read: over WebSocket, SSE and plain HTTP."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.contract import history as h
from tests.contract.judge import TERMINAL
from tests.serverprocess import ServerProcess

PATIENCE = 30.0
"""How long a test waits for what must come, in seconds."""
Json = dict[str, Any]
LOST = (ConnectionClosed, InvalidHandshake, OSError, EOFError, TimeoutError)
"""What the end of a connection looks like."""


def end_of(terminal: Json) -> str:
    """The code or the outcome of a terminal event."""
    return str(terminal["code"] if terminal["type"] == "RUN_ERROR" else terminal["outcome"]["type"])


class LinkLostError(Exception):
    """The connection ended before what was waited for came."""


class _Frame(msgspec.Struct):
    event: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    thread_id: str = ""
    run_id: str | None = None
    seq: int = 0


class Witness:
    """One user of one server. `http` is a client with the user's token."""

    def __init__(self, server: ServerProcess, history: h.History, email: str, **claims: Any) -> None:
        self.server = server
        self.history = history
        self.name = email
        self.tokens = server.tokens(email, **claims)
        self.marker = f"<{email}>"
        history.markers[email] = self.marker.encode()
        self.http = httpx.AsyncClient(
            base_url=server.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=PATIENCE,
            trust_env=False,
            verify=False,  # there is no TLS here, and its certificates take 50 ms to load
        )
        self.runs: dict[tuple[str, str], Json] = {}
        """The terminal event of each run that this user saw end."""
        self.cursors: dict[str, tuple[str, int]] = {}
        """How far this user has read each thread."""
        self._links: set[Link] = set()

    @property
    def token(self) -> str:
        return str(self.tokens["access_token"])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for link in list(self._links):
            link.abort()
            await link.closed()
        await self.http.aclose()

    @asynccontextmanager
    async def link(self, url: str | None = None) -> AsyncIterator[Link]:
        """A WebSocket connection, through `url` where that is given. Raises one of `LOST`."""
        link = await self.connect(url)
        try:
            yield link
        finally:
            await link.close()

    async def connect(self, url: str | None = None) -> Link:
        """A WebSocket connection that the caller closes. Raises one of `LOST`."""
        connection = await connect(
            url or self.server.ws_url,
            additional_headers={"Authorization": f"Bearer {self.token}"},
            max_size=None, ping_interval=None, proxy=None, compression=None, close_timeout=5,
        )  # fmt: skip
        link = Link(self, connection)
        self._links.add(link)
        try:
            await link.until(lambda: link.welcome is not None)
        except BaseException:
            await link.close()
            raise
        return link

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """GET, with the answer written down."""
        return self._said(await self.http.get(path, **options))

    async def post(self, path: str, **options: Any) -> httpx.Response:
        """POST, with the answer written down."""
        return self._said(await self.http.post(path, **options))

    def _said(self, answer: httpx.Response) -> httpx.Response:
        self.history.add(h.Said(self.name, answer.content))
        return answer

    async def messages(self, thread_id: str) -> list[Json]:
        """The history of a thread."""
        asked_at = len(self.history)
        answer = await self.get(f"/v1/threads/{thread_id}/messages")
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        shown = msgspec.json.encode(found["messages"])
        self.history.add(h.Messages(self.name, thread_id, found["epoch"], found["seq"], shown, asked_at))
        messages: list[Json] = found["messages"]
        return messages

    async def status(self, thread_id: str, run_id: str) -> str:
        """The status of a run."""
        answer = await self.get(f"/v1/threads/{thread_id}/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        found = answer.json()
        self.history.add(h.Status(self.name, thread_id, run_id, found["status"], found["error"]))
        return str(found["status"])

    async def delete(self, thread_id: str) -> httpx.Response:
        """Delete a thread."""
        self.history.add(h.Deleting(self.name, thread_id))
        answer = await self.http.delete(f"/v1/threads/{thread_id}")
        if answer.status_code == 204:
            self.history.add(h.Deleted(self.name, thread_id))
        return answer

    # --- SSE ----------------------------------------------------------------------------------------------------------

    async def stream_run(self, thread_id: str, run_id: str, text: str, agent: str = "echo") -> list[Json]:
        """POST .../run, read to its end; the events."""
        message = {"id": f"m-{run_id}", "role": "user", "content": text}
        body = {"threadId": thread_id, "runId": run_id, "protocolVersion": "1.0", "messages": [message]}
        events: list[Json] = []
        asked_at = len(self.history)
        async with self.http.stream("POST", f"/v1/agents/{agent}/run", json=body) as answer:
            if answer.status_code != 200:
                await answer.aread()
                raise AssertionError(answer.text)
            async for _, epoch, seq, data in _sse(answer):
                if not events:
                    self.history.add(h.Accepted(self.name, thread_id, epoch, run_id, asked_at))
                    number = self._opened(thread_id, epoch, seq - 1, None, asked_at, gap=False)
                self.history.add(h.Saw(number, seq, run_id, data))
                events.append(json.loads(data))
        if events:
            self.history.add(h.Closed(number))
        return events

    async def follow(
        self, thread_id: str, after: tuple[str, int], run_id: str | None, enough: Callable[[Json], bool]
    ) -> list[Json]:
        """GET .../events after a cursor, until an event is `enough`. `run_id`: that of the first event, where it is
        not RUN_STARTED."""
        events: list[Json] = []
        number = 0
        asked_at = len(self.history)
        headers = {"Last-Event-ID": f"{after[0]}.{after[1]}"}
        async with self.http.stream("GET", f"/v1/threads/{thread_id}/events", headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            async for name, epoch, seq, data in _sse(answer):
                event = json.loads(data)
                if not number:
                    seq_before = seq if name else after[1]
                    number = self._opened(thread_id, epoch, seq_before, after, asked_at, gap=name == "gap")
                if event["type"] == "RUN_STARTED":
                    run_id = event["runId"]
                self.history.add(h.Saw(number, seq, None if name else run_id, data))
                events.append(event)
                if enough(event):
                    break
        self.history.add(h.Closed(number))
        return events

    def _opened(
        self, thread_id: str, epoch: str, seq: int, after: tuple[str, int] | None, asked_at: int, *, gap: bool
    ) -> int:
        number = self.history.new_subscription()
        self.history.add(h.Opened(number, self.name, thread_id, epoch, seq, None, gap, after, asked_at))
        return number

    # --- at the end of a test -----------------------------------------------------------------------------------------

    async def audit(self, threads: Iterable[str]) -> None:
        """Read every thread from its start to its end, its history and the status of its runs."""
        async with self.link() as link:
            for thread_id in threads:
                reply = await link.ok("attach", thread_id=thread_id, after={"seq": 0})
                await link.until(lambda t=thread_id, end=reply["head"]: self.cursors[t][1] >= end)  # type: ignore[misc]
                await link.ok("detach", thread_id=thread_id)
                await self.messages(thread_id)
                for run in (await self.get(f"/v1/threads/{thread_id}")).json()["runs"]:
                    await self.status(thread_id, run["run_id"])


class Link:
    """One WebSocket connection of a user, with a task that reads all the time."""

    def __init__(self, user: Witness, connection: ClientConnection) -> None:
        self.user = user
        self.connection = connection
        self.welcome: Json | None = None
        self.notices: list[Json] = []
        self.events: list[tuple[str, int, str | None, Json]] = []
        """(thread_id, seq, run_id, event), as they came."""
        self.bytes_read = 0
        self.lost = False
        self.fault: Exception | None = None
        """What the reader could not make sense of."""
        self.subscriptions: dict[str, int] = {}
        self._epochs: dict[int, str] = {}
        self._commands: dict[Any, tuple[Json, int, asyncio.Future[Json]]] = {}
        self._ids = itertools.count(1)
        self._changed = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    # --- asking -------------------------------------------------------------------------------------------------------

    def post(self, op: str, **fields: Any) -> tuple[Json, asyncio.Future[Json]]:
        """A command that is to be sent, and what will be its reply."""
        command = {"id": next(self._ids), "op": op, **fields}
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._commands[command["id"]] = (command, len(self.user.history), future)
        return command, future

    async def call(self, op: str, **fields: Any) -> Json:
        """Send a command and return its reply. Raises `LinkLostError`."""
        command, reply = self.post(op, **fields)
        await self.send(json.dumps(command))
        async with asyncio.timeout(PATIENCE):
            return await reply

    async def send(self, text: str) -> None:
        """Send a message as it is. Raises `LinkLostError`."""
        try:
            await self.connection.send(text)
        except ConnectionClosed as error:
            raise LinkLostError from error

    async def ok(self, op: str, **fields: Any) -> Json:
        """Send a command that must succeed."""
        reply = await self.call(op, **fields)
        assert reply["ok"] is True, reply
        return reply

    async def refused(self, op: str, **fields: Any) -> Json:
        """Send a command that must be refused; the error."""
        reply = await self.call(op, **fields)
        assert reply["ok"] is False, reply
        error: Json = reply["error"]
        return error

    async def run(self, agent: str, text: str, thread_id: str, run_id: str, **fields: Any) -> Json:
        """Start a run, which must be accepted."""
        return await self.ok("run", agent=agent, text=text, thread_id=thread_id, run_id=run_id, **fields)

    async def script(self, thread_id: str, run_id: str, *steps: Json, **fields: Any) -> Json:
        """Start the scripted agent."""
        return await self.run("scripted", json.dumps({"steps": steps}), thread_id, run_id, **fields)

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], Any], patience: float = PATIENCE) -> None:
        """Wait until `condition` holds. Raises `LinkLostError`, or AssertionError when it takes too long."""
        try:
            async with asyncio.timeout(patience):
                while not condition():
                    if self.fault is not None:
                        raise self.fault
                    if self.lost:
                        raise LinkLostError(f"closed with {self.connection.close_code}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            last = [(event[:3], event[3]["type"]) for event in self.events[-3:]]
            raise AssertionError(f"waited {patience} s in vain; the last events were {last}") from None

    async def ended(self, thread_id: str, run_id: str, patience: float = PATIENCE) -> Json:
        """Wait until this user saw the run end; the terminal event."""
        await self.until(lambda: (thread_id, run_id) in self.user.runs, patience)
        return self.user.runs[thread_id, run_id]

    async def end(self, thread_id: str, run_id: str, patience: float = PATIENCE) -> str:
        """Wait for the end of a run. Returns how it ended, as `end_of` says it."""
        return end_of(await self.ended(thread_id, run_id, patience))

    async def play(self, agent: str, text: str, thread_id: str, run_id: str, **fields: Any) -> str:
        """Run an agent to its end. Returns how it ended."""
        await self.run(agent, text, thread_id, run_id, **fields)
        return await self.end(thread_id, run_id)

    async def saw(self, kind: str, thread_id: str, run_id: str | None = None, patience: float = PATIENCE) -> Json:
        """Wait for an event of this type; the first one."""

        def first() -> Json | None:
            for thread, _, run, event in self.events:
                if event["type"] == kind and thread == thread_id and run_id in (None, run):
                    return event
            return None

        await self.until(first, patience)
        found = first()
        assert found is not None
        return found

    def of_run(self, thread_id: str, run_id: str) -> list[Json]:
        """The events of a run that came over this connection."""
        return [event for thread, _, run, event in self.events if (thread, run) == (thread_id, run_id)]

    async def closed(self, patience: float = PATIENCE) -> int | None:
        """Wait for the end; the close code."""
        async with asyncio.timeout(patience):
            await asyncio.wait([self._reader])
        return self.connection.close_code

    async def close(self) -> None:
        """Say good-bye."""
        self.user._links.discard(self)
        await self.connection.close()
        await asyncio.wait([self._reader])

    def abort(self) -> None:
        """Drop the TCP connection."""
        self.connection.transport.abort()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while True:
                message = await self.connection.recv(decode=False)
                self.bytes_read += len(message)
                for line in message.split(b"\n"):
                    if line.strip():
                        self._take(line)
                self._changed.set()
        except LOST:
            pass
        except Exception as error:  # noqa: BLE001 - for whoever waits
            self.fault = error
        finally:
            self.lost = True
            for number in self.subscriptions.values():
                self.user.history.add(h.Closed(number))
            self.subscriptions.clear()
            for _, _, future in self._commands.values():
                if not future.done():
                    future.set_exception(self.fault or LinkLostError())
                    future.exception()  # it is nobody's fault if nobody waits for it
            self._changed.set()

    def _take(self, line: bytes) -> None:
        frame = msgspec.json.decode(line, type=_Frame)
        if frame.event is msgspec.UNSET:
            self.user.history.add(h.Said(self.user.name, line))
            self._answer(msgspec.json.decode(line))
            return
        assert isinstance(frame.event, msgspec.Raw)
        number = self.subscriptions.get(frame.thread_id)
        assert number is not None, f"an event of a thread that is not followed: {line!r}"
        data = bytes(frame.event)
        self.user.history.add(h.Saw(number, frame.seq, frame.run_id, data))
        event = msgspec.json.decode(data)
        self.events.append((frame.thread_id, frame.seq, frame.run_id, event))
        self.user.cursors[frame.thread_id] = (self._epochs[number], frame.seq)
        if event["type"] in TERMINAL:
            assert frame.run_id is not None
            self.user.runs[frame.thread_id, frame.run_id] = event

    def _answer(self, frame: Json) -> None:
        history, user = self.user.history, self.user.name
        if "re" not in frame:
            self.notices.append(frame)
            if frame["type"] == "welcome":
                self.welcome = frame
            elif frame["type"] == "detached":
                history.add(h.Closed(self.subscriptions.pop(frame["thread_id"]), deleted=True))
            return
        if frame["re"] not in self._commands:
            self.notices.append(frame)
            return
        command, asked_at, future = self._commands[frame["re"]]
        thread_id = frame.get("thread_id") or command.get("thread_id", "")
        match command["op"], frame["ok"]:
            case "run", True:
                history.add(h.Accepted(user, thread_id, frame["epoch"], frame["run_id"], asked_at))
                if thread_id not in self.subscriptions:
                    # With a gap: it asked for what a known run said, somewhere in the log.
                    self._open(thread_id, frame, (frame["epoch"], 0) if "gap" in frame else None, asked_at)
            case "attach", True:
                if thread_id in self.subscriptions:
                    history.add(h.Closed(self.subscriptions.pop(thread_id)))
                after = command.get("after")
                self._open(thread_id, frame, after and (after.get("epoch"), after["seq"]), asked_at)
            case "detach", True if thread_id in self.subscriptions:
                history.add(h.Closed(self.subscriptions.pop(thread_id)))
        del self._commands[frame["re"]]  # until here, so that whoever waits is told of a fault above
        if not future.done():
            future.set_result(frame)

    def _open(self, thread_id: str, reply: Json, after: tuple[str | None, int] | None, asked_at: int) -> None:
        number = self.user.history.new_subscription()
        self.subscriptions[thread_id] = number
        self._epochs[number] = reply["epoch"]
        self.user.history.add(
            h.Opened(
                number, self.user.name, thread_id, reply["epoch"], reply["seq"], reply.get("head"),
                reply.get("gap", False), after, asked_at,
            )
        )  # fmt: skip
        self.user.cursors[thread_id] = (reply["epoch"], reply["seq"])


async def _sse(answer: httpx.Response) -> AsyncIterator[tuple[str, str, int, bytes]]:
    """(event name, epoch, seq, data) of each message."""
    name, identity = "", ""
    async for line in answer.aiter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            identity = value
        elif field == "data":
            epoch, _, seq = identity.rpartition(".")
            yield name, epoch, int(seq), value.encode()
            name = ""
