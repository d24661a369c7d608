"""Any AG-UI server: one POST of a RunAgentInput for each question, whose answer is a stream of events.

As AG-UI's own clients do, the client holds the conversation and sends all of it along: its messages and its state.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import aiohttp
import msgspec

from goldenpath.lab.formats.sse import SseDecoder
from goldenpath.lab.frames import UNREADABLE, FormatError
from goldenpath.lab.records import Invoke
from goldenpath.lab.target import Ability, Sink, TargetError
from goldenpath.lab.targets.placeholders import filled
from goldenpath.lab.targets.secrets import without_parameters
from goldenpath.lab.targets.unable import UnableClient
from goldenpath.lab.targets.web import Web, overhear_headers, quoted, raise_for_status
from goldenpath.wire.events import Event, StateDelta, StateSnapshot, decode_event
from goldenpath.wire.json_patch import PatchError, apply_patch
from goldenpath.wire.messages import RunAgentInput, UserMessage
from goldenpath.wire.transcript import Transcript

CONVERSATIONS: Final = 64
"""How many conversations a client keeps; the one that it did not go on with for longest is forgotten first."""
LINGERING: Final = 5.0
"""Seconds in which a stream should end after the run did; what comes meanwhile is still read."""
_LARGEST_REFUSAL: Final = 64 * 1024


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to reach it."""

    url: str
    headers: dict[str, str] = {}
    """Sent with every request; `{user}` in a value becomes the user's number."""
    protocol_version: str = "1.0"
    """Empty: none is sent, as clients before 1.0 do."""
    echo: bool = False
    """Whether its answer to a text is the same text."""


class AguiTarget:
    """One endpoint."""

    format = "agui"

    def __init__(self, options: Options) -> None:
        self.options = options
        self.format_options: Mapping[str, Any] = {}
        self.abilities: frozenset[Ability] = frozenset(("echo",) if options.echo else ())
        self.tokens: Mapping[int, str] = {}
        self.web = Web(options.url, at_once=0)

    async def open(self) -> None:
        """Any answer but a failure shows that it is there: what GET means at an endpoint for POST is its own affair."""
        status, body = await self.web.reach("")
        if status >= 500:
            raise TargetError("refused", f"{self.web.name} answers {status}: {quoted(body)}")

    def client(self, user: int, viewer: int, sink: Sink) -> AguiClient:
        return AguiClient(self, user, viewer, sink)

    async def close(self) -> None:
        await self.web.close()


class Conversation:
    """What an AG-UI client knows of a thread."""

    def __init__(self) -> None:
        self.transcript = Transcript()
        self.state: Any = None

    def apply(self, event: Event) -> None:
        """Fold one event in."""
        if isinstance(event, StateSnapshot):
            self.state = event.snapshot
        elif isinstance(event, StateDelta):
            try:
                self.state = apply_patch(self.state, event.delta)
            except PatchError:
                return  # AG-UI's client leaves the state as it is, too
        else:
            self.transcript.apply(event)


