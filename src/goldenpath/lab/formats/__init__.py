"""How targets write what they send, each read into frames. By name, as a history's manifest names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from goldenpath.lab.formats.agui import AguiFormat
from goldenpath.lab.formats.goldenpath import GoldenpathFormat
from goldenpath.lab.formats.mapping import MappingFormat
from goldenpath.lab.frames import Format

FORMATS: Final[dict[str, Callable[[Mapping[str, Any]], Format]]] = {
    "agui": AguiFormat,
    "goldenpath": GoldenpathFormat,
    "mapping": MappingFormat,
}


def make_format(name: str, options: Mapping[str, Any]) -> Format:
    """The format of this name. Raises KeyError for an unknown one, ValueError for options that it does not have."""
    return FORMATS[name](options)
