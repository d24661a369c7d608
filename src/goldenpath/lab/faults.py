"""Faults that a run injects: what they are called, when they happen. `injection` and `proxy` carry them out.

A fault is written `KIND[=VALUE][~SHARE]@AT[+FOR]`, e.g. `kill@10`, `stop@5+2`, `latency=100ms@5+10`, `reset~0.2@8`:
from AT seconds after the load began, for FOR seconds, on a SHARE (0 to 1) of the connections.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Final, Literal

import msgspec

Unit = Literal["none", "seconds", "bytes"]


class Kind(msgspec.Struct, frozen=True):
    """A kind of fault."""

    effect: str
    """What happens, in a sentence."""
    unit: Unit = "none"
    """Of its value."""
    lasts: float | None = None
    """How long it lasts where nothing is said, in seconds; None: it is over at once."""
    process: bool = False
    """Whether it needs the target's process: only with a server of the lab's own."""


KINDS: Final[dict[str, Kind]] = {
    "kill": Kind("kill -9; the server starts again after FOR seconds", lasts=0.0, process=True),
    "restart": Kind("SIGTERM; the server starts again when it has ended", process=True),
    "stop": Kind("SIGSTOP, and SIGCONT after FOR seconds", lasts=1.0, process=True),
    "latency": Kind("whatever crosses the network comes VALUE later, in both directions", "seconds", lasts=5.0),
    "jitter": Kind("the same, by a random time of up to VALUE; the order stays", "seconds", lasts=5.0),
    "bandwidth": Kind("no more than VALUE bytes a second cross a connection, each way", "bytes", lasts=5.0),
    "blackhole": Kind("nothing crosses the network; it comes when the fault is over", lasts=3.0),
    "halfopen": Kind("connections are dead, and nobody is told; reset when the fault is over", lasts=3.0),
    "reset": Kind("connections are reset"),
    "cut": Kind("connections are reset when VALUE more bytes have come from the server", "bytes", lasts=5.0),
}

_SPEC: Final = re.compile(
    r"(?P<kind>[a-z]+)(=(?P<value>[0-9.]+)(?P<unit>[a-zA-Z]*))?(~(?P<share>[0-9.]+))?@(?P<at>[0-9.]+)s?(\+(?P<lasts>[0-9.]+)s?)?"
)
_UNITS: Final[dict[Unit, dict[str, float]]] = {
    "none": {},
    "seconds": {"s": 1.0, "ms": 1e-3, "": 1.0},
    "bytes": {"": 1.0, "B": 1.0, "kB": 1e3, "MB": 1e6},
}


class Fault(msgspec.Struct, frozen=True):
    """One fault, as it was asked for."""

    spec: str
    kind: str
    at: float
    """Seconds after the load began."""
    lasts: float
    """Seconds; 0: it is over at once."""
    value: float = 0.0
    share: float = 1.0
    """Of the connections that are open when it begins, or opened while it lasts."""

    @property
    def on_process(self) -> bool:
        """Whether it is done to the target's process, rather than to the network before it."""
        return KINDS[self.kind].process


def parse_fault(spec: str) -> Fault:
    """What `--fault` says. Raises ValueError in words for the command line."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(f"--fault {spec}: write KIND[=VALUE][~SHARE]@AT[+FOR], e.g. kill@10 or latency=100ms@5+10")
    kind = KINDS.get(match["kind"])
    if kind is None:
        raise ValueError(f"--fault {spec}: there is no fault {match['kind']!r}; there are {', '.join(KINDS)}")
    try:
        numbers = {name: float(match[name]) for name in ("value", "share", "at", "lasts") if match[name] is not None}
    except ValueError:
        raise ValueError(f"--fault {spec}: not a number") from None
    if not all(map(isfinite, numbers.values())):
        raise ValueError(f"--fault {spec}: larger than any number")
    if ("value" in numbers) != (kind.unit != "none"):
        needs = f"needs a value in {kind.unit}" if kind.unit != "none" else "has no value"
        raise ValueError(f"--fault {spec}: {match['kind']} {needs}")
    units = _UNITS[kind.unit]
    if "value" in numbers and match["unit"] not in units:
        known = " or ".join(filter(None, units))
        raise ValueError(f"--fault {spec}: {match['unit']!r} is no unit of {kind.unit}; write {known}")
    if kind.lasts is None and "lasts" in numbers:
        raise ValueError(f"--fault {spec}: {match['kind']} is over at once")
    if not 0 < numbers.get("share", 1.0) <= 1:
        raise ValueError(f"--fault {spec}: a share is more than 0 and at most 1")
    if kind.process and "share" in numbers:
        raise ValueError(f"--fault {spec}: {match['kind']} is done to the whole server")
    return Fault(
        spec=spec,
        kind=match["kind"],
        at=numbers["at"],
        lasts=numbers.get("lasts", kind.lasts or 0.0),
        value=numbers.get("value", 0.0) * units.get(match["unit"] or "", 1.0),
        share=numbers.get("share", 1.0),
    )
