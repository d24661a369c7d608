"""What `/v1/admin/live` sends: the operator page's frames, one JSON object a line."""

from __future__ import annotations

from typing import Final

import msgspec


class Sample(msgspec.Struct, frozen=True):
    """The server in one second. Rates are those since the sample before; percentiles those of the last minute, null
    where nothing happened they could be made of."""

    time: float
    """Unix time."""
    connections: float
    users: float
    """Users who are connected."""
    runs_running: float
    runs_waiting: float
    events_per_s: float
    """Events that became durable."""
    runs_per_s: float
    """Runs that ended."""
    failures_per_s: float
    """Those of them that failed or timed out."""
    first_token_p50_ms: float | None
    first_token_p95_ms: float | None
    run_p50_ms: float | None
    run_p95_ms: float | None
    connect_p95_ms: float | None
    queue_wait_p95_ms: float | None
    loop_lag_p95_ms: float | None
    commit_p95_ms: float | None
    rss_mb: float


COLUMNS: Final = Sample.__struct_fields__


class LiveHistory(msgspec.Struct, tag_field="type", tag="history", frozen=True):
    """Follows `welcome`. `columns`: the samples so far, those of ten minutes at most, as columns by `Sample`'s names.
    `identities`: whether this viewer is told who users are. `interval`: seconds between samples."""

    interval: float
    identities: bool
    columns: dict[str, list[float | None]]


class LiveSnapshot(msgspec.Struct, tag_field="type", tag="snapshot", frozen=True):
    """Comes each second, unless the viewer is too slow: it is left out then, and never queued. `sections`: those that
    changed since this viewer's last snapshot, whole."""

    sample: msgspec.Raw
    sections: dict[str, msgspec.Raw]


LiveFrame = LiveHistory | LiveSnapshot
