"""What others wrote and we ship as it is, each with its licence: for the pages of the server and of the lab."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable


def uplot() -> Traversable:
    """The folder of uPlot, which draws the charts: `uplot.js`, `uplot.css`, `LICENSE.txt`."""
    return files("goldenpath.vendor") / "uplot"
