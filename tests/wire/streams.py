"""Hypothesis strategies for AG-UI events that meet each other: ids come from small pools, so that they collide."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from goldenpath.wire import events as ev
from goldenpath.wire.messages import (
    ActivityMessage,
    AssistantMessage,
    FunctionCall,
    Message,
    ReasoningMessage,
    StartedInput,
    ToolCall,
    ToolMessage,
    UserMessage,
)

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
MESSAGE_IDS = st.sampled_from(["m1", "m2", "m3", "c1"])
CALL_IDS = st.sampled_from(["c1", "c2", "m2"])
OWNERS = st.sampled_from([None, None, None, "s1", "s2"])
METADATA = st.one_of(st.none(), st.none(), st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 3), max_size=2))
ROLES = st.sampled_from([None, "assistant", "user", "system", "developer"])
ACTIVITY = st.dictionaries(st.sampled_from(["x", "y"]), st.one_of(st.integers(0, 3), st.lists(st.integers(0, 3))))
PATCHES: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"op": st.sampled_from(["add", "replace"]), "path": st.sampled_from(["/x", "/y", "/y/0"]), "value": TEXTS}
        ),
        st.fixed_dictionaries({"op": st.just("remove"), "path": st.sampled_from(["/x", "/y"])}),
    ),
    max_size=3,
)

MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(UserMessage, id=MESSAGE_IDS, content=st.one_of(TEXTS, st.just([{"type": "text", "text": "hi"}]))),
    st.builds(
        AssistantMessage,
        id=MESSAGE_IDS,
        content=st.one_of(st.none(), TEXTS),
        tool_calls=st.one_of(
            st.none(),
            st.lists(
                st.builds(ToolCall, id=CALL_IDS, function=st.builds(FunctionCall, name=st.just("f"), arguments=TEXTS)),
                max_size=2,
                unique_by=lambda call: call.id,
            ),
        ),
    ),
    st.builds(ToolMessage, id=MESSAGE_IDS, tool_call_id=CALL_IDS, content=TEXTS),
    st.builds(ReasoningMessage, id=MESSAGE_IDS, content=TEXTS),
    st.builds(ActivityMessage, id=MESSAGE_IDS, activity_type=st.just("plan"), content=ACTIVITY),
)
HISTORIES = st.lists(MESSAGES, max_size=3, unique_by=lambda message: message.id)

_common: dict[str, Any] = {"subagent_run_id": OWNERS, "metadata": METADATA}
EVENTS: st.SearchStrategy[ev.Event] = st.one_of(
    st.builds(
        ev.RunStarted,
        thread_id=st.just("t"),
        run_id=st.just("r"),
        input=st.builds(StartedInput, thread_id=st.just("t"), run_id=st.just("r"), messages=HISTORIES),
    ),
    st.builds(ev.TextMessageStart, message_id=MESSAGE_IDS, role=ROLES, **_common),
    st.builds(ev.TextMessageContent, message_id=MESSAGE_IDS, delta=TEXTS, **_common),
    st.builds(ev.TextMessageEnd, message_id=MESSAGE_IDS, **_common),
    st.builds(ev.ToolCallStart, tool_call_id=CALL_IDS, tool_call_name=st.sampled_from(["f", "g"]), **_common),
    st.builds(
        ev.ToolCallStart,
        tool_call_id=CALL_IDS,
        tool_call_name=st.just("f"),
        parent_message_id=MESSAGE_IDS,
        **_common,
    ),
    st.builds(ev.ToolCallArgs, tool_call_id=CALL_IDS, delta=TEXTS, **_common),
    st.builds(ev.ToolCallEnd, tool_call_id=CALL_IDS, **_common),
    st.builds(ev.ToolCallResult, message_id=MESSAGE_IDS, tool_call_id=CALL_IDS, content=TEXTS, **_common),
    st.builds(ev.ReasoningMessageStart, message_id=MESSAGE_IDS, **_common),
    st.builds(ev.ReasoningMessageContent, message_id=MESSAGE_IDS, delta=TEXTS, **_common),
    st.builds(ev.ReasoningMessageEnd, message_id=MESSAGE_IDS, **_common),
    st.builds(
        ev.ReasoningEncryptedValue,
        subtype=st.sampled_from(["message", "tool-call"]),
        entity_id=st.one_of(MESSAGE_IDS, CALL_IDS),
        encrypted_value=TEXTS,
    ),
    st.builds(
        ev.ActivitySnapshot,
        message_id=MESSAGE_IDS,
        activity_type=st.just("plan"),
        content=ACTIVITY,
        replace=st.sampled_from([None, True, False]),
        **_common,
    ),
    st.builds(ev.ActivityDelta, message_id=MESSAGE_IDS, activity_type=st.just("plan"), patch=PATCHES, **_common),
    st.builds(ev.MessagesSnapshot, messages=HISTORIES),
    st.builds(ev.StateSnapshot, snapshot=ACTIVITY),
    st.builds(ev.Custom, name=TEXTS, value=ACTIVITY),
    st.builds(ev.RunFinished, thread_id=st.just("t"), run_id=st.just("r")),
    st.builds(ev.RunError, message=TEXTS),
)
STREAMS = st.lists(EVENTS, max_size=25)
