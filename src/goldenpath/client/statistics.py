"""What a client has counted."""

from __future__ import annotations

import msgspec


class ClientStatistics(msgspec.Struct):
    """Counts since the client was made. The last five are 0 with a server that keeps its log and the protocol."""

    connections: int = 0
    """Connections that the server welcomed; those after the first are reconnects."""
    failed_attempts: int = 0
    """Attempts to connect that came to nothing."""
    bytes_received: int = 0
    events: int = 0
    """Event frames received, those included that a stream had seen already."""
    commands: int = 0
    repeated_commands: int = 0
    """Commands sent again because the connection ended before their reply."""
    renewals: int = 0
    """Access tokens renewed."""
    pauses: int = 0
    """Times that reading stopped because a buffer was full."""
    lags: int = 0
    """Times that a stream fell behind, and its place was asked for again later."""
    gaps: int = 0
    """Gaps that streams were told of."""
    duplicates: int = 0
    """Events dropped because the same subscription had brought them already."""
    skipped: int = 0
    """Events that came in the place of others, which were missing."""
    unfounded: int = 0
    """Subscriptions that began elsewhere than asked for, without a gap."""
    stray: int = 0
    """Frames that answer nothing or belong to no thread that was asked for."""

    @property
    def reconnects(self) -> int:
        return max(0, self.connections - 1)
