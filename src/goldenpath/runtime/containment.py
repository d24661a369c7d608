"""Keeping `sys.exit()` and Ctrl-C of one agent's code from ending the process.

asyncio treats SystemExit and KeyboardInterrupt of a task as the end of the whole program: it takes them through the
event loop, past everybody else's work. In an agent's tasks and threads they are that agent's failure and nothing more.
"""

from __future__ import annotations

from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from goldenpath.wire.errors import GoldenpathError

T = TypeVar("T")


class AgentExitError(GoldenpathError):
    """An agent's task or thread raised SystemExit or KeyboardInterrupt, which is the cause."""


def contained(error: BaseException) -> BaseException:
    """`error`, or what takes its place where it would end the process."""
    if not isinstance(error, SystemExit | KeyboardInterrupt):
        return error
    replaced = AgentExitError(type(error).__name__)
    replaced.__cause__ = error
    return replaced


class Contained(Coroutine[Any, Any, T]):
    """A coroutine that raises `AgentExitError` where the one inside raises what would end the process."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Coroutine[Any, Any, T]) -> None:
        self._inner = inner

    def __await__(self) -> Any:
        return self._inner.__await__()

    def send(self, value: Any) -> Any:
        try:
            return self._inner.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise contained(error) from error

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> Any:
        try:
            return self._inner.throw(typ) if val is None else self._inner.throw(typ, val, tb)
        except (SystemExit, KeyboardInterrupt) as error:
            raise contained(error) from error

    def close(self) -> None:
        self._inner.close()
