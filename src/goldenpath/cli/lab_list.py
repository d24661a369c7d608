"""`goldenpath lab list`: what there is."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from goldenpath.cli.lab_verdict import console_of
from goldenpath.lab.canary import Canaries
from goldenpath.lab.checkers import standard_checkers, whole_checkers
from goldenpath.lab.faults import KINDS
from goldenpath.lab.formats import make_format
from goldenpath.lab.scenario import fitting, load_of
from goldenpath.lab.scenarios import SCENARIOS

_WIDE: Final = 120
"""Columns of a terminal in which sentences fit beside the rest."""


def show_scenarios() -> None:
    """The catalogue."""
    rows = [
        (
            scenario.name,
            str(scenario.users),
            load_of(scenario.arrivals),
            " ".join(f"--{option}" for option in fitting(scenario.arrivals)),
            scenario.checks,
        )
        for scenario in SCENARIOS.values()
    ]
    _show(("scenario", "users", "load", "may be given", "what a pass says"), rows)
    console_of().print(
        "--users and --fault may be given for each; a fault begins before the load is over.", highlight=False
    )


def show_checks() -> None:
    """The checkers, and which violations each knows."""
    checkers = [*standard_checkers(make_format("goldenpath", {}), Canaries("")), *whole_checkers()]
    rows = [(checker.name, " ".join((inspect.getdoc(type(checker)) or "").split())) for checker in checkers]
    _show(("checker", "what it finds"), rows)


def show_faults() -> None:
    """What `--fault` can inject."""
    rows = [
        (
            name,
            "" if kind.unit == "none" else kind.unit,
            f"{kind.lasts:g} s" if kind.lasts else "",
            "the lab's own server" if kind.process else "any",
            kind.effect,
        )
        for name, kind in KINDS.items()
    ]
    _show(("fault", "value", "without +FOR", "target", "what happens"), rows)


def _show(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    console = console_of()
    if console.width < _WIDE:  # no room for sentences in a column: each has lines of its own
        widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)][:-1]
        for row in (headings, *rows):
            cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
            console.print(cells, style="bold" if row is headings else "", markup=False, highlight=False)
            console.print(Padding(Text(row[-1]), (0, 0, 0, 4)), style="dim")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    table.add_column(headings[-1], overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
