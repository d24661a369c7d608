"""What is checked in every run."""

from __future__ import annotations

from goldenpath.lab.canary import Canaries
from goldenpath.lab.checker import Checker
from goldenpath.lab.checkers.delivery import Delivery
from goldenpath.lab.checkers.isolation import Isolation
from goldenpath.lab.frames import Format


def standard_checkers(format_: Format, canaries: Canaries) -> list[Checker]:
    """New checkers for one judge."""
    return [Isolation(canaries), Delivery(format_)]
