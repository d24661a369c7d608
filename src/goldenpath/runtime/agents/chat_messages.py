"""A thread's history as the messages of OpenAI's chat completions. Sans-I/O.

Model providers are stricter than a conversation is: each tool call must be followed at once by its result, arguments
must be JSON, roles are few. A thread may hold calls that were cancelled half-way or never answered; they are repaired
here, so that one such call does not make the thread unusable for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from goldenpath.wire.errors import RequestError
from goldenpath.wire.messages import (
    AssistantMessage,
    Context,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
)

NO_RESULT: Final = "(no result: the call was not answered)"
"""What the model is told about a call that has no result in the history."""
AUDIO_FORMATS: Final = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}


def chat_messages(
    messages: Sequence[Message], *, system_prompt: str | None = None, context: Iterable[Context] = ()
) -> list[dict[str, Any]]:
    """`messages` for a chat completions request, the system prompt and the application's context first.

    Activity and reasoning messages are left out, as models do not take them back. Raises `RequestError`
    (`bad_request`) where the last user message has a part that cannot be sent; such parts of older messages are left
    out.
    """
    chat: list[dict[str, Any]] = [{"role": "system", "content": text} for text in _instructions(system_prompt, context)]
    results = {message.tool_call_id: message for message in messages if isinstance(message, ToolMessage)}
    last_user = next((m for m in reversed(messages) if isinstance(m, UserMessage)), None)
    for message in messages:
        match message:
            case SystemMessage() | DeveloperMessage():
                chat.append({"role": "system", "content": message.content})
            case UserMessage():
                chat.append({"role": "user", "content": _user_content(message, strict=message is last_user)})
            case AssistantMessage():
                chat.extend(_assistant(message, results))
    return chat


def _instructions(system_prompt: str | None, context: Iterable[Context]) -> list[str]:
    given = [f"{entry.description}: {entry.value}" for entry in context]
    texts = [system_prompt] if system_prompt else []
    if given:
        texts.append("\n".join(["Context from the application:", *given]))
    return texts


def _assistant(message: AssistantMessage, results: dict[str, ToolMessage]) -> list[dict[str, Any]]:
    if not message.tool_calls:
        return [{"role": "assistant", "content": message.content}] if message.content else []
    calls = [call_message(call.id, call.function.name, call.function.arguments) for call in message.tool_calls]
    chat: list[dict[str, Any]] = [{"role": "assistant", "content": message.content or None, "tool_calls": calls}]
    for call in message.tool_calls:
        result = results.get(call.id)
        chat.append(result_message(call.id, NO_RESULT if result is None else _result_text(result)))
    return chat


def call_message(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """One call inside an assistant message. Arguments that are not JSON, as of a call cut short, become `{}`."""
    try:
        msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        arguments = "{}"
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result_message(call_id: str, content: str) -> dict[str, Any]:
    """The result of one call."""
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _result_text(message: ToolMessage) -> str:
    content = message.content
    if not isinstance(content, str):
        content = "".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content or message.error or ""


def _user_content(message: UserMessage, *, strict: bool) -> str | list[dict[str, Any]]:
    if isinstance(message.content, str):
        return message.content
    parts = []
    for part in message.content:
        converted = _part(part)
        if converted is not None:
            parts.append(converted)
        elif strict:
            raise RequestError("bad_request", f"openai: a part of type {_type_of(part)} cannot be sent to the model")
    return parts


def _type_of(part: dict[str, Any]) -> str:
    source = part.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    return f"{part.get('type')!r}" if kind is None else f"{part.get('type')!r} from a source of type {kind!r}"


def _part(part: dict[str, Any]) -> dict[str, Any] | None:
    """One content part; None for what chat completions do not take."""
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    kind, value, mime, is_data = _media(part)
    if not isinstance(value, str):
        return None
    if kind == "image":
        url = f"data:{mime};base64,{value}" if is_data else value
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "audio" and is_data and mime in AUDIO_FORMATS:
        return {"type": "input_audio", "input_audio": {"data": value, "format": AUDIO_FORMATS[mime]}}
    return None


def _media(part: dict[str, Any]) -> tuple[str, Any, str, bool]:
    """(kind, data or URL, MIME type, whether it is data) of a media part, or of a `binary` part of AG-UI 0.x."""
    if part.get("type") == "binary":
        mime = str(part.get("mimeType"))
        is_data = isinstance(part.get("data"), str)
        return mime.partition("/")[0], part.get("data" if is_data else "url"), mime, is_data
    source = part.get("source")
    if not isinstance(source, dict) or source.get("type") not in ("data", "url"):
        return str(part.get("type")), None, "", False
    return str(part.get("type")), source.get("value"), str(source.get("mimeType")), source["type"] == "data"
