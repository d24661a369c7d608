"""Spells out AG-UI's chunk events: what a chunk says in short, as START, CONTENT and END events.

A chunk names its message or tool call only when it opens one; what follows without an id continues it. Each owner (a
subagent, or None for the agent itself) has one open at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from goldenpath.wire.events import (
    Event,
    ReasoningMessageChunk,
    ReasoningMessageContent,
    ReasoningMessageEnd,
    ReasoningMessageStart,
    TextMessageChunk,
    TextMessageContent,
    TextMessageEnd,
    TextMessageStart,
    ToolCallArgs,
    ToolCallChunk,
    ToolCallEnd,
    ToolCallStart,
)

Chunk = TextMessageChunk | ToolCallChunk | ReasoningMessageChunk
_Kind = Literal["text", "tool", "reasoning"]


class Chunks:
    """What the chunks of one run have open."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[str | None, tuple[_Kind, str]] = {}

    def expand(self, chunk: Chunk) -> Sequence[Event]:
        """The events that `chunk` stands for; none for a chunk that continues nothing, or opens a tool call without
        a name. A chunk's metadata goes to every event it makes except the END of what was open before."""
        if isinstance(chunk, ToolCallChunk):
            return self._expand_call(chunk)
        reasoning = isinstance(chunk, ReasoningMessageChunk)
        owner, message_id, opens = self._find(
            "reasoning" if reasoning else "text", chunk.message_id, chunk.subagent_run_id
        )
        if message_id is None:
            return ()
        expanded: list[Event] = []
        if opens:
            expanded.extend(self._close(owner))
            self._open[owner] = ("reasoning" if reasoning else "text", message_id)
            if isinstance(chunk, TextMessageChunk):
                expanded.append(
                    TextMessageStart(
                        message_id=message_id,
                        role=chunk.role,
                        name=chunk.name,
                        subagent_run_id=owner,
                        metadata=chunk.metadata,
                    )
                )
            else:
                expanded.append(
                    ReasoningMessageStart(message_id=message_id, subagent_run_id=owner, metadata=chunk.metadata)
                )
        if _has_content(chunk, opens):
            content = ReasoningMessageContent if reasoning else TextMessageContent
            expanded.append(
                content(message_id=message_id, delta=chunk.delta or "", subagent_run_id=owner, metadata=chunk.metadata)
            )
        return expanded

    def close(self) -> Sequence[Event]:
        """The END of everything that is open, in the order of opening: at the end of the run."""
        return [event for owner in list(self._open) for event in self._close(owner)]

    def _expand_call(self, chunk: ToolCallChunk) -> Sequence[Event]:
        owner, call_id, opens = self._find("tool", chunk.tool_call_id, chunk.subagent_run_id)
        if call_id is None or (opens and chunk.tool_call_name is None):
            return ()
        expanded: list[Event] = []
        if opens:
            expanded.extend(self._close(owner))
            self._open[owner] = ("tool", call_id)
            expanded.append(
                ToolCallStart(
                    tool_call_id=call_id,
                    tool_call_name=chunk.tool_call_name or "",
                    parent_message_id=chunk.parent_message_id,
                    subagent_run_id=owner,
                    metadata=chunk.metadata,
                )
            )
        if _has_content(chunk, opens):
            expanded.append(
                ToolCallArgs(
                    tool_call_id=call_id, delta=chunk.delta or "", subagent_run_id=owner, metadata=chunk.metadata
                )
            )
        return expanded

    def _find(self, kind: _Kind, entity_id: str | None, owner: str | None) -> tuple[str | None, str | None, bool]:
        """Whose chunk it is, which message or call it belongs to (None: to none), and whether it opens it."""
        if entity_id is not None:
            for holder, held in self._open.items():
                if held == (kind, entity_id):
                    return holder, entity_id, False
            return owner, entity_id, True
        held_by_owner = self._open.get(owner)
        if held_by_owner is not None and held_by_owner[0] == kind:
            return owner, held_by_owner[1], False
        if owner is None:
            # A producer may name the subagent in the first chunk only; that is clear while there is just one.
            candidates = [(holder, held[1]) for holder, held in self._open.items() if held[0] == kind]
            if len(candidates) == 1:
                return *candidates[0], False
        return owner, None, False

    def _close(self, owner: str | None) -> Sequence[Event]:
        match self._open.pop(owner, None):
            case ("text", entity_id):
                return (TextMessageEnd(message_id=entity_id, subagent_run_id=owner),)
            case ("reasoning", entity_id):
                return (ReasoningMessageEnd(message_id=entity_id, subagent_run_id=owner),)
            case ("tool", entity_id):
                return (ToolCallEnd(tool_call_id=entity_id, subagent_run_id=owner),)
        return ()


def _has_content(chunk: Chunk, opens: bool) -> bool:
    # Metadata must ride on something; the START of an opening chunk carries it already.
    return chunk.delta is not None or (chunk.metadata is not None and not opens)
