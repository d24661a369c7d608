"""Sessions that were ended while access tokens of theirs may still be unexpired."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from goldenpath.wire.ids import SessionId

_logger = structlog.get_logger("goldenpath.auth")

Listener = Callable[[SessionId], None]


class Revocations:
    """The set of ended sessions, each kept for `lifetime` seconds: the longest that a token of it can live.

    `now` and `revoked_at` are in Unix seconds. Belongs to the event loop.
    """

    def __init__(self, lifetime: float) -> None:
        self._lifetime = lifetime
        self._until: dict[SessionId, float] = {}
        self._listeners: dict[object, Listener] = {}

    def __contains__(self, session_id: SessionId) -> bool:
        return session_id in self._until

    def __len__(self) -> int:
        return len(self._until)

    def restore(self, session_id: SessionId, revoked_at: float) -> None:
        """Remember a session that was ended before the start; nobody is told."""
        self._until[session_id] = revoked_at + self._lifetime

    def add(self, session_id: SessionId, now: float) -> None:
        """End a session and tell every listener, once. A listener that raises does not keep the others from it."""
        self._purge(now)
        if session_id in self._until:
            return
        self._until[session_id] = now + self._lifetime
        for listener in list(self._listeners.values()):
            try:
                listener(session_id)
            except Exception:
                _logger.exception("revocation_listener_failed", session_id=session_id)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each session that ends from now on. Returns a function that ends the subscription."""
        key = object()
        self._listeners[key] = listener

        def unsubscribe() -> None:
            self._listeners.pop(key, None)

        return unsubscribe

    def _purge(self, now: float) -> None:
        while self._until:
            session_id, until = next(iter(self._until.items()))
            if until > now:
                break
            del self._until[session_id]
