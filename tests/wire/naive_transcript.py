"""The fold of events into messages written down as plainly as possible, on plain JSON: what `Transcript` must equal."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch

from goldenpath.wire import events as ev
from goldenpath.wire.messages import Message

Json = dict[str, Any]


def as_json(message: Message | ev.Event) -> Json:
    value: Json = json.loads(ev.encode(message))
    return value


def fold(history: list[Message], stream: list[ev.Event]) -> list[Json]:
    """The messages after `stream`, each as AG-UI writes it."""
    messages = [as_json(message) for message in history]
    for event in stream:
        messages = _apply(messages, as_json(event))
    return messages


def _find(messages: list[Json], message_id: str) -> Json | None:
    return next((message for message in messages if message["id"] == message_id), None)


def _find_call(messages: list[Json], call_id: str) -> tuple[Json, Json] | None:
    return next(
        ((message, call) for message in messages for call in message.get("toolCalls", ()) if call["id"] == call_id),
        None,
    )


def _merge(target: Json, event: Json) -> None:
    if "metadata" in event:
        target["metadata"] = {**target.get("metadata", {}), **event["metadata"]}


def _owned(message: Json, event: Json) -> Json:
    return message | ({"subagentRunId": event["subagentRunId"]} if "subagentRunId" in event else {})


def _apply(messages: list[Json], event: Json) -> list[Json]:
    kind = event["type"]
    if kind == "RUN_STARTED":
        for message in event["input"]["messages"]:
            if _find(messages, message["id"]) is None:
                messages.append(message)
    elif kind in ("TEXT_MESSAGE_START", "REASONING_MESSAGE_START"):
        role = "reasoning" if kind.startswith("REASONING") else event.get("role", "assistant")
        message = _find(messages, event["messageId"])
        if message is None:
            message = _owned({"id": event["messageId"], "role": role, "content": ""}, event)
            messages.append(message)
        if message["role"] != "activity":
            _merge(message, event)
    elif kind in ("TEXT_MESSAGE_CONTENT", "REASONING_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "REASONING_MESSAGE_END"):
        message = _find(messages, event["messageId"])
        if message is not None and message["role"] != "activity":
            if "delta" in event:
                old = message.get("content")
                message["content"] = (old if isinstance(old, str) else "") + event["delta"]
            _merge(message, event)
    elif kind == "TOOL_CALL_START":
        _start_call(messages, event)
    elif kind in ("TOOL_CALL_ARGS", "TOOL_CALL_END"):
        found = _find_call(messages, event["toolCallId"])
        if found is not None:
            found[1]["function"]["arguments"] += event.get("delta", "")
            _merge(found[1], event)
    elif kind == "TOOL_CALL_RESULT":
        _add_result(messages, event)
    elif kind == "REASONING_ENCRYPTED_VALUE":
        found = _find_call(messages, event["entityId"])
        message = _find(messages, event["entityId"])
        if event["subtype"] == "tool-call":
            if found is not None:
                found[1]["encryptedValue"] = event["encryptedValue"]
        elif message is not None and message["role"] != "activity":
            message["encryptedValue"] = event["encryptedValue"]
    elif kind == "ACTIVITY_SNAPSHOT":
        _snapshot_activity(messages, event)
    elif kind == "ACTIVITY_DELTA":
        message = _find(messages, event["messageId"])
        if message is not None and message["role"] == "activity":
            _merge(message, event)
            try:
                message["content"] = jsonpatch.apply_patch(message["content"], event["patch"])
            except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
                return messages
    elif kind == "MESSAGES_SNAPSHOT":
        return _snapshot(messages, event["messages"])
    return messages


def _start_call(messages: list[Json], event: Json) -> None:
    call_id = event["toolCallId"]
    found = _find_call(messages, call_id)
    if found is not None:
        found[1]["function"]["name"] = event["toolCallName"]
        _merge(found[1], event)
        return
    for message_id in [event.get("parentMessageId"), call_id]:
        if message_id is None:
            continue
        parent = _find(messages, message_id)
        if parent is None:
            parent = _owned({"id": message_id, "role": "assistant"}, event)
            messages.append(parent)
        if parent["role"] == "assistant":
            call: Json = {
                "id": call_id,
                "type": "function",
                "function": {"name": event["toolCallName"], "arguments": ""},
            }
            _merge(call, event)
            parent.setdefault("toolCalls", []).append(call)
            return


def _add_result(messages: list[Json], event: Json) -> None:
    result: Json = _owned(
        {
            "id": event["messageId"],
            "role": "tool",
            "toolCallId": event["toolCallId"],
            "content": event["content"],
        },
        event,
    )
    _merge(result, event)
    known = _find(messages, event["messageId"])
    found = _find_call(messages, event["toolCallId"])
    if known is not None:
        if known["role"] == "tool":
            messages[messages.index(known)] = result
        return
    place = len(messages)
    if found is not None:
        place = messages.index(found[0]) + 1
        while place < len(messages) and messages[place]["role"] == "tool":
            place += 1
    messages.insert(place, result)


def _snapshot_activity(messages: list[Json], event: Json) -> None:
    known = _find(messages, event["messageId"])
    fresh: Json = _owned(
        {
            "id": event["messageId"],
            "role": "activity",
            "activityType": event["activityType"],
            "content": copy.deepcopy(event["content"]),
        },
        event,
    )
    if known is None:
        messages.append(fresh)
        known = fresh
    elif event.get("replace", True):
        if known["role"] == "activity" and "metadata" in known:
            fresh["metadata"] = known["metadata"]
        messages[messages.index(known)] = known = fresh
    if known["role"] == "activity":
        _merge(known, event)


def _snapshot(messages: list[Json], given: list[Json]) -> list[Json]:
    roles = {message["role"] for message in given}
    kept = [
        _find(given, message["id"]) or message
        for message in messages
        if _find(given, message["id"])
        or (message["role"] in ("activity", "reasoning") and message["role"] not in roles)
    ]
    return kept + [message for message in given if _find(kept, message["id"]) is None]
