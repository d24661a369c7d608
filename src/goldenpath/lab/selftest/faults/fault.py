"""What a fault is: the reference server with one method that is wrong, and who has to see it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from goldenpath.lab.selftest.reference import ReferenceServer
from goldenpath.lab.selftest.settings import Settings


class Faulty(ReferenceServer):
    """A reference server that is wrong now and then."""

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self._left = self._place = 0

    def strikes(self, every: int) -> bool:
        """True once in `every` calls, at a random place among them: rare, and yet certain where there are enough."""
        if not self._left:
            self._left, self._place = every, self.random.randrange(every)
        self._left -= 1
        return self._left == self._place


class Fault(msgspec.Struct, frozen=True):
    """One thing that can be wrong."""

    name: str
    sentence: str
    """What is wrong."""
    scenario: str
    """Where it shows: a name in `goldenpath.lab.selftest.cases`."""
    checker: str
    kind: str
    """Of the violation that has to be found."""
    server: type[ReferenceServer]


class Right(msgspec.Struct, frozen=True):
    """A server in which nothing is wrong: whatever is found is a false alarm."""

    name: str
    sentence: str
    scenarios: tuple[str, ...]
    """Where it is run; none: everywhere."""
    server: type[ReferenceServer]


FAULTS: Final[dict[str, Fault]] = {}
RIGHT: Final[dict[str, Right]] = {}
S = TypeVar("S", bound=type[ReferenceServer])


def caught_by(checker: str, kind: str, scenario: str = "path") -> Callable[[S], S]:
    """A class decorator: its fault has to be found by `checker` as `kind` in `scenario`. Its docstring says what is
    wrong."""

    def register(server: S) -> S:
        name = _name(server)
        FAULTS[name] = Fault(name, _sentence(server), scenario, checker, kind, server)
        return server

    return register


def right(*scenarios: str) -> Callable[[S], S]:
    """A class decorator: there is nothing to be found in it."""

    def register(server: S) -> S:
        name = _name(server)
        RIGHT[name] = Right(name, _sentence(server), scenarios, server)
        return server

    return register


def _name(server: type) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", server.__name__).lower()


def _sentence(server: type) -> str:
    return " ".join((server.__doc__ or "").split())