class AguiClient(UnableClient):
    """One viewer, with the conversations that it holds. Each `ask` has a connection of its own."""

    def __init__(self, target: AguiTarget, user: int, viewer: int, sink: Sink) -> None:
        super().__init__(user, viewer, sink)
        self.target = target
        self._headers = filled(target.options.headers, {"user": str(user)})
        self._headers |= {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        self._conversations: OrderedDict[str, Conversation] = OrderedDict()
        self._streams: dict[int, asyncio.Task[None]] = {}
        """What reads the answer to each operation."""
        self._reading = asyncio.Event()
        self._reading.set()

    async def ask(self, op: Invoke) -> None:
        conversation = self._conversation(op.thread)
        given = self._input(op, conversation)
        answer = await self.target.web.begin("POST", "", json=given, headers=self._headers)
        overhear_headers(answer, partial(self.sink.overheard, self.user))
        try:
            if answer.status != 200 or answer.content_type != "text/event-stream":
                await self._refused(op, answer)
        except BaseException:
            answer.close()
            raise
        connection = self.sink.opened(self.user, None, op.op)
        reader = asyncio.ensure_future(self._read(connection, answer, conversation))
        self._streams[op.op] = reader
        reader.add_done_callback(lambda _: self._read_out(op, connection, answer, reader))

    async def _read(self, connection: int, answer: aiohttp.ClientResponse, conversation: Conversation) -> None:
        folding = _Folding(conversation)
        while True:
            await self._reading.wait()
            try:
                piece = await answer.content.readany()
            except (aiohttp.ClientError, OSError):
                return  # cut off: the run has no end
            if not piece:
                return
            self.sink.received(self.user, connection, piece)
            folding.feed(piece)

    def _read_out(
        self, op: Invoke, connection: int, answer: aiohttp.ClientResponse, reader: asyncio.Task[None]
    ) -> None:
        """There is no more of an answer; a reader who was cancelled has ended the connection itself."""
        answer.close()
        del self._streams[op.op]
        record = self.sink.closed(self.user, connection, ours=reader.cancelled())
        if self.on_closed is not None:
            self.on_closed(record, op.op)

    def _input(self, op: Invoke, conversation: Conversation) -> Any:
        conversation.transcript.reset(
            [*conversation.transcript.messages, UserMessage(id=f"message-{op.run}", content=op.text)]
        )
        given = RunAgentInput(
            thread_id=op.thread,
            run_id=op.run,
            protocol_version=self.target.options.protocol_version or msgspec.UNSET,
            messages=conversation.transcript.messages,
        )
        # AG-UI's clients send what is empty, too, and servers before 1.0 require it.
        absent = {"state": {} if conversation.state is None else conversation.state}
        return absent | {"tools": [], "context": [], "forwardedProps": {}} | msgspec.to_builtins(given)

    async def _refused(self, op: Invoke, answer: aiohttp.ClientResponse) -> None:
        """Raises `TargetError`, after telling the sink what the answer was."""
        try:
            body = await answer.content.read(_LARGEST_REFUSAL)
        except (aiohttp.ClientError, OSError) as error:
            raise TargetError(
                "disconnected", f"{answer.status}: {without_parameters(str(error))}", definite=False
            ) from None
        self.sink.answered(self.user, op.op, answer.status, body)
        raise_for_status(answer.status, body)
        kind = answer.headers.get("Content-Type", "nothing")
        raise TargetError(
            "garbage", f"{answer.status} with {kind} instead of text/event-stream: {quoted(body)}", definite=False
        )

    def _conversation(self, thread: str) -> Conversation:
        conversation = self._conversations.pop(thread, None) or Conversation()
        self._conversations[thread] = conversation
        if len(self._conversations) > CONVERSATIONS:
            self._conversations.popitem(last=False)
        return conversation

    def settled(self, op: Invoke, *, ended: bool) -> None:
        stream = self._streams.get(op.op)
        if stream is None:
            return
        if ended:
            asyncio.get_running_loop().call_later(LINGERING, stream.cancel)
        else:
            stream.cancel()

    def drop(self) -> None:
        for stream in self._streams.values():
            stream.cancel()

    def pause(self, *, reading: bool) -> None:
        if reading:
            self._reading.set()
        else:
            self._reading.clear()

    async def close(self) -> None:
        self.drop()
        await asyncio.gather(*self._streams.values(), return_exceptions=True)


class _Folding:
    """One answer, on its way into a conversation. What cannot be read is the judge's business and left out here."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._sse = SseDecoder()

    def feed(self, piece: bytes) -> None:
        """Fold in the events that are complete now."""
        with suppress(FormatError):
            for data in self._sse.feed(piece):
                with suppress(*UNREADABLE):
                    self._conversation.apply(decode_event(data))
