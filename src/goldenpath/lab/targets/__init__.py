"""Adapters of systems under test, by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import msgspec

from goldenpath.lab.target import Target
from goldenpath.lab.targets.goldenpath import GoldenpathTarget
from goldenpath.lab.targets.goldenpath import Options as GoldenpathOptions


class TargetSpec(msgspec.Struct, frozen=True):
    """Which adapter, with which options."""

    kind: str
    options: dict[str, Any] = {}


def _goldenpath(options: dict[str, Any]) -> Target:
    return GoldenpathTarget(msgspec.convert(options, GoldenpathOptions))


TARGETS: Final[dict[str, Callable[[dict[str, Any]], Target]]] = {
    "goldenpath": _goldenpath,
}


def parse_target(text: str | None) -> TargetSpec | None:
    """What `--target` says; None for a server of our own. Raises ValueError."""
    if text is None:
        return None
    if text.startswith(("http://", "https://")):
        return TargetSpec(
            "goldenpath", {"url": text, "simulation_key": os.environ.get("GOLDENPATH_SIMULATION_KEY", "")}
        )
    raise ValueError(f"{text!r} is no target")


def make_target(spec: TargetSpec) -> Target:
    """The adapter, not opened yet; on the running event loop. Raises KeyError for an unknown kind,
    `msgspec.ValidationError` for wrong options."""
    return TARGETS[spec.kind](spec.options)
