"""What is checked in every run."""

from __future__ import annotations

from goldenpath.lab.canary import Canaries
from goldenpath.lab.checker import Checker
from goldenpath.lab.checkers.access import Access
from goldenpath.lab.checkers.accounting import Accounting
from goldenpath.lab.checkers.cancel import Cancel
from goldenpath.lab.checkers.delivery import Delivery
from goldenpath.lab.checkers.fairness import FairShare
from goldenpath.lab.checkers.history import History
from goldenpath.lab.checkers.isolation import Isolation
from goldenpath.lab.checkers.order import Order
from goldenpath.lab.checkers.resume import Resume
from goldenpath.lab.checkers.snapshot import Snapshot
from goldenpath.lab.checkers.terminal import Terminal
from goldenpath.lab.frames import Format


def standard_checkers(format_: Format, canaries: Canaries, *, disturbed: bool = False) -> list[Checker]:
    """New checkers for one judge. Each looks at one user at a time: several judges may share the users. `disturbed`:
    the judge does not see that faults of the network are injected."""
    return [
        Isolation(canaries),
        Delivery(format_),
        Order(format_),
        Terminal(disturbed=disturbed),
        Resume(format_),
        Snapshot(canaries),
        Cancel(),
        History(format_, canaries),
        Access(),
        Accounting(),
    ]


def whole_checkers() -> list[Checker]:
    """New checkers that compare users with each other: for one judge that sees all of a history."""
    return [FairShare()]
