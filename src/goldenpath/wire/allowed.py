"""What would have been allowed, for who wrote a word that is not: msgspec says only that it is none of them."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, Final

import msgspec
from msgspec import inspect

_wrong: Final = re.compile(r"Invalid enum value ('.*')(?: - at `\$(.*)`)?$", re.DOTALL)
_step: Final = re.compile(r"\.(\w+)|(\[)")


def told(error: msgspec.MsgspecError, kind: Any) -> str:
    """What `error`, of reading a `kind`, says; of a word that is none of those allowed, which these are."""
    found = _wrong.match(str(error))
    words = [] if found is None else _words(inspect.type_info(kind), found[2] or "")
    if found is None or not words:
        return str(error)
    near = get_close_matches(found[1].strip("'"), words, n=1)
    where = f" - at `${found[2]}`" if found[2] else ""
    return f"{found[1]} is none of {', '.join(words)}{where}" + (f"; did you mean {near[0]}?" if near else "")


def _words(kind: inspect.Type, path: str) -> list[str]:
    """The words that are allowed at `path`, of which msgspec shows keys of dictionaries as `[...]`."""
    kinds = [kind]
    for key, _ in _step.findall(path):
        kinds = [below for each in _plain(kinds) for below in _below(each, key)]
    return [str(word) for each in _plain(kinds) if isinstance(each, inspect.LiteralType) for word in each.values]


def _plain(kinds: list[inspect.Type]) -> list[inspect.Type]:
    return [one for each in kinds for one in (each.types if isinstance(each, inspect.UnionType) else (each,))]


def _below(kind: inspect.Type, key: str) -> list[inspect.Type]:
    if isinstance(kind, inspect.StructType):
        return [field.type for field in kind.fields if field.encode_name == key]
    if key:
        return []
    if isinstance(kind, inspect.VarTupleType | inspect.ListType | inspect.SetType | inspect.FrozenSetType):
        return [kind.item_type]
    return [kind.value_type] if isinstance(kind, inspect.DictType) else []
