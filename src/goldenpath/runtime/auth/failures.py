"""Failed logins by e-mail, in a sliding window. Sans-I/O.

Known and unknown e-mails are counted alike, so an answer says nothing about which exist. Memory is bounded by the
number of e-mails, kept as 16-byte digests. When it is full, room is made from the e-mails that are not locked, the one
whose last failure is oldest first. A lock falls only when every place is a lock: to push one out takes
`max_emails * limit` wrong passwords within one window, each of which costs a whole password hash, far more than the
password threads can do in that time.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b


class LoginFailures:
    """Locks an e-mail after `limit` failures within `window` seconds, until fewer than `limit` lie in the window.

    `now` is in seconds on a time line that does not go back. Not thread-safe: it belongs to the event loop.
    """

    def __init__(self, *, limit: int, window: float, max_emails: int = 65_536) -> None:
        self._limit = max(1, limit)
        self._window = window
        self._max_emails = max_emails
        # Both in the order of the last failure, so that what is over lies in front.
        self._counted: OrderedDict[bytes, list[float]] = OrderedDict()
        self._locked: OrderedDict[bytes, list[float]] = OrderedDict()

    def __len__(self) -> int:
        """How many e-mails are remembered, at most `max_emails`."""
        return len(self._counted) + len(self._locked)

    def locked_for(self, email: str, now: float) -> float | None:
        """The seconds until a login may be tried again, above 0; None when it may be tried now."""
        return self._remaining(self._recent(_digest(email), now), now)

    def record(self, email: str, now: float) -> float | None:
        """Count a failure. When the e-mail is locked already it is not counted, and the seconds left are returned:
        of any number of concurrent attempts no more than `limit` learn whether they were right."""
        digest = _digest(email)
        times = self._recent(digest, now)
        remaining = self._remaining(times, now)
        if remaining is not None:
            return remaining
        self._counted.pop(digest, None)
        self._locked.pop(digest, None)
        self._make_room(now)
        times.append(now)
        (self._locked if len(times) >= self._limit else self._counted)[digest] = times
        return None

    def _recent(self, digest: bytes, now: float) -> list[float]:
        times = self._counted.get(digest) or self._locked.get(digest) or []
        return [time for time in times if time + self._window > now]

    def _remaining(self, times: list[float], now: float) -> float | None:
        return times[-self._limit] + self._window - now if len(times) >= self._limit else None

    def _make_room(self, now: float) -> None:
        for group in (self._counted, self._locked):
            while group and next(iter(group.values()))[-1] + self._window <= now:
                group.popitem(last=False)
        while len(self) >= self._max_emails:
            (self._counted or self._locked).popitem(last=False)


def _digest(email: str) -> bytes:
    return blake2b(email.encode("utf-8", "surrogatepass"), digest_size=16).digest()
