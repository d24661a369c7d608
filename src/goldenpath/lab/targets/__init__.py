"""Adapters of systems under test, by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

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


def origin(spec: TargetSpec) -> tuple[str, int]:
    """Host and port that the target is reached at."""
    url = urlsplit(spec.options["url"])
    return url.hostname or "127.0.0.1", url.port or (443 if url.scheme in ("https", "wss") else 80)


def rerouted(spec: TargetSpec, host: str, port: int) -> TargetSpec:
    """The same target, reached at another place: behind a proxy. Raises ValueError where it speaks TLS, whose
    certificate is for the first place."""
    url = urlsplit(spec.options["url"])
    if url.scheme in ("https", "wss"):
        raise ValueError("faults of the network need a target without TLS")
    return TargetSpec(spec.kind, {**spec.options, "url": url._replace(netloc=f"{host}:{port}").geturl()})


def make_target(spec: TargetSpec) -> Target:
    """The adapter, not opened yet; on the running event loop. Raises KeyError for an unknown kind,
    `msgspec.ValidationError` for wrong options."""
    return TARGETS[spec.kind](spec.options)
