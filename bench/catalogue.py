"""Every benchmark, in the order in which they run and are reported."""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "throughput",
    "cpu_per_run",
    "thousand",
    "growth",
    "memory",
    "start",
    "context",
    "engine",
    "login",
    "attach",
    "storm",
    "restart",
    "fairness",
    "lab_engine",
    "honesty",
    "lab_peers",
    "judging",
)
