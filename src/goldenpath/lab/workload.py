"""What users do: small programs over a `User`.

A workload's `set_up` runs before the load begins, for each user; an `iteration` is what arrives. What happens in it is
recorded by the user's methods; a workload has only to let `OperationError` out.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from goldenpath.lab.user import User


class Iteration(msgspec.Struct, frozen=True):
    """One arrival."""

    number: int
    """Of all iterations of the load, from 0."""
    turn: int
    """Of this user's iterations, from 0."""
    users: int
    """How many users there are in all."""


class Workload(Protocol):
    """A program. One object serves all users of a process; what belongs to a user is kept by the user's number."""

    async def set_up(self, user: User) -> None:
        """Before the load: log in and connect, where that is not what is measured."""
        ...

    async def iterate(self, user: User, iteration: Iteration) -> None:
        """One iteration. May run concurrently with others, also of the same user."""
        ...


class WorkloadSpec(msgspec.Struct, frozen=True):
    """Which workload, with which options."""

    name: str
    options: dict[str, Any] = {}
