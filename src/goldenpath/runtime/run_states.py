"""The life of a run as one table. An illegal step raises and changes nothing.

    queued ──begin──> running ──finish──> finished
      │                  ├──fail────────> failed
      │                  ├──cancel──────> cancelled
      └──(begins, then ends at once)      └──lose────────> interrupted (the process died or drained)

A queued run that is cancelled or lost begins and ends at once when its turn comes, so that every accepted run has
RUN_STARTED and one terminal event in its log.
"""

from __future__ import annotations

from typing import Final, Literal

from goldenpath.runtime.interfaces import RunStatus
from goldenpath.wire.errors import GoldenpathError

Step = Literal["begin", "finish", "fail", "cancel", "lose"]

TRANSITIONS: Final[dict[tuple[RunStatus, Step], RunStatus]] = {
    ("queued", "begin"): "running",
    ("running", "finish"): "finished",
    ("running", "fail"): "failed",
    ("running", "cancel"): "cancelled",
    ("running", "lose"): "interrupted",
}


ENDED: Final[frozenset[RunStatus]] = frozenset(TRANSITIONS.values()) - {status for status, _ in TRANSITIONS}
"""Where a run stays: its terminal event is in the log."""


class IllegalStepError(GoldenpathError):
    """A step that the table does not have."""


def after(status: RunStatus, step: Step) -> RunStatus:
    """The status that follows. Raises `IllegalStepError`."""
    try:
        return TRANSITIONS[status, step]
    except KeyError:
        raise IllegalStepError(f"a {status} run cannot {step}") from None
