"""The `openai` agent: a model behind any OpenAI-compatible chat completions endpoint, its answer streamed.

`openai_agent` makes such an agent; docs/agents/openai.md is its manual.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from goldenpath.runtime.agents.chat_messages import call_message, chat_messages, result_message
from goldenpath.runtime.agents.chat_reply import Arguments, Call, Piece, Reply, Text, Thought
from goldenpath.runtime.agents.tools import FunctionTool
from goldenpath.runtime.run import Run
from goldenpath.runtime.spans import TextStream, ToolCallStream
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import is_name, new_id
from goldenpath.wire.messages import AssistantMessage

if TYPE_CHECKING:
    from goldenpath.runtime.agents.chat_endpoint import Connection, Endpoint

MAX_ROUNDS: Final = 8
"""How often the model is asked in one run, unless the agent's maker says otherwise."""
MAX_DELTA: Final = 32_768
"""Characters of one event: what an endpoint sends at once may be larger than an event may be."""

_key = re.compile(r"[!-~]{1,4096}")


def openai_agent(
    *,
    base_url: str | None,
    model: str | None,
    api_key: str | None = None,
    tools: Iterable[Callable[..., Any] | FunctionTool] = (),
    system_prompt: str | None = None,
    max_rounds: int = MAX_ROUNDS,
    idle_timeout: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> Callable[[Run], Awaitable[None]]:
    """An agent that answers by a model behind an OpenAI-compatible endpoint: `app.agent("gpt")(openai_agent(...))`.

    `base_url` is the part before `/chat/completions`, e.g. `https://api.openai.com/v1`. Where it or `model` is None
    every run ends with `not_configured`. `tools` are Python functions that the model may call; the tools that a client
    brings are the client's to answer. `max_rounds` bounds how often the model is asked in one run, `idle_timeout` how
    long it may be silent, in seconds. `options` are added to the request (e.g. `temperature`); None takes a field out.

    Raises ValueError for a URL, a key or bounds that cannot work, TypeError for a function that cannot be a tool. Runs
    share nothing: the agent may run any number of times at once, and cancelling a run closes its HTTP stream at once.
    """
    dependency = ""
    if base_url is not None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url: an http or https URL is needed, such as http://127.0.0.1:11434/v1")
        dependency = f"model:{parts.netloc.rpartition('@')[2]}"
    if api_key is not None and not _key.fullmatch(api_key):
        raise ValueError("api_key: printable ASCII characters without blanks are needed")
    if max_rounds < 1 or not (idle_timeout is None or idle_timeout > 0):
        raise ValueError("max_rounds must be at least 1, idle_timeout above 0")
    own = [tool if isinstance(tool, FunctionTool) else FunctionTool(tool) for tool in tools]
    by_name = {tool.name: tool for tool in own}
    if len(by_name) < len(own):
        raise ValueError("two tools have the same name")
    given = dict(options or {})
    endpoint: Endpoint | None = None

    async def agent(run: Run) -> None:
        nonlocal endpoint
        if base_url is None:
            raise RequestError("not_configured", "openai: no endpoint is set (GOLDENPATH_OPENAI_BASE_URL)")
        if model is None:
            raise RequestError("not_configured", "openai: no model is set (GOLDENPATH_OPENAI_MODEL)")
        if endpoint is None:
            with run.bounded():  # the certificates of a machine may be many
                endpoint = await asyncio.to_thread(_endpoint, base_url, api_key)
        conversation = _Conversation(run, by_name, dependency, model, given, system_prompt)
        async with endpoint.connect() as connection:
            await conversation.hold(connection, max_rounds, idle_timeout)

    agent.__doc__ = f"Answers by the model {model}." if model else "Answers by a model."
    return agent


def _endpoint(base_url: str, api_key: str | None) -> Endpoint:
    from goldenpath.runtime.agents.chat_endpoint import Endpoint  # noqa: PLC0415 - httpx takes long to import

    return Endpoint(base_url, api_key)


class _Conversation:
    """One run: asks the model, shows its answer, carries out its tool calls, and asks again."""

    def __init__(
        self,
        run: Run,
        tools: Mapping[str, FunctionTool],
        dependency: str,
        model: str,
        options: Mapping[str, Any],
        prompt: str | None,
    ) -> None:
        self._run = run
        self._dependency = dependency
        self._model = model
        self._tools = tools
        self._chat = chat_messages(run.messages, system_prompt=prompt, context=run.input.context or ())
        self._call_ids = {
            call.id
            for message in run.messages
            if isinstance(message, AssistantMessage)
            for call in message.tool_calls or ()
        }
        body = {
            "model": model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "tools": self._offered() or None,
            **options,
        }
        self._body = {name: value for name, value in body.items() if value is not None}

    def _offered(self) -> list[dict[str, Any]]:
        """The tools the model may call: the agent's own, then those of the client that are not called like one."""
        offered = [_function(tool.name, tool.description, tool.parameters) for tool in self._tools.values()]
        brought = [tool for tool in self._run.input.tools or () if tool.name not in self._tools]
        return offered + [_function(tool.name, tool.description, tool.parameters) for tool in brought]

    async def hold(self, connection: Connection, max_rounds: int, silence: float | None) -> None:
        for _ in range(max_rounds):
            reply = await self._ask(connection, silence)
            if not reply.calls:
                return
            if not await self._answer(reply):
                return
        raise RequestError("agent_error", f"the model asked for tools more than {max_rounds} times in a row")

    async def _ask(self, connection: Connection, silence: float | None) -> Reply:
        run = self._run
        reply = Reply(self._unique)
        body = {**self._body, "messages": self._chat}
        from goldenpath.runtime.agents.chat_endpoint import Patience  # noqa: PLC0415 - httpx takes long to import

        timeouts = run.timeouts
        patience = Patience(
            run.deadlines, run.limit, timeouts.model_connect, timeouts.model if silence is None else silence
        )
        dependency = run.dependency(self._dependency, what="the model endpoint", model=self._model)
        with run.bounded(), dependency as call:
            async with connection.ask(body, patience) as chunks, _Telling(run) as telling:
                async for chunk in chunks:
                    call.answered()
                    try:
                        pieces = reply.take(chunk)
                    except ValueError as error:
                        raise RequestError("upstream_unavailable", f"the model endpoint sent {error}") from None
                    for piece in pieces:
                        await telling.tell(piece)
            usage = reply.token_usage()
            if usage is not None:
                run.usage(usage)
        return reply

    async def _answer(self, reply: Reply) -> bool:
        """Carry out the calls of the agent's own tools. Whether the model can be asked again: not while a call is the
        client's to answer."""
        run = self._run
        calls = [call_message(call.id, call.name, call.arguments) for call in reply.calls]
        self._chat.append({"role": "assistant", "content": reply.text or None, "tool_calls": calls})
        client_tools = {tool.name for tool in run.input.tools or ()} - self._tools.keys()
        complete = True
        for call in reply.calls:
            if call.name in client_tools:
                run.pending(call.id)
                complete = False
                continue
            tool = self._tools.get(call.name)
            content = f"There is no tool {call.name!r}." if tool is None else await tool.call(run, call.arguments)
            await run.tool_result(call.id, content)
            self._chat.append(result_message(call.id, content))
        return complete

    def _unique(self, given: str | None) -> str:
        """`given`, or an id of our own where it is missing, malformed or taken: some providers count anew each time."""
        identity = given if given and is_name(given) and given not in self._call_ids else new_id("call")
        self._call_ids.add(identity)
        return identity


class _Telling:
    """Says the pieces of one reply. A text or a thought ends where the other, or a call, begins; calls stay open to the
    end of the reply, because their fragments may come mixed."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._writing = AsyncExitStack()
        self._calling = AsyncExitStack()
        self._kind: type[Piece] | None = None
        self._stream: TextStream | None = None
        self._calls: dict[str, ToolCallStream] = {}
        self._message_id: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._writing.aclose()
        await self._calling.aclose()

    async def tell(self, piece: Piece) -> None:
        if type(piece) is not self._kind:
            await self._writing.aclose()
            self._kind = type(piece)
            self._stream = None
        if isinstance(piece, Arguments):
            await self._tell_call(piece.call, piece.delta)
            return
        stream = self._stream
        if stream is None:
            stream = self._stream = await self._writing.enter_async_context(self._begin(piece))
        for delta in _portions(piece.delta):
            await stream.write(delta)

    def _begin(self, piece: Thought | Text) -> AbstractAsyncContextManager[TextStream]:
        if isinstance(piece, Thought):
            return self._run.reasoning()
        message_id = new_id("msg")
        if self._message_id is None:
            self._message_id = message_id
        return self._run.message(message_id=message_id)

    async def _tell_call(self, call: Call, delta: str) -> None:
        stream = self._calls.get(call.id)
        if stream is None:
            # All calls of a reply belong to one message: providers take them back only so.
            if self._message_id is None:
                self._message_id = new_id("msg")
            block = self._run.tool_call(call.name, tool_call_id=call.id, parent_message_id=self._message_id)
            stream = self._calls[call.id] = await self._calling.enter_async_context(block)
        for portion in _portions(delta):
            await stream.args(portion)


def _portions(text: str) -> list[str]:
    return [text[start : start + MAX_DELTA] for start in range(0, len(text), MAX_DELTA)]


def _function(name: str, description: str, parameters: Any) -> dict[str, Any]:
    schema = parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}
