"""What stands for something else in texts that people give: `{user}` for what the lab knows, `${NAME}` for a variable
of the environment, so that secrets need not stand in files and command lines."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

T = TypeVar("T")

_PLACEHOLDER: Final = re.compile(r"(?<!\$)\{(\w+)\}")
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")


def each_text(value: T, where: str, change: Callable[[str, str], str]) -> T:
    """`value`, of JSON's types, with every text in it changed. `change` is told where it stands, e.g. `send.text`."""
    if isinstance(value, str):
        return change(value, where)  # type: ignore[return-value]
    if isinstance(value, dict):
        return {key: each_text(item, f"{where}.{key}".strip("."), change) for key, item in value.items()}  # type: ignore[return-value]
    if isinstance(value, list):
        return [each_text(item, where, change) for item in value]  # type: ignore[return-value]
    return value


def with_variables(text: str, where: str) -> str:
    """`text` with the environment's variables filled in. Raises ValueError for one that there is not."""

    def of(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ValueError(f"{where}: there is no variable {match[1]} in the environment")
        return os.environ[match[1]]

    return _VARIABLE.sub(of, text)


def variables_in(text: str) -> dict[str, str]:
    """The values of the environment's variables that `text` names, and how it names each."""
    names = _VARIABLE.findall(text)
    return {os.environ[name]: f"${{{name}}}" for name in names if os.environ.get(name)}


def placeholders(value: object, where: str, allowed: set[str]) -> set[str]:
    """The names of the placeholders in `value`. Raises ValueError for one that is not allowed."""
    found: set[str] = set()

    def look(text: str, place: str) -> str:
        for name in _PLACEHOLDER.findall(text):
            if name not in allowed:
                known = ", ".join(f"{{{each}}}" for each in sorted(allowed))
                raise ValueError(f"{place}: {{{name}}} cannot be filled in here; {known} can")
            found.add(name)
        return text

    each_text(value, where, look)
    return found


def filled(value: T, values: Mapping[str, str]) -> T:
    """`value` with the placeholders in it filled in, in one pass: what is filled in is not looked at again."""
    return each_text(value, "", lambda text, _: _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text))
