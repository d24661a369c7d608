"""A whole server in this process, without a network, on which a test plays agents and reads what they say."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from goldenpath import App, Principal, Settings
from goldenpath.clock import Clock
from goldenpath.runtime.dispatcher import RunRequest
from goldenpath.runtime.flags.definition import agent_flags
from goldenpath.runtime.registry import Registry
from goldenpath.runtime.server import Server
from goldenpath.runtime.thread_log import Follower
from goldenpath.wire import events as ev
from goldenpath.wire.ids import RequestId, SessionId, UserId, new_id
from goldenpath.wire.messages import Message, RunAgentInput, UserMessage, decode_message

E = TypeVar("E")

GRACE = 0.2
"""How long a cancelled agent has on a stage, in seconds."""

ALICE = Principal(
    user_id=UserId("user-alice"),
    session_id=SessionId("session-alice"),
    expires_at=4e9,
    permissions=frozenset({"chat"}),
    email="alice@example.org",
)


class Played(list[ev.Event]):
    """The events of one run, from RUN_STARTED to its terminal event."""

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self if isinstance(event, kind)]

    @property
    def kinds(self) -> list[str]:
        """The events' types, a row of deltas as one."""
        names = [str(event.__struct_config__.tag) for event in self]
        return [name for name, _ in itertools.groupby(names)]

    @property
    def deltas(self) -> list[str]:
        return [event.delta for event in self.of(ev.TextMessageContent)]

    @property
    def text(self) -> str:
        return "".join(self.deltas)

    @property
    def finished(self) -> ev.RunFinished:
        event = self[-1]
        assert isinstance(event, ev.RunFinished), event
        return event

    @property
    def error(self) -> ev.RunError:
        event = self[-1]
        assert isinstance(event, ev.RunError), event
        return event


class Cast:
    """The agents of a server that runs already, and their flags."""

    def __init__(self, server: Server, registry: Registry) -> None:
        self._server = server
        self._registry = registry

    def add(self, name: str, function: Callable[[Any], Any], **options: Any) -> None:
        self._registry.add(name, function, **options)
        for flag in agent_flags([name]):
            self._server.flags.define(flag)


class Stage:
    """Plays agents on threads of one user."""

    def __init__(self, app: App, server: Server) -> None:
        self.agents = Cast(server, app.agents)
        self.server = server
        self._numbers = itertools.count(1)

    @asynccontextmanager
    async def playing(
        self, agent: str, thread_id: str, run_input: RunAgentInput
    ) -> AsyncIterator[AsyncIterator[ev.Event]]:
        """Start a run and iterate its events as they become visible."""
        request = RunRequest(agent=agent, input=run_input, thread_id=thread_id, run_id=f"run-{next(self._numbers)}")
        async with self.server.dispatcher.start(ALICE, request, RequestId("request-1")) as accepted:
            woken = asyncio.Event()
            follower = Follower(accepted.log, accepted.seq, woken.set, woken.set)
            self.server.event_log.subscribe(follower)
            try:
                yield self._events(follower, woken, accepted.run.run_id)
            finally:
                self.server.event_log.unsubscribe(follower)

    async def _events(self, follower: Follower, woken: asyncio.Event, run_id: str) -> AsyncIterator[ev.Event]:
        while True:
            woken.clear()
            while follower.behind:
                batch = await self.server.event_log.read(follower.log, follower.position, 1 << 20)
                assert batch is not None
                follower.position = batch.last_seq
                for data in batch.events if batch.run_id == run_id else ():
                    event = ev.decode_event(data)
                    yield event
                    if isinstance(event, ev.RunFinished | ev.RunError):
                        return
            await woken.wait()

    async def play(
        self, agent: str, *messages: Message | str, thread_id: str | None = None, **run_input: Any
    ) -> Played:
        """Play a run to its end. A string is a user message; without `thread_id` in a thread of its own."""
        given = user_input(*messages, **run_input)
        thread = thread_id or f"thread-{next(self._numbers)}"
        async with asyncio.timeout(30), self.playing(agent, thread, given) as events:
            return Played([event async for event in events])

    async def cancel(self, thread_id: str) -> None:
        await self.server.dispatcher.cancel(ALICE, thread_id, None)

    async def history(self, thread_id: str) -> list[Message]:
        _, _, messages = await self.server.dispatcher.messages(ALICE, thread_id)
        return [decode_message(message) for message in messages]


def user_input(*messages: Message | str, **fields: Any) -> RunAgentInput:
    """The input of a run with these new messages."""
    given = [UserMessage(message, id=new_id("msg")) if isinstance(message, str) else message for message in messages]
    return RunAgentInput(messages=given, **fields)


@asynccontextmanager
async def opened_stage(data_dir: Path, clock: Clock | None = None, **settings: Any) -> AsyncIterator[Stage]:
    """A stage with the built-in agents."""
    chosen = Settings(environment="testing", data_dir=str(data_dir), cancel_grace=GRACE, **settings)
    app = App(chosen, clock=clock)
    async with app.lifespan():
        yield Stage(app, app.build())
