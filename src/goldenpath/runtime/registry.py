"""The agents of one app, by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from goldenpath.runtime.context import Principal
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import is_name

MAX_DESCRIPTION: Final = 2_000


class Agent(msgspec.Struct, frozen=True):
    """A registered agent. `permission` is what a principal needs to see and run it; None: nothing.

    `timeout` bounds a run of it in seconds, `silence` how long it may go without progress; None: the server's own
    limits alone.
    """

    name: str
    description: str
    function: Callable[[Any], Any]
    is_async: bool
    permission: str | None = None
    timeout: float | None = None
    silence: float | None = None


class Registry:
    """Agents by name. Filled before the server starts, only read afterwards."""

    def __init__(self) -> None:
        self._agents: dict[str, Agent] = {}

    def add(
        self,
        name: str,
        function: Callable[[Any], Any],
        *,
        description: str | None = None,
        permission: str | None = None,
        timeout: float | None = None,
        silence: float | None = None,
    ) -> Agent:
        """Register `function` under `name`. Raises ValueError for a name that is taken or malformed, TypeError for a
        function that yields, or that cannot be called with one argument.

        A coroutine function, a partial of one, or an object whose `__call__` is one gets a `Run` on the event loop;
        everything else a `SyncRun` in a thread of its own.
        """
        if not is_name(name):
            raise ValueError(f"an agent's name has 1 to 128 of the characters A-Z a-z 0-9 . _ : -; {name!r} has not")
        if name in self._agents:
            raise ValueError(f"there is an agent {name!r} already")
        inner = _innermost(function)
        if description is None:
            description = (inspect.getdoc(inner) or "").split("\n\n")[0].replace("\n", " ")[:MAX_DESCRIPTION]
        if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
            raise TypeError(f"the agent {name!r} yields; it is to speak through its run: `await run.text(...)`")
        if not _takes_one(function):
            raise TypeError(f"the agent {name!r} must take one argument, its run: `async def {_name(inner)}(run)`")
        call = inner if inspect.isroutine(inner) else getattr(inner, "__call__", inner)  # noqa: B004
        agent = Agent(name, description, function, inspect.iscoroutinefunction(call), permission, timeout, silence)
        self._agents[name] = agent
        return agent

    def __contains__(self, name: str) -> bool:
        return name in self._agents

    def __iter__(self) -> Iterator[Agent]:
        return iter(self._agents.values())

    def allowed(self, principal: Principal) -> list[Agent]:
        """The agents that `principal` may run."""
        return [agent for agent in self if agent.permission is None or principal.may(agent.permission)]

    def get(self, name: str, principal: Principal) -> Agent:
        """The agent `name`. Raises `RequestError` (`unknown_agent`) where there is none that `principal` may run."""
        agent = self._agents.get(name)
        if agent is None or (agent.permission is not None and not principal.may(agent.permission)):
            raise unknown_agent(name)
        return agent


def unknown_agent(name: str) -> RequestError:
    """The one error for an agent that there is not, or not for this user."""
    return RequestError("unknown_agent", f"there is no agent {name!r}")


def _innermost(function: Callable[[Any], Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _takes_one(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # it is written in C and does not say
        return True
    return True


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", "agent")
