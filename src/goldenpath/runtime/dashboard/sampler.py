"""Makes one sample of the server each second from what its parts tell anyway. Sans-I/O."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from goldenpath.runtime.signals import Signals
from goldenpath.runtime.windows import Durations
from goldenpath.wire.live import Sample


class Reading(msgspec.Struct, frozen=True):
    """What the parts say now. `events`, `ended` and `failed` count since the server's start."""

    connections: int
    users: int
    running: int
    waiting: int
    events: int
    ended: int
    failed: int
    rss_bytes: int


class Sampler:
    """`read` gives the parts' figures of now. Belongs to the event loop's thread."""

    def __init__(self, read: Callable[[], Reading], signals: Signals) -> None:
        self._read = read
        self._signals = signals
        self._last: tuple[float, Reading] | None = None
        self._tells_users = False
        """Whether the last sample read the percentiles of what users wait for, or else the server's own: they move
        slowly, and each sample reads one half of them."""
        self._users: list[float | None] = [None] * 4
        self._own: list[float | None] = [None] * 4

    def sample(self, now: float, time: float) -> Sample:
        """The sample of `now`, in monotonic seconds; `time` is the same as Unix time. Percentiles may be as old as the
        sample before."""
        reading = self._read()
        before, last = self._last or (now, reading)
        self._last = now, reading
        seconds = now - before

        def rate(count: int, earlier: int) -> float:
            return round((count - earlier) / seconds, 2) if seconds > 0 else 0.0

        self._read_percentiles(now)
        token_p50, token_p95, run_p50, run_p95 = self._users
        connect_p95, queue_wait_p95, loop_lag_p95, commit_p95 = self._own
        return Sample(
            time=round(time, 2),
            connections=reading.connections,
            users=reading.users,
            runs_running=reading.running,
            runs_waiting=reading.waiting,
            events_per_s=rate(reading.events, last.events),
            runs_per_s=rate(reading.ended, last.ended),
            failures_per_s=rate(reading.failed, last.failed),
            first_token_p50_ms=token_p50,
            first_token_p95_ms=token_p95,
            run_p50_ms=run_p50,
            run_p95_ms=run_p95,
            connect_p95_ms=connect_p95,
            queue_wait_p95_ms=queue_wait_p95,
            loop_lag_p95_ms=loop_lag_p95,
            commit_p95_ms=commit_p95,
            rss_mb=round(reading.rss_bytes / (1 << 20), 1),
        )

    def _read_percentiles(self, now: float) -> None:
        signals = self._signals
        self._tells_users = not self._tells_users
        if self._tells_users:
            self._users = _percentiles(signals.first_token, now, 50, 95) + _percentiles(signals.run.took, now, 50, 95)
        else:
            own = (signals.connect.took, signals.queue_wait, signals.loop_lag, signals.commit)
            self._own = [_percentiles(durations, now, 95)[0] for durations in own]


def _percentiles(durations: Durations, now: float, *percents: int) -> list[float | None]:
    """Of the last minute, in milliseconds; merged once for all of them."""
    window = durations.over("1m", now)
    found = (window.percentile(percent) for percent in percents)
    return [None if seconds is None else round(seconds * 1000, 2) for seconds in found]
