"""The signals that stop the host of a mounted app.

ASGI tells an app of the end when all connections have ended. The streams among them wait for their runs, or for ever,
and the host waits for the streams. So the app listens for the signals itself, beside its host.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def at_stop_signals(callback: Callable[[], object]) -> Iterator[None]:
    """Call `callback` on the running loop at each stop signal that the host handles, beside the host's own handler.

    Does nothing outside of the main thread, where Python has no signals, and for a host that handles them itself
    without Python.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def beside(theirs: Handler) -> Handler:
        def handle(number: int, frame: FrameType | None) -> object:
            loop.call_soon_threadsafe(callback)
            return theirs(number, frame)

        return handle

    replaced: list[tuple[signal.Signals, Handler, Handler]] = []
    for number in STOP_SIGNALS:
        theirs = signal.getsignal(number)
        if callable(theirs):  # else the process ends at once, or not at all: neither is ours to change
            ours = beside(theirs)
            signal.signal(number, ours)
            replaced.append((number, ours, theirs))
    try:
        yield
    finally:
        for number, ours, theirs in replaced:
            if signal.getsignal(number) is ours:
                signal.signal(number, theirs)
