"""How values are written for people: the same in HTML, Markdown and on the terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isinf
from typing import Final

NOTHING: Final = "\N{EN DASH}"
NEVER: Final = "never"


def amount(value: float | None, unit: str) -> str:
    """A value with its unit; a dash where there is none."""
    if value is None:
        return NOTHING
    match unit:
        case "s":
            return seconds(value)
        case "ratio":
            return f"{_short(100 * value)} %"
        case "%" | "MB" | "/s":
            return f"{_short(value)} {unit}"
    return _short(value)


def seconds(value: float) -> str:
    """A duration: in milliseconds below one second; `inf`: it never was over."""
    if isinf(value):
        return NEVER
    if value == 0:
        return "0 s"
    if abs(value) < 1:
        return f"{_short(1000 * value)} ms"
    if abs(value) < 600:
        return f"{_short(value)} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes:,} min {rest} s"


def moment(unix: float) -> str:
    """A time of the clock, as ISO 8601 in UTC; empty for 0."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="seconds") if unix else ""


def plural(count: int, noun: str) -> str:
    """`1 user`, `2 users`, with thousands apart."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _short(value: float) -> str:
    """Three digits that mean something, four where they are 999.5 ...; large ones whole."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if 99 <= abs(value) < 100:
        return f"{value:.4g}"
    return f"{value:.3g}"
