"""Somebody sees or touches what is somebody else's."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from typing import Any

from goldenpath.lab.selftest.connection import Connection, Subscription
from goldenpath.lab.selftest.faults.fault import Faulty, caught_by
from goldenpath.lab.selftest.reference import Purpose, ReferenceServer
from goldenpath.lab.selftest.settings import Settings
from goldenpath.lab.selftest.thread_log import AgUiEvent, Entry, Run, Thread


def _of_another(server: ReferenceServer, user: str, thread_id: str) -> Thread | None:
    """A thread of this name that is another user's."""
    threads = server.threads.values()
    return next((each for each in threads if each.thread_id == thread_id and each.user != user), None)


@caught_by("isolation", "leak")
class SharedContext(ReferenceServer):
    """The agent is one object for all users, and keeps the present question in itself."""

    text = ""

    async def answer(self, run: Run) -> AsyncIterator[str]:
        self.text = run.text
        await asyncio.sleep(self.settings.pace)
        run.text = self.text
        async for delta in super().answer(run):
            yield delta


@caught_by("isolation", "leak")
class LeakingError(Faulty):
    """A run fails, and the error quotes what another user asked."""

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.runs: list[Run] = []

    def append(self, run: Run, event: AgUiEvent) -> None:
        if event["type"] == "RUN_STARTED":
            self.runs.append(run)
        elif event["type"] == "RUN_FINISHED" and self.strikes(8):
            other = self.random.choice([each for each in self.runs if each.thread.user != run.thread.user])
            event = {"type": "RUN_ERROR", "code": "agent_error", "message": f"not {other.text!r}"}
        super().append(run, event)


@caught_by("isolation", "leak")
class LeakingTrace(LeakingError):
    """An event for debugging carries what another user asked, in base64, in small parts."""

    def append(self, run: Run, event: AgUiEvent) -> None:
        if event["type"] == "RUN_STARTED":
            self.runs.append(run)
        elif event["type"] == "RUN_FINISHED" and self.strikes(8):
            other = self.random.choice([each for each in self.runs if each.thread.user != run.thread.user])
            trace = b64encode(other.text.encode()).decode()
            for place in range(0, len(trace), 8):
                Faulty.append(self, run, {"type": "CUSTOM", "name": "trace", "value": trace[place : place + 8]})
        Faulty.append(self, run, event)


@caught_by("isolation", "stray")
class WrongReader(Faulty):
    """An event goes to another user, too."""

    def deliver(self, connection: Connection, subscription: Subscription, entries: Sequence[Entry]) -> Sequence[Entry]:
        others = [
            entry for thread in self.threads.values() if thread.user != connection.user for entry in thread.entries[-1:]
        ]
        if others and self.strikes(100):
            return [*entries, self.random.choice(others)]
        return entries


@caught_by("isolation", "stray")
class WrongThread(Faulty):
    """An event names another thread than its own."""

    def deliver(self, connection: Connection, subscription: Subscription, entries: Sequence[Entry]) -> Sequence[Entry]:
        if self.strikes(100):
            first = entries[0]
            return [Entry(f"{first.thread_id}-copy", first.run_id, first.seq, first.event), *entries[1:]]
        return entries


class Unchecked(Faulty):
    """Whose a thread is does not matter for `purpose`."""

    purpose: Purpose

    def find(self, user: str, thread_id: str, purpose: Purpose) -> Thread | None:
        own = super().find(user, thread_id, purpose)
        if own is not None or purpose != self.purpose:
            return own
        return _of_another(self, user, thread_id)


@caught_by("isolation", "leak", "intruders")
class AttachUnchecked(Unchecked):
    """Everybody may attach to every thread."""

    purpose = "attach"


@caught_by("isolation", "intrusion", "intruders")
class ThreadUnchecked(Unchecked):
    """Everybody may look at every thread."""

    purpose = "read"


@caught_by("isolation", "leak", "intruders")
class HistoryUnchecked(Unchecked):
    """Everybody may read every history."""

    purpose = "history"


@caught_by("isolation", "intrusion", "intruders")
class CancelUnchecked(Unchecked):
    """Everybody may cancel every run."""

    purpose = "cancel"


@caught_by("isolation", "intrusion", "intruders")
class CancelCommandUnchecked(Faulty):
    """Everybody may cancel every run over the WebSocket, and nobody over HTTP."""

    def cancel_command(self, connection: Connection, command: dict[str, Any]) -> dict[str, Any]:
        if _of_another(self, connection.user, command["thread_id"]) is not None:
            return {"cancelled": [command["run_id"]]}
        return super().cancel_command(connection, command)


@caught_by("isolation", "intrusion", "intruders")
class RefreshUnchecked(Faulty):
    """A connection goes on with the token of another user."""

    def _operations(self) -> dict[str, Any]:
        return {**super()._operations(), "refresh": lambda *_: {"expires_in": self.settings.token_seconds}}


@caught_by("isolation", "intrusion", "intruders")
class DeleteUnchecked(Unchecked):
    """Everybody may delete every thread."""

    purpose = "delete"


@caught_by("isolation", "leak", "intruders")
class ListUnfiltered(Faulty):
    """The list of threads holds those of all users."""

    def listed(self, user: str) -> list[Thread]:
        return list(self.threads.values()) if self.strikes(4) else super().listed(user)


@caught_by("isolation", "leak")
class HistoryOfAnother(Faulty):
    """A history is looked up by the thread's name alone, which two users may have given."""

    def history(self, thread: Thread) -> dict[str, Any]:
        if self.strikes(4):
            thread = _of_another(self, thread.user, thread.thread_id) or thread
        return super().history(thread)


class Welcoming(ReferenceServer):
    """Lets in who has no right to come in, as whoever came first."""

    def anybody(self) -> tuple[str, float] | None:
        """Whoever came first, and until when; None: nobody has yet."""
        return next(iter(self._tokens.values()), None)


@caught_by("access", "trespass", "intruders")
class NoTokenNeeded(Welcoming):
    """Who comes without a token is let in."""

    def who(self, token: str) -> tuple[str, float] | None:
        return super().who(token) if token else self.anybody()


@caught_by("access", "trespass", "intruders")
class AnyTokenWill(Welcoming):
    """A token is not looked at."""

    def who(self, token: str) -> tuple[str, float] | None:
        return super().who(token) or (self.anybody() if token else None)


@caught_by("access", "expired", "expiry")
class TokenForever(ReferenceServer):
    """A token that has expired is good for everything still."""

    def who(self, token: str) -> tuple[str, float] | None:
        found = self._tokens.get(token)
        return None if found is None else (found[0], found[1] + 3_600)
