"""The messages of a thread while they grow: deltas are collected, and joined when somebody looks.

A message that was handed out is never changed: what comes later makes a new one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from io import StringIO
from typing import Any, Final

from msgspec.structs import replace

from goldenpath.wire.events import encode
from goldenpath.wire.json_patch import PatchedDocument
from goldenpath.wire.messages import ActivityMessage, AssistantMessage, FunctionCall, Message, ToolCall

_CLEAN: Final = sys.maxsize


class GrowingText:
    """A text that grows at its end at a constant cost, and is read rarely."""

    __slots__ = ("read", "write")

    def __init__(self, text: str) -> None:
        buffer = StringIO()
        self.read = buffer.getvalue
        self.write = buffer.write
        # Written rather than passed in: a StringIO that starts with a value keeps four bytes a character.
        self.write(text)


class CallSlot:
    """A tool call of one message, with arguments that may still grow."""

    __slots__ = ("arguments", "call", "slot")

    def __init__(self, slot: MessageSlot, call: ToolCall) -> None:
        self.slot = slot
        self.call = call
        self.arguments: GrowingText | None = None

    def settled(self) -> ToolCall:
        """The call with all arguments that have come so far."""
        if self.arguments is not None:
            self.call = replace(
                self.call, function=FunctionCall(name=self.call.function.name, arguments=self.arguments.read())
            )
        return self.call


class MessageSlot:
    """A message's place in the list. `message` is as it was when last built; `stale` says that more came since."""

    __slots__ = ("calls", "content", "document", "index", "message", "size", "stale")

    def __init__(self, message: Message, index: int) -> None:
        self.message = message
        self.index = index
        self.size = len(encode(message))
        self.content: GrowingText | None = None
        self.document: PatchedDocument | None = None
        """The content of an activity while patches change it."""
        self.stale = False
        self.calls: list[CallSlot] = []
        if isinstance(message, AssistantMessage):
            self.calls.extend(CallSlot(self, call) for call in message.tool_calls or ())

    @property
    def is_activity(self) -> bool:
        """Whether its content is data, to which no text can be added."""
        return isinstance(self.message, ActivityMessage)

    def settled(self) -> Message:
        """The message with everything that has come so far."""
        if self.stale:
            self.stale = False
            changes: dict[str, Any] = {}
            if self.content is not None:
                changes["content"] = self.content.read()
            if self.document is not None:
                changes["content"] = self.document.value
                self.document = None  # the next patch makes its own copy: this one is handed out
            if self.calls:
                changes["tool_calls"] = [call.settled() for call in self.calls]
            self.message = replace(self.message, **changes)
        return self.message


class MessageList:
    """Messages in order, found by their ids and by those of their tool calls, with the first changed place.

    `size` is about the bytes of all as JSON. Where an id occurs twice, the first one is found.
    """

    __slots__ = ("by_call", "by_id", "first_changed", "size", "slots")

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self.slots: list[MessageSlot] = []
        self.by_id: dict[str, MessageSlot] = {}
        self.by_call: dict[str, CallSlot] = {}
        self.size = 0
        self.first_changed = _CLEAN
        for message in messages:
            self.append(message)
        self.first_changed = _CLEAN

    @property
    def is_changed(self) -> bool:
        """Whether anything changed since `mark_clean`."""
        return self.first_changed != _CLEAN

    def mark_clean(self) -> None:
        """Nothing has changed any more."""
        self.first_changed = _CLEAN

    def append(self, message: Message) -> MessageSlot:
        return self.insert(len(self.slots), message)

    def insert(self, index: int, message: Message) -> MessageSlot:
        """Put `message` before what is at `index`. Costs as much as there are messages behind it."""
        slot = MessageSlot(message, index)
        self.slots.insert(index, slot)
        for position in range(index + 1, len(self.slots)):
            self.slots[position].index = position
        self.by_id.setdefault(message.id, slot)
        for call in slot.calls:
            self.by_call.setdefault(call.call.id, call)
        self.size += slot.size
        self.first_changed = min(self.first_changed, index)
        return slot

    def put(self, slot: MessageSlot, message: Message) -> MessageSlot:
        """Put `message`, which has the same id and no tool calls, in the place of another."""
        for call in slot.calls:
            self.by_call.pop(call.call.id, None)
        fresh = MessageSlot(message, slot.index)
        self.slots[slot.index] = self.by_id[message.id] = fresh
        self.size += fresh.size - slot.size
        self.first_changed = min(self.first_changed, slot.index)
        return fresh

    def add_call(self, slot: MessageSlot, call: ToolCall) -> CallSlot:
        """Add a tool call to an assistant message."""
        added = self.by_call[call.id] = CallSlot(slot, call)
        slot.calls.append(added)
        self.changed(slot, len(encode(call)))
        return added

    def grown(self, slot: MessageSlot, text: str) -> None:
        """`text` was added somewhere in a message."""
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        slot.stale = True
        slot.size += size
        self.size += size
        if slot.index < self.first_changed:  # min() would double the cost of a delta # noqa: PLR1730
            self.first_changed = slot.index

    def changed(self, slot: MessageSlot, growth: int = 0) -> None:
        """A message changed, and is `growth` bytes longer."""
        slot.stale = True
        slot.size += growth
        self.size += growth
        self.first_changed = min(self.first_changed, slot.index)
