"""Where a run took place, for people: numbers mean nothing without it."""

from __future__ import annotations

import os
import platform


def machine() -> str:
    """The system, the processor's architecture, how many cores, and the Python that drives."""
    cores = os.cpu_count() or 1
    return (
        f"{platform.system()} {platform.release()}, {platform.machine()}, {cores} core{'s' if cores > 1 else ''},"
        f" Python {platform.python_version()}"
    )
