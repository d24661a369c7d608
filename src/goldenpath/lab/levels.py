"""The service levels that a run is held to: the default ones, a file over them, options over both.

A file is TOML or JSON, `{"levels": {NAME: {KEY: VALUE}}}`. For a name that there is, it changes the keys that it gives;
a new name needs `quantity` and `target` or `limit`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from msgspec import UNSET, UnsetType

from goldenpath.lab.level import Comparison, Level
from goldenpath.lab.quantities import UnknownQuantity, find

DEFAULTS: Final = "levels.toml"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_WHERE: Final = re.compile(r" - at `\$\.?([^`]*)`$")


class LevelError(ValueError):
    """A file or an option that cannot be taken; the message says in one line which, where and why."""


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file says of one level."""

    quantity: str | UnsetType = UNSET
    """What is measured."""
    comparison: Comparison | UnsetType = UNSET
    """Left out: what is better for the quantity."""
    target: float | UnsetType = UNSET
    """What it should be. Left out: the limit."""
    limit: float | UnsetType | None = UNSET
    """What it must be. null (JSON only): missing the target fails nothing."""
    text: str | UnsetType = UNSET
    """What it says, for people."""
    source: tuple[str, ...] | UnsetType = UNSET
    """Where it comes from."""
    scenarios: tuple[str, ...] | UnsetType = UNSET
    """To which it applies: patterns as of file names; one that begins with `!` takes away again; `[]`: it is off. Left
    out: all."""
    with_faults: bool | UnsetType = UNSET
    """Whether it applies to runs into which faults were injected. Left out: yes."""
    against: str | UnsetType = UNSET
    """A scenario: what counts is how much larger the quantity is than there, 0.2 being a fifth, where both are run
    together."""
    floor: float | UnsetType = UNSET
    """With `against`: values below count as this, because nobody notices the difference."""


class LevelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of service levels."""

    levels: dict[str, Change]


Levels = Mapping[str, Level]


def default_levels() -> dict[str, Level]:
    """What ships with the lab, by name."""
    return _laid_over({}, DEFAULTS, read_defaults())


def read_defaults() -> Any:
    """The file that ships with the lab, as it stands."""
    return tomllib.loads(files("goldenpath.lab").joinpath(DEFAULTS).read_text("utf-8"))


def resolve_levels(file: Path | None, options: Iterable[str]) -> tuple[Level, ...]:
    """The default levels, with what a file and options (`NAME=LIMIT`) change. Raises `LevelError`."""
    levels = default_levels()
    if file is not None:
        levels = _laid_over(levels, str(file), _read(file))
    for option in options:
        levels = _set(levels, option)
    return tuple(levels.values())


def _read(file: Path) -> Any:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise LevelError(f"{file}: cannot be read: {reason}") from None
    try:
        return msgspec.json.decode(text) if file.suffix == ".json" else tomllib.loads(text)
    except (msgspec.DecodeError, tomllib.TOMLDecodeError) as error:
        kind = "JSON" if file.suffix == ".json" else "TOML"
        raise LevelError(f"{file}: not {kind}: {error}") from None


def _laid_over(levels: Levels, file: str, content: Any) -> dict[str, Level]:
    if not isinstance(content, dict) or set(content) != {"levels"} or not isinstance(content["levels"], dict):
        raise LevelError(f"{file}: there has to be a table `levels`, and nothing else")
    changed = dict(levels)
    for name, raw in content["levels"].items():
        where = f"{file}: levels.{name}"
        if not _NAME.fullmatch(name):
            raise LevelError(f"{where}: a name has only lower-case letters, digits, `.`, `_` and `-`")
        try:
            change = msgspec.convert(raw, Change)
        except msgspec.ValidationError as error:
            raise LevelError(_placed(where, str(error))) from None
        changed[name] = _changed(where, name, levels.get(name), change)
    return changed


def _placed(where: str, message: str) -> str:
    """The key that msgspec names, where one looks for it."""
    found = _WHERE.search(message)
    if found is None:
        return f"{where}: {message}"
    key = f"{where}.{found[1]}" if found[1] else where
    return f"{key}: {message[: found.start()]}"


def _changed(where: str, name: str, known: Level | None, change: Change) -> Level:
    given = {key: value for key in change.__struct_fields__ if (value := getattr(change, key)) is not UNSET}
    quantity = given.get("quantity", known.quantity if known is not None else None)
    if quantity is None:
        raise LevelError(f'{where}.quantity: missing; it says what is measured, e.g. "connect.p95"')
    try:
        meant = find(quantity)
    except UnknownQuantity as error:
        raise LevelError(f"{where}.quantity: {error}") from None
    if known is None or "quantity" in given:
        given.setdefault("comparison", meant.better)
    if known is None and "target" not in given:
        if given.get("limit") is None:
            raise LevelError(f"{where}.target: missing; give a target, a limit or both")
        given["target"] = given["limit"]
    level = Level(name=name, **given) if known is None else msgspec.structs.replace(known, **given)
    if known is not None and "limit" in given and "target" not in given and not _in_order(level):
        level = msgspec.structs.replace(
            level, target=cast("float", level.limit)
        )  # a stricter limit is a stricter target
    for key in ("target", "limit", "floor"):
        number = getattr(level, key)
        if number is not None and not isfinite(number):
            raise LevelError(f"{where}.{key}: {number:g} is no number to hold anything to")
    if not _in_order(level):
        raise LevelError(f"{where}.target: {level.target:g} asks for less than the limit, {level.limit:g}")
    return level


def _in_order(level: Level) -> bool:
    if level.limit is None:
        return True
    return level.target <= level.limit if level.comparison == "<=" else level.target >= level.limit


def _set(levels: dict[str, Level], option: str) -> dict[str, Level]:
    """`NAME=LIMIT` or `NAME=TARGET,LIMIT`: of the level of this name; or, for a quantity, of the only level of it."""
    where = f"--level {option}"
    name, equals, values = option.partition("=")
    try:
        numbers = [float(value) for value in values.split(",")]
    except ValueError:
        numbers = []
    if not equals or not 1 <= len(numbers) <= 2 or not all(map(isfinite, numbers)):
        raise LevelError(f"{where}: not NAME=LIMIT or NAME=TARGET,LIMIT with finite numbers")
    change = Change(target=numbers[0], limit=numbers[-1])
    if name in levels:
        return {**levels, name: _changed(where, name, levels[name], change)}
    try:
        find(name)
    except UnknownQuantity as error:
        similar = get_close_matches(name, levels, n=1)
        hint = f"there is a level {similar[0]!r}" if similar else str(error)
        raise LevelError(f"{where}: no level and no quantity is called {name!r}; {hint}") from None
    kept = {key: level for key, level in levels.items() if level.quantity != name or level.against}
    change = msgspec.structs.replace(change, quantity=name, text="Set by --level.")
    return {**kept, name: _changed(where, name, None, change)}


def schema() -> dict[str, Any]:
    """The JSON Schema of a file."""
    made = msgspec.json.schema(LevelFile)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Service levels of goldenpath lab",
        **made,
    }
