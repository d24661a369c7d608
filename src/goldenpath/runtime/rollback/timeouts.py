"""Which time-outs the flags put in force. Sans-I/O."""

from __future__ import annotations

import msgspec

from goldenpath.runtime.flags.definition import LEGACY_TIMEOUTS, NO_OPTIMIZATIONS, ROLLED_BACK, TIMEOUTS
from goldenpath.runtime.flags.flags import Flags
from goldenpath.runtime.settings import LEGACY
from goldenpath.runtime.timeouts import CurrentTimeouts, Timeouts


def timeouts_by(flags: Flags, configured: Timeouts) -> tuple[Timeouts, str]:
    """The time-outs for new work, and why.

    Rolled back: those of production, whatever is set, but for how long a run may take and wait, which are no part of
    the hierarchy. With a kill switch on: the longer ones of those and the configured. Else: the configured.
    """
    if flags.variant(TIMEOUTS) == ROLLED_BACK:
        return msgspec.structs.replace(LEGACY, run=configured.run, queue=configured.queue), "rolled back"
    for switch in (NO_OPTIMIZATIONS, LEGACY_TIMEOUTS):
        if flags.enabled(switch):
            return configured.at_least(LEGACY), f"kill switch {switch}"
    return configured, "as configured"


def obey(flags: Flags, current: CurrentTimeouts) -> None:
    """Put in force what `flags` say, where it is not yet: for `Flags.on_change`."""
    timeouts, why = timeouts_by(flags, current.configured)
    if timeouts != current.now:
        current.replace(timeouts, why)
