"""What a run's patches change: the shared state, and the activities of its thread.

The log keeps patches, not what they make. A run that may say any patch could make everybody who folds them, here and in
every client, make gigabytes from a few bytes; so each is tried before anybody sees it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from goldenpath.wire import events as ev
from goldenpath.wire.json_patch import PatchedDocument, PatchError, PatchTooLargeError
from goldenpath.wire.messages import ActivityMessage, Message


class Documents:
    """The documents of one run, each no larger than `max_bytes` as JSON. Not safe to use from several threads at once.

    A document is read only once a patch wants it: until then there is but the event that holds it.
    """

    def __init__(self, state: Any, history: Iterable[Message], max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._state: Any = state
        self._activities: dict[str, Any] = {}
        self._take_messages(history)

    def take(self, event: ev.Event, data: bytes) -> int:
        """Take in an event that the run is about to say, with its JSON. Returns how much work its patch is for whoever
        folds it, in bytes that are read or written; raises `PatchTooLargeError`, and changes nothing, where it asks for
        too much. A patch that does not fit is none: AG-UI's clients leave it out, too."""
        match event:
            case ev.StateSnapshot():
                self._state = _Said(data)
            case ev.StateDelta():
                self._state = self._opened(self._state)
                return _patched(self._state, event.delta)
            case ev.ActivitySnapshot():
                if event.replace is not False or event.message_id not in self._activities:
                    self._activities[event.message_id] = _Said(data)
            case ev.ActivityDelta() if event.message_id in self._activities:
                content = self._activities[event.message_id] = self._opened(self._activities[event.message_id])
                return _patched(content, event.patch, to_object=True)
            case ev.MessagesSnapshot():
                said = ev.decode_event(data)
                assert isinstance(said, ev.MessagesSnapshot)
                self._take_messages(said.messages)
        return 0

    def _take_messages(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if isinstance(message, ActivityMessage):
                self._activities[message.id] = message.content

    def _opened(self, document: Any) -> PatchedDocument:
        if isinstance(document, PatchedDocument):
            return document
        return PatchedDocument(document.read() if isinstance(document, _Said) else document, self._max_bytes)


class _Said:
    """A document inside the event that said it."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> Any:
        event = ev.decode_event(self._data)
        if isinstance(event, ev.StateSnapshot):
            return event.snapshot
        assert isinstance(event, ev.ActivitySnapshot)
        return event.content


def _patched(document: PatchedDocument, patch: list[dict[str, Any]], *, to_object: bool = False) -> int:
    before = document.work
    try:
        document.apply(patch, to_object=to_object)
    except PatchTooLargeError:
        raise
    except PatchError:
        pass
    return document.work - before
