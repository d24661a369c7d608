"""`goldenpath lab list`: what there is."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from goldenpath.lab.canary import Canaries
from goldenpath.lab.checkers import standard_checkers, whole_checkers
from goldenpath.lab.faults import KINDS
from goldenpath.lab.formats import make_format
from goldenpath.lab.scenarios import SCENARIOS


def show_scenarios() -> None:
    """The catalogue."""
    rows = [(scenario.name, str(scenario.users), scenario.checks) for scenario in SCENARIOS.values()]
    _show(("scenario", "users", "what a pass says"), rows)


def show_checks() -> None:
    """The checkers, and which violations each knows."""
    checkers = [*standard_checkers(make_format("goldenpath", {}), Canaries("")), *whole_checkers()]
    rows = [(checker.name, " ".join((inspect.getdoc(type(checker)) or "").split())) for checker in checkers]
    _show(("checker", "what it finds"), rows)


def show_faults() -> None:
    """What `--fault` can inject."""
    rows = [
        (name, "" if kind.unit == "none" else kind.unit, "the lab's own server" if kind.process else "any", kind.effect)
        for name, kind in KINDS.items()
    ]
    _show(("fault", "value", "target", "what happens"), rows)


def _show(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    table.add_column(headings[-1], overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
