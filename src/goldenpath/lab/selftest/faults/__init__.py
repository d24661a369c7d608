"""The faults that can be switched on in the reference server, by name, and the servers that only look wrong."""

from __future__ import annotations

from goldenpath.lab.selftest.faults import delivery, history, isolation, order, pace, resuming, right, runs
from goldenpath.lab.selftest.faults.fault import FAULTS, RIGHT, Fault, Faulty, Right

__all__ = ["FAULTS", "RIGHT", "Fault", "Faulty", "Right"]

_ = (delivery, history, isolation, order, pace, resuming, right, runs)  # each registers its own
