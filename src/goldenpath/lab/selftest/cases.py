"""Where faults have to show: small scenarios, each with enough of what a fault needs, and over in a second or two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from goldenpath.lab.arrivals import Arrivals, Looping, constant
from goldenpath.lab.level import Level
from goldenpath.lab.scenario import Scenario
from goldenpath.lab.selftest.settings import Settings
from goldenpath.lab.workload import WorkloadSpec

SUCCESS: Final = Level(name="success", quantity="success_rate", comparison=">=", target=1, limit=1)
ANSWERS: Final = Level(name="success", quantity="success_rate.ask", comparison=">=", target=1, limit=1)
"""Where connections may be lost while something else is under way."""


class Case(msgspec.Struct, frozen=True):
    """A scenario, the server that it needs, and the levels that it is held to."""

    scenario: Scenario
    settings: Settings
    levels: tuple[Level, ...]


def _case(
    name: str,
    workload: str,
    options: dict[str, Any] | None = None,
    *,
    users: int,
    arrivals: Arrivals | int,
    settings: Settings | None = None,
    levels: tuple[Level, ...] = (SUCCESS,),
) -> Case:
    """`arrivals`: a number of iterations, or more exactly."""
    scenario = Scenario(
        name=name,
        title=name,
        checks="",
        workload=WorkloadSpec(workload, options or {}),
        arrivals=Looping(iterations=arrivals, over=0.05) if isinstance(arrivals, int) else arrivals,
        users=users,
    )
    return Case(scenario, settings or Settings(), levels)


def _at_most(seconds: float, quantity: str) -> Level:
    return Level(name=quantity.partition(".")[0], quantity=quantity, comparison="<=", target=seconds, limit=seconds)


def _cases() -> Iterator[Case]:
    yield _case("path", "golden_path", {"messages": 4, "characters": 160}, users=8, arrivals=2)
    yield _case("tabs", "two_tabs", {"characters": 160}, users=5, arrivals=2)
    yield _case("reconnects", "reconnecting", {"characters": 800}, users=6, arrivals=3, levels=(ANSWERS,))
    yield _case("retries", "reconnecting", {"characters": 160, "drops": 2, "within": 0.002}, users=10, arrivals=2)
    yield _case(
        "forgotten",
        "reconnecting",
        {"characters": 1_600},
        users=5,
        arrivals=2,
        settings=Settings(held=8),
        levels=(ANSWERS,),
    )
    yield _case("cancels", "cancelling", {"characters": 800, "within": 0.08}, users=6, arrivals=3)
    yield _case("intruders", "intruder", users=6, arrivals=3)
    yield _case(
        "slow_readers",
        "slow_reader",
        {"every": 6, "seconds": 1.6, "large": 20_000},
        users=12,
        arrivals=constant(24, 1.0),
        settings=Settings(pace=0.0),
        levels=(SUCCESS, _at_most(0.7, "first_token.p75")),
    )
    yield _case(
        "flood",
        "flooding",
        {"flood": 48, "every": 6, "characters": 64},
        users=4,
        arrivals=constant(10, 3.2),
        settings=Settings(pace=0.02, places=8),  # slow by sleeping, so that a busy machine makes little difference
    )
    yield _case(
        "steady",
        "asking",
        users=20,
        arrivals=constant(80, 2.0),
        levels=(SUCCESS, _at_most(0.7, "first_token.p95")),
    )
    yield _case(
        "expiry",
        "asking",
        users=4,
        arrivals=constant(10, 2.5),
        settings=Settings(token_seconds=0.8),
        levels=(),
    )


CASES: Final[dict[str, Case]] = {case.scenario.name: case for case in _cases()}
