"""What can be read later is not what was said."""

from __future__ import annotations

from typing import Any

from goldenpath.lab.selftest.faults.fault import Faulty, caught_by
from goldenpath.lab.selftest.thread_log import Thread


class _Telling(Faulty):
    """Wrong in a history, now and then."""

    def history(self, thread: Thread) -> dict[str, Any]:
        history = super().history(thread)
        return {**history, "messages": self.told(list(history["messages"]))} if self.strikes(3) else history

    def told(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        """What is told instead."""
        raise NotImplementedError


@caught_by("history", "missing")
class HistoryLags(_Telling):
    """A history does not have the last answer yet though its run has finished."""

    def told(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        return messages[:-1]


@caught_by("history", "missing")
class LostAnswer(_Telling):
    """An answer is missing from the middle of a history."""

    def told(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        del messages[1]
        return messages


@caught_by("history", "missing")
class LostQuestion(_Telling):
    """A question is missing from a history."""

    def told(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        return messages[1:]


@caught_by("history", "missing")
class CutAnswer(_Telling):
    """Long messages are cut off in a history."""

    def told(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**message, "content": message["content"][:100]} for message in messages]


@caught_by("history", "reordered")
class ShuffledHistory(_Telling):
    """A history is in the wrong order."""

    def told(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        return messages[2:] + messages[:2]


@caught_by("history", "duplicate")
class RepeatedMessage(_Telling):
    """A history has a message twice."""

    def told(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        return [*messages, messages[-1]]


@caught_by("history", "invented")
class InventedMessage(_Telling):
    """A history has a message that nobody has said."""

    def told(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        return [*messages, {"id": "summary", "role": "assistant", "content": "as discussed before"}]


@caught_by("history", "unlisted", "intruders")
class ThreadsUnlisted(Faulty):
    """The list of threads is empty now and then."""

    def listed(self, user: str) -> list[Thread]:
        return [] if self.strikes(4) else super().listed(user)
