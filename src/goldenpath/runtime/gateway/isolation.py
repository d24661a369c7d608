"""Whether what is about to be sent to somebody is theirs: the last look, at run time, at every batch of events.

That a log is opened by its owner only is kept much earlier, and tested; this is the check that needs no trust in that.
"""

from __future__ import annotations

import msgspec
import structlog

from goldenpath.runtime.interfaces import ThreadKey
from goldenpath.wire.ids import UserId

_logger = structlog.get_logger("goldenpath.isolation")

BROKEN = "the server refused to send what is not yours"
"""What the connection is told that would have got it."""


class IsolationStatistics(msgspec.Struct, frozen=True):
    """What the last look found."""

    violations: int
    """Batches of events that were about to reach somebody else, and were not sent."""


class Isolation:
    """Counts the batches that were not sent because they were somebody else's."""

    def __init__(self) -> None:
        self.violations = 0
        """How many there were since the start: more than 0 is a fault of the server."""

    def violated(self, key: ThreadKey, user_id: UserId) -> None:
        """Tell that events of the log `key` were about to reach `user_id`."""
        self.violations += 1
        _logger.critical("isolation_violated", owner=key.user_id, thread_id=key.thread_id, reader=user_id)

    def statistics(self) -> IsolationStatistics:
        return IsolationStatistics(self.violations)
