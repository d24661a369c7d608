"""Folds AG-UI events into the messages they build, the way AG-UI's own client does.

A `Transcript` is what a thread's history is made of: the server keeps one per active thread, a client one per thread
it shows. Events that AG-UI's client ignores (text for a message that never started, say) are ignored here too, so that
what a user saw and what the history holds agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, KeysView
from typing import Any, ClassVar

from msgspec.structs import replace

from goldenpath.wire import events as ev
from goldenpath.wire.chunks import Chunk, Chunks
from goldenpath.wire.json_patch import MAX_DOCUMENT_BYTES, PatchedDocument, PatchError, PatchTooLargeError
from goldenpath.wire.message_list import CallSlot, GrowingText, MessageList, MessageSlot
from goldenpath.wire.messages import (
    ActivityMessage,
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    Message,
    ReasoningMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)


class Transcript:
    """The messages of one thread, up to the last event applied.

    `messages` is what was there before, oldest first; the transcript starts clean with them. Applying a delta costs
    the same however long the text is. Patches make the content of an activity no larger than `max_document_bytes`: one
    that would is left out. Not safe to use from several threads at once.
    """

    def __init__(self, messages: Iterable[Message] = (), *, max_document_bytes: int = MAX_DOCUMENT_BYTES) -> None:
        self._max_document_bytes = max_document_bytes
        self.refused_patches = 0
        """How many patches of activities were left out because they asked for too much."""
        self._list = MessageList(messages)
        self._chunks = Chunks()

    @property
    def messages(self) -> list[Message]:
        """All messages, an open one with its text so far. The list is the caller's; no later event changes the
        messages in it."""
        return self.tail(0)

    def tail(self, start: int) -> list[Message]:
        """The messages from index `start` on, as `messages` gives them: `tail(dirty_from)` is what to write."""
        # A call for each would be most of what the start of a run costs in a long conversation.
        return [slot.settled() if slot.stale else slot.message for slot in self._list.slots[start:]]

    @property
    def ids(self) -> KeysView[str]:
        """The ids of all messages, a live view; `in` takes constant time."""
        return self._list.by_id.keys()

    def __len__(self) -> int:
        return len(self._list.slots)

    @property
    def size_bytes(self) -> int:
        """About the size of all messages as JSON (escapes inside streamed text are not counted)."""
        return self._list.size

    @property
    def is_dirty(self) -> bool:
        """Whether any message was added, changed or removed since `mark_clean`."""
        return self._list.is_changed

    @property
    def dirty_from(self) -> int:
        """The index of the first message that was added or changed since `mark_clean`; those before it are as they
        were. It is the number of messages when there is none, also when only the last ones were removed: see
        `is_dirty`."""
        return min(self._list.first_changed, len(self))

    def mark_clean(self) -> None:
        """Take the present state as the written one."""
        self._list.mark_clean()

    def reset(self, messages: Iterable[Message] = ()) -> None:
        """Start again, clean, from `messages`: for a reader who learned that the log is another one now."""
        self._list = MessageList(messages)
        self._chunks = Chunks()

    def apply(self, event: ev.Event) -> None:
        """Fold one event in. The values inside the event are kept: do not change them afterwards."""
        handler = self._HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    # --- text and reasoning ---------------------------------------------------------------------------------------

    def _text_start(self, event: ev.TextMessageStart | ev.ReasoningMessageStart) -> None:
        slot = self._list.by_id.get(event.message_id)
        if slot is None:
            slot = self._list.append(_opened(event))
        if not slot.is_activity:
            self._merge_metadata(slot, event)

    def _text_content(self, event: ev.TextMessageContent | ev.ReasoningMessageContent) -> None:
        slot = self._list.by_id.get(event.message_id)
        if slot is None:
            return
        if slot.content is None:
            if slot.is_activity:
                return
            content = slot.message.content
            slot.content = GrowingText(content if isinstance(content, str) else "")
        slot.content.write(event.delta)
        self._list.grown(slot, event.delta)
        if event.metadata is not None:
            self._merge_metadata(slot, event)

    def _text_end(self, event: ev.TextMessageEnd | ev.ReasoningMessageEnd) -> None:
        slot = self._list.by_id.get(event.message_id)
        if slot is not None and not slot.is_activity:
            slot.settled()
            slot.content = None
            self._merge_metadata(slot, event)

    # --- tool calls -----------------------------------------------------------------------------------------------

    def _call_start(self, event: ev.ToolCallStart) -> None:
        call = self._list.by_call.get(event.tool_call_id)
        if call is not None:  # a start that is repeated
            function = call.settled().function
            if function.name != event.tool_call_name:
                renamed = FunctionCall(name=event.tool_call_name, arguments=function.arguments)
                call.call = replace(call.call, function=renamed)
                self._list.changed(call.slot)
        else:
            slot = self._caller(event)
            if slot is None:
                return
            function = FunctionCall(name=event.tool_call_name, arguments="")
            call = self._list.add_call(slot, ToolCall(id=event.tool_call_id, function=function))
        self._merge_call_metadata(call, event)

    def _caller(self, event: ev.ToolCallStart) -> MessageSlot | None:
        """The assistant message that a new tool call belongs to: its parent, else one with the call's own id. None
        when messages of other roles have both ids."""
        for message_id in (event.parent_message_id, event.tool_call_id):
            if message_id:
                slot = self._list.by_id.get(message_id)
                if slot is None:
                    return self._list.append(
                        AssistantMessage(id=message_id, tool_calls=[], subagent_run_id=event.subagent_run_id)
                    )
                if isinstance(slot.message, AssistantMessage):
                    return slot
        return None

    def _call_args(self, event: ev.ToolCallArgs) -> None:
        call = self._list.by_call.get(event.tool_call_id)
        if call is None:
            return
        if call.arguments is None:
            call.arguments = GrowingText(call.call.function.arguments)
        call.arguments.write(event.delta)
        self._list.grown(call.slot, event.delta)
        if event.metadata is not None:
            self._merge_call_metadata(call, event)

    def _call_end(self, event: ev.ToolCallEnd) -> None:
        call = self._list.by_call.get(event.tool_call_id)
        if call is not None:
            call.settled()
            call.arguments = None
            self._merge_call_metadata(call, event)

    def _call_result(self, event: ev.ToolCallResult) -> None:
        message = ToolMessage(
            id=event.message_id,
            tool_call_id=event.tool_call_id,
            content=event.content,
            subagent_run_id=event.subagent_run_id,
            metadata=event.metadata,
        )
        slots = self._list.slots
        known = self._list.by_id.get(event.message_id)
        call = self._list.by_call.get(event.tool_call_id)
        if known is not None:
            if isinstance(known.message, ToolMessage):  # a result that is repeated
                self._list.put(known, message)
        elif call is None:
            self._list.append(message)
        else:
            # Right after the message that called, behind the results it has: model providers refuse any other order.
            index = call.slot.index + 1
            while index < len(slots) and isinstance(slots[index].message, ToolMessage):
                index += 1
            self._list.insert(index, message)

    # --- everything else ------------------------------------------------------------------------------------------

    def _chunk(self, event: Chunk) -> None:
        for expanded in self._chunks.expand(event):
            self.apply(expanded)

    def _activity_snapshot(self, event: ev.ActivitySnapshot) -> None:
        slot = self._list.by_id.get(event.message_id)
        fresh = ActivityMessage(
            id=event.message_id,
            activity_type=event.activity_type,
            content=event.content,
            subagent_run_id=event.subagent_run_id,
            metadata=slot.message.metadata if slot is not None and slot.is_activity else None,
        )
        if slot is None:
            slot = self._list.append(fresh)
        elif event.replace is not False:
            slot = self._list.put(slot, fresh)
        if slot.is_activity:
            self._merge_metadata(slot, event)

    def _activity_delta(self, event: ev.ActivityDelta) -> None:
        slot = self._list.by_id.get(event.message_id)
        if slot is None or not isinstance(slot.message, ActivityMessage):
            return
        self._merge_metadata(slot, event)
        try:
            if slot.document is None:
                slot.document = PatchedDocument(slot.message.content, self._max_document_bytes)
            size = slot.document.size
            slot.document.apply(event.patch, to_object=True)
        except PatchError as error:
            self.refused_patches += isinstance(error, PatchTooLargeError)
            return
        if slot.message.activity_type != event.activity_type:
            slot.message = replace(slot.message, activity_type=event.activity_type)
        self._list.changed(slot, slot.document.size - size)

    def _encrypted_value(self, event: ev.ReasoningEncryptedValue) -> None:
        if event.subtype == "tool-call":
            call = self._list.by_call.get(event.entity_id)
            if call is not None:
                call.call = replace(call.call, encrypted_value=event.encrypted_value)
                self._list.grown(call.slot, event.encrypted_value)
            return
        slot = self._list.by_id.get(event.entity_id)
        if slot is not None and not isinstance(slot.message, ActivityMessage):
            slot.message = replace(slot.message, encrypted_value=event.encrypted_value)
            self._list.grown(slot, event.encrypted_value)

    def _run_started(self, event: ev.RunStarted) -> None:
        for message in event.input.messages if event.input is not None else ():
            if message.id not in self._list.by_id:
                self._list.append(message)

    def _run_ended(self, _: ev.RunFinished | ev.RunError) -> None:
        for expanded in self._chunks.close():
            self.apply(expanded)

    def _messages_snapshot(self, event: ev.MessagesSnapshot) -> None:
        """Replaces the list. As in AG-UI's client, messages that stay keep their places, and activity and reasoning
        messages stay where the snapshot holds none of their kind: most agents leave them out of their snapshots."""
        given = {message.id: message for message in event.messages}
        kinds = {type(message) for message in given.values()}
        old = self.messages
        new = [
            given.pop(message.id, message)
            for message in old
            if message.id in given
            or (isinstance(message, ActivityMessage | ReasoningMessage) and type(message) not in kinds)
        ]
        new.extend(given.values())
        same = 0
        while same < min(len(old), len(new)) and old[same] == new[same]:
            same += 1
        first_changed = self._list.first_changed
        self._list = MessageList(new)
        self._list.first_changed = first_changed if same == len(old) == len(new) else min(first_changed, same)

    def _merge_metadata(self, slot: MessageSlot, event: Any) -> None:
        if event.metadata is not None:
            slot.message = replace(slot.message, metadata={**(slot.message.metadata or {}), **event.metadata})
            self._list.changed(slot)

    def _merge_call_metadata(self, call: CallSlot, event: Any) -> None:
        if event.metadata is not None:
            call.call = replace(call.call, metadata={**(call.call.metadata or {}), **event.metadata})
            self._list.changed(call.slot)

    _HANDLERS: ClassVar[dict[type, Callable[[Transcript, Any], None]]] = {
        ev.RunStarted: _run_started,
        ev.RunFinished: _run_ended,
        ev.RunError: _run_ended,
        ev.TextMessageStart: _text_start,
        ev.TextMessageContent: _text_content,
        ev.TextMessageEnd: _text_end,
        ev.TextMessageChunk: _chunk,
        ev.ReasoningMessageStart: _text_start,
        ev.ReasoningMessageContent: _text_content,
        ev.ReasoningMessageEnd: _text_end,
        ev.ReasoningMessageChunk: _chunk,
        ev.ReasoningEncryptedValue: _encrypted_value,
        ev.ToolCallStart: _call_start,
        ev.ToolCallArgs: _call_args,
        ev.ToolCallEnd: _call_end,
        ev.ToolCallChunk: _chunk,
        ev.ToolCallResult: _call_result,
        ev.ActivitySnapshot: _activity_snapshot,
        ev.ActivityDelta: _activity_delta,
        ev.MessagesSnapshot: _messages_snapshot,
    }


def _opened(event: ev.TextMessageStart | ev.ReasoningMessageStart) -> Message:
    """The empty message that a START event begins."""
    owner = event.subagent_run_id
    if isinstance(event, ev.ReasoningMessageStart):
        return ReasoningMessage(id=event.message_id, content="", subagent_run_id=owner)
    kinds: dict[str, type[DeveloperMessage | SystemMessage | UserMessage | AssistantMessage]] = {
        "developer": DeveloperMessage,
        "system": SystemMessage,
        "user": UserMessage,
    }
    kind = kinds.get(event.role or "assistant", AssistantMessage)
    return kind(id=event.message_id, content="", name=event.name, subagent_run_id=owner)
