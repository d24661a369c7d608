"""Calling plain functions off the event loop.

A pool would let the slow calls of one user keep all its threads from the others, so every call gets a thread of its
own; how many there are at once is bounded by who calls (engines, and calls of one run).
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from goldenpath.runtime.containment import contained

T = TypeVar("T")


async def call_in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Call `function(*arguments)` in a new thread and return what it returns, or raise what it raises.

    SystemExit and KeyboardInterrupt come back as `AgentExitError`. Context variables are copied. Cancelling stops the
    waiting, not the thread.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def work() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(function, *arguments)
        except StopIteration as stopped:  # cannot be raised into a future
            error = RuntimeError("the function raised StopIteration")
            error.__cause__ = stopped
        except BaseException as raised:  # noqa: BLE001 - handed to the caller
            error = contained(raised)
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    threading.Thread(target=work, name=f"goldenpath-call-{getattr(function, '__name__', 'call')}", daemon=True).start()
    return await future
