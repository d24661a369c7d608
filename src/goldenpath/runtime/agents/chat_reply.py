"""One answer of a model, put together from the chunks of a chat completions stream. Sans-I/O.

OpenAI-compatible endpoints agree on the frame and differ in the details: where reasoning is, whether a tool call comes
in fragments or whole, whether calls are numbered. What is known of them is understood here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

MAX_COUNT: Final = 2**53 - 1
"""AG-UI's bound of a token count: what JavaScript counts exactly."""


class _FunctionDelta(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class _CallDelta(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _FunctionDelta | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning: Any = None
    reasoning_content: Any = None
    tool_calls: list[_CallDelta] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    """One chunk of the stream. Unknown fields are ignored; wrong types of known ones are an error."""

    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    model: str | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(Chunk)

decode_chunk = _decoder.decode
"""A chunk from JSON. Raises `msgspec.DecodeError`, or `msgspec.ValidationError` (its child)."""


class Thought(msgspec.Struct, frozen=True):
    """More of the model's reasoning."""

    delta: str


class Text(msgspec.Struct, frozen=True):
    """More of the model's answer."""

    delta: str


class Call(msgspec.Struct):
    """A tool call. `id` is unique in the thread, which a provider's own id may not be."""

    id: str
    name: str
    fragments: list[str] = []

    @property
    def arguments(self) -> str:
        """The arguments so far, as JSON text once they are complete."""
        return "".join(self.fragments)


class Arguments(msgspec.Struct, frozen=True):
    """More of a call's arguments; empty for a call that has just begun."""

    call: Call
    delta: str


Piece = Thought | Text | Arguments


class Reply:
    """Takes chunks, gives what is new in each. `unique` makes a provider's call id unique in the thread."""

    def __init__(self, unique: Callable[[str | None], str]) -> None:
        self.calls: list[Call] = []
        self.finish_reason: str | None = None
        self.model: str | None = None
        self.usage: dict[str, Any] | None = None
        self._texts: list[str] = []
        self._unique = unique
        self._open: dict[int, tuple[str | None, Call]] = {}

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._texts)

    def take(self, chunk: Chunk) -> list[Piece]:
        """What `chunk` adds, in order. Raises ValueError for a chunk that makes no sense here."""
        self.model = chunk.model or self.model
        self.usage = chunk.usage or self.usage
        pieces: list[Piece] = []
        for choice in (chunk.choices or [])[:1]:
            self.finish_reason = choice.finish_reason or self.finish_reason
            if choice.delta is not None:
                self._take_delta(choice.delta, pieces)
        return pieces

    def _take_delta(self, delta: _Delta, pieces: list[Piece]) -> None:
        thought = delta.reasoning_content or delta.reasoning
        if isinstance(thought, str) and thought:
            pieces.append(Thought(thought))
        for text in (delta.content, delta.refusal):
            if text:
                self._texts.append(text)
                pieces.append(Text(text))
        for position, fragment in enumerate(delta.tool_calls or ()):
            pieces.append(self._take_call(fragment, position))

    def _take_call(self, fragment: _CallDelta, position: int) -> Arguments:
        index = position if fragment.index is None else fragment.index
        function = fragment.function or _FunctionDelta()
        begun = self._open.get(index)
        # Some endpoints send whole calls that all have the index 0, told apart by their ids.
        if begun is None or (fragment.id and begun[0] and fragment.id != begun[0]):
            if not function.name:
                raise ValueError("a tool call without a name")
            call = Call(self._unique(fragment.id), function.name)
            self.calls.append(call)
            self._open[index] = (fragment.id, call)
        else:
            call = begun[1]
        arguments = function.arguments
        if arguments is None:
            arguments = ""
        elif not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        call.fragments.append(arguments)
        return Arguments(call, arguments)

    def token_usage(self) -> dict[str, Any] | None:
        """The token counts as AG-UI has them; None where the endpoint gave none."""
        given = self.usage or {}
        prompt = given.get("prompt_tokens_details") or {}
        completion = given.get("completion_tokens_details") or {}
        counts = {
            "inputTokens": given.get("prompt_tokens"),
            "outputTokens": given.get("completion_tokens"),
            "totalTokens": given.get("total_tokens"),
            "cachedInputTokens": prompt.get("cached_tokens") if isinstance(prompt, dict) else None,
            "reasoningTokens": completion.get("reasoning_tokens") if isinstance(completion, dict) else None,
        }
        known = {name: count for name, count in counts.items() if type(count) is int and 0 <= count <= MAX_COUNT}
        if not known:
            return None
        return {"model": self.model, **known} if self.model else known
