"""What the target's processes use, once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http.client import HTTPException
from time import perf_counter
from typing import Any, Final
from urllib.request import urlopen

import psutil
from prometheus_client.parser import text_string_to_metric_families

INTERVAL: Final = 1.0
_MB: Final = 1e6
_TOO_SHORT: Final = 0.2
"""Seconds that say nothing about how much CPU is used."""

_FIGURES: Final = {
    "connections": ("goldenpath_connections_connected", 1.0),
    "runs": ("goldenpath_admission_running", 1.0),
    "runs_waiting": ("goldenpath_admission_waiting", 1.0),
    "tasks": ("goldenpath_process_tasks", 1.0),
    "allocated_blocks": ("goldenpath_process_allocated_blocks", 1.0),
    "log_mb": ("goldenpath_log_bytes", 1 / _MB),
}
"""Our names, theirs, and the factor between."""

Read = Callable[[], dict[str, float]]


class ProcessTree:
    """A process and all of its children: CPU in percent of one core, memory, files, threads.

    `root` tells its number each time, None while there is none.
    """

    def __init__(self, root: Callable[[], int | None]) -> None:
        self._root = root
        self._known: dict[int, psutil.Process] = {}

    def read(self) -> dict[str, float]:
        """The figures now; empty where there is no process any more. The first CPU figure of a process is 0."""
        figures = {"cpu_percent": 0.0, "memory_mb": 0.0, "files": 0.0, "threads": 0.0, "processes": 0.0}
        for process in self._processes():
            try:
                with process.oneshot():
                    figures["cpu_percent"] += process.cpu_percent()
                    figures["memory_mb"] += process.memory_info().rss / _MB
                    figures["files"] += process.num_fds()
                    figures["threads"] += process.num_threads()
                    figures["processes"] += 1
            except psutil.Error:
                self._known.pop(process.pid, None)
        return figures if figures["processes"] else {}

    def _processes(self) -> list[psutil.Process]:
        pid = self._root()
        if pid is None:
            return []
        try:
            root = self._known.get(pid) or psutil.Process(pid)
            found: list[Any] = [root, *root.children(recursive=True)]
        except psutil.Error:
            self._known.clear()
            return []
        self._known = {each.pid: self._known.get(each.pid, each) for each in found}
        return list(self._known.values())


class MetricsPage:
    """What a goldenpath server says of itself on `/metrics`: open connections, runs that wait, tasks ... And how long
    the network and the server take, in seconds, from opening a connection to its answer's first bytes: `round_trip`."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/metrics"

    def read(self) -> dict[str, float]:
        """The figures now; empty where there are none to be had."""
        began = perf_counter()
        try:
            with urlopen(self._url, timeout=INTERVAL) as answer:  # noqa: S310
                round_trip = perf_counter() - began
                text = answer.read().decode()
            samples = {
                sample.name: sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
        except (OSError, ValueError, HTTPException):
            return {}
        figures = {figure: samples[name] * scale for figure, (name, scale) in _FIGURES.items() if name in samples}
        return {**figures, "round_trip": round_trip}


def everything(*reads: Read) -> Read:
    """All of them together; empty where the first is."""

    def read() -> dict[str, float]:
        figures = reads[0]()
        for more in reads[1:] if figures else ():
            figures |= more()
        return figures

    return read


async def watch(read: Read, tell: Callable[[dict[str, float]], None]) -> None:
    """Read every second and tell, until cancelled, and then once more. Reading happens in a thread: it takes
    milliseconds."""
    last = 0.0
    try:
        while True:
            figures = await asyncio.to_thread(read)
            last = perf_counter()
            if figures:
                tell(figures)
            await asyncio.sleep(INTERVAL)
    finally:
        if figures := read():  # a run of less than a second has a beginning and an end, too
            if perf_counter() - last < _TOO_SHORT:
                figures.pop("cpu_percent", None)
            tell(figures)
