"""The order that AG-UI asks of one run's events, as a table of what is open. Sans-I/O.

`RunOrder` follows a run: it refuses an event that has no place yet, and knows which events close what is still open, so
that every run ends well whatever its agent did. The rules are those the official client verifies: content and end need
their start, nothing opens twice, and RUN_FINISHED comes only when nothing is open.
"""

from __future__ import annotations

from typing import Final

from goldenpath.wire import events as ev
from goldenpath.wire.errors import GoldenpathError

Place = tuple[str, str]
"""Something open: what it is ("message", "tool call", "step", ...) and its id."""


class OrderError(GoldenpathError, ValueError):
    """An event that has no place here; the message says why. Nothing changed."""


_OPENS: Final[dict[type, tuple[str, str]]] = {
    ev.TextMessageStart: ("message", "message_id"),
    ev.ToolCallStart: ("tool call", "tool_call_id"),
    ev.ReasoningStart: ("reasoning", "message_id"),
    ev.ReasoningMessageStart: ("reasoning message", "message_id"),
    ev.StepStarted: ("step", "step_name"),
    ev.SubagentStarted: ("subagent", "subagent_run_id"),
}
_CONTINUES: Final[dict[type, tuple[str, str]]] = {
    ev.TextMessageContent: ("message", "message_id"),
    ev.ToolCallArgs: ("tool call", "tool_call_id"),
    ev.ReasoningMessageContent: ("reasoning message", "message_id"),
}
_CLOSES: Final[dict[type, tuple[str, str]]] = {
    ev.TextMessageEnd: ("message", "message_id"),
    ev.ToolCallEnd: ("tool call", "tool_call_id"),
    ev.ReasoningMessageEnd: ("reasoning message", "message_id"),
    ev.ReasoningEnd: ("reasoning", "message_id"),
    ev.StepFinished: ("step", "step_name"),
    ev.SubagentFinished: ("subagent", "subagent_run_id"),
    ev.SubagentError: ("subagent", "subagent_run_id"),
}
_RUN_EVENTS: Final = (ev.RunStarted, ev.RunFinished, ev.RunError)


class RunOrder:
    """What is open in one run."""

    __slots__ = ("places",)

    def __init__(self) -> None:
        self.places: dict[Place, None] = {}
        """What is open, in the order of opening. To read only."""

    def check(self, event: ev.Event) -> None:
        """Take the next event of the run. Raises `OrderError`, and changes nothing, where it has no place."""
        kind = type(event)
        if kind in _CONTINUES:
            what, field = _CONTINUES[kind]
            if (what, getattr(event, field)) not in self.places:
                raise OrderError(f"{_name(event)}: no {what} {getattr(event, field)!r} is open")
        elif kind in _OPENS:
            what, field = _OPENS[kind]
            key = (what, getattr(event, field))
            if key in self.places:
                raise OrderError(f"{_name(event)}: {what} {key[1]!r} is open already")
            self.places[key] = None
        elif kind in _CLOSES:
            what, field = _CLOSES[kind]
            key = (what, getattr(event, field))
            if key not in self.places:
                raise OrderError(f"{_name(event)}: no {what} {key[1]!r} is open")
            del self.places[key]
        elif isinstance(event, _RUN_EVENTS):
            raise OrderError(f"{_name(event)} is the server's to send")

    def closing(self) -> list[ev.Event]:
        """The events that close what is open, the last opened first. Nothing is open afterwards."""
        events: list[ev.Event] = []
        for what, key in reversed(self.places):
            events.append(_closing_event(what, key))
        self.places.clear()
        return events


def _closing_event(what: str, key: str) -> ev.Event:
    match what:
        case "message":
            return ev.TextMessageEnd(key)
        case "tool call":
            return ev.ToolCallEnd(key)
        case "reasoning message":
            return ev.ReasoningMessageEnd(key)
        case "reasoning":
            return ev.ReasoningEnd(key)
        case "step":
            return ev.StepFinished(key)
        case _:
            return ev.SubagentError(subagent_run_id=key, message="the run ended")


def _name(event: ev.Event) -> str:
    tag = event.__struct_config__.tag
    return str(tag)
