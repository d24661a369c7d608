"""Refresh tokens: one for each generation of a session, each good for one use. Sans-I/O.

A session is at a generation. Refreshing with the token of the current generation moves it to the next. The token of
an earlier generation has been used: within five seconds of that first use it is taken for a second tab or a repeated
request, and gets the very tokens that the first use got; later it is taken for stolen, and the session ends.

A refresh token is an HMAC of session and generation, so nothing is stored but the generation and when it began. That
suffices for the last rotation; `RecentRotations` remembers the ones before it for the five seconds that matter.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Final, Literal

import msgspec

from goldenpath.runtime.interfaces import SessionRow
from goldenpath.wire.ids import SessionId

GRACE: Final = 5.0
"""For how many seconds after its first use a refresh token gets the same answer again."""

MAX_LENGTH: Final = 256


class RefreshTokens:
    """Writes and reads refresh tokens: `SESSION.GENERATION.MAC`. Safe to share between threads."""

    def __init__(self, secret: bytes) -> None:
        # A key of its own, so that no signature made for another purpose passes for a refresh token.
        self._key = hmac.digest(secret, b"goldenpath refresh token", hashlib.sha256)

    def issue(self, session_id: SessionId, generation: int) -> str:
        """The token of one generation of a session; the same arguments give the same bytes."""
        name = f"{session_id}.{generation}"
        mac = hmac.digest(self._key, name.encode(), hashlib.sha256)
        return f"{name}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    def read(self, token: str) -> tuple[SessionId, int] | None:
        """The session and generation of a genuine token, else None."""
        if len(token) > MAX_LENGTH or not token.isascii():
            return None
        session_id, dot, rest = token.partition(".")
        number, _, _ = rest.partition(".")
        if not dot or not number.isdigit() or len(number) > 12:
            return None
        generation = int(number)
        if not hmac.compare_digest(self.issue(SessionId(session_id), generation), token):
            return None
        return SessionId(session_id), generation


class RecentRotations:
    """When generations of sessions began, for `GRACE` seconds. Bounded; belongs to the event loop."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._times: dict[tuple[SessionId, int], float] = {}

    def __len__(self) -> int:
        return len(self._times)

    def add(self, session_id: SessionId, generation: int, now: float) -> None:
        """Remember that `generation` began at `now`."""
        while self._times:
            oldest, time = next(iter(self._times.items()))
            if now - time <= GRACE and len(self._times) < self._capacity:
                break
            del self._times[oldest]
        self._times[session_id, generation] = now

    def began(self, session_id: SessionId, generation: int) -> float | None:
        """When a generation began; None when that is too long ago."""
        return self._times.get((session_id, generation))


class Verdict(msgspec.Struct, frozen=True):
    """What to do with a refresh token, and the generation whose tokens to hand out with the moment it began.

    `rotate`: begin that generation now. `repeat`: it began before. `revoke`: end the session. `refuse`: do nothing.
    """

    action: Literal["rotate", "repeat", "revoke", "refuse"]
    generation: int = 0
    began: float = 0.0


def decide(session: SessionRow | None, generation: int, now: float, recent: RecentRotations) -> Verdict:
    """What a genuine refresh token of `generation` gets at `now`, its session being as stored."""
    if session is None or session.revoked_at is not None or not now < session.expires_at:
        return Verdict("refuse")
    if generation > session.generation:  # the store was put back to an earlier state
        return Verdict("refuse")
    following = generation + 1
    if generation == session.generation:
        return Verdict("rotate", following, now)
    first_used = session.rotated_at if following == session.generation else recent.began(session.session_id, following)
    if first_used is None or now - first_used > GRACE:
        return Verdict("revoke")
    return Verdict("repeat", following, first_used)
