"""What of a command line and of an address may be kept: a stored run is shown to people who must not know its secrets.

`${NAME}`, a variable of the environment, is kept as it stands: so a command is stored whole. What is written out is
kept where it is known to be harmless, and is `***` else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from goldenpath.lab.hiding import HIDDEN
from goldenpath.lab.targets.placeholders import variables_in

_SECRET: Final = re.compile(r"auth|code|cookie|cred|jwt|key|pass|pwd|secret|session|sig|token", re.IGNORECASE)
"""In the name of a header or parameter: its value is one."""
_HARMLESS: Final = frozenset(("accept", "accept-encoding", "accept-language", "cache-control", "origin", "user-agent"))
_SCHEMES: Final = frozenset(("basic", "bearer", "token", "apikey"))
_FILLED_IN: Final = re.compile(r"(?:[\w.-]+=)?(?:\$\{\w+\}|\{user\})+[;,]?")
"""A word of a header of which only the name, if any, is written out."""
_BETWEEN: Final = re.compile(r"\$?\{\w+\}|[\s=;,]+")
_USERINFO: Final = re.compile(r"(?<=://)[^/?#\s]*@")
_PARAMETER: Final = re.compile(r"(?<=[?&])([^=&#\s]*)=([^&#\s]*)")
_URL: Final = re.compile(r"(\w+://)(?:[^/?#\s'\"]*@)?([^?#\s'\"]*)(?:[?#][^\s'\"]*)?")


def header_to_show(text: str) -> str:
    """`NAME: VALUE` without what may be a secret."""
    name, _, value = text.partition(":")
    if name.strip().lower() in _HARMLESS or ("{user}" in value and not _SECRET.search(name)):
        return text
    words = value.split()
    shown = [
        word if _FILLED_IN.fullmatch(word) or (place == 0 and len(words) > 1 and word.lower() in _SCHEMES) else HIDDEN
        for place, word in enumerate(words)
    ]
    return f"{name}: {' '.join(shown)}" if value else HIDDEN


def target_to_show(text: str) -> str:
    """What `--target` says, without passwords and parameters that may be secrets."""

    def of(match: re.Match[str]) -> str:
        name, value = match.groups()
        return match[0] if _FILLED_IN.fullmatch(value) or not _SECRET.search(name) else f"{name}={HIDDEN}"

    return _PARAMETER.sub(of, _USERINFO.sub(f"{HIDDEN}@", text))


def secrets_of_header(name: str, value: str) -> dict[str, str]:
    """What of a header is to be hidden (`goldenpath.lab.hiding`): its variables, and what `header_to_show` hides."""
    shown = header_to_show(f"{name}: {value}").partition(":")[2].split()
    words = value.split()
    hidden = [word for word, instead in zip(words, shown, strict=True) if instead == HIDDEN] if shown != words else []
    return variables_in(value) | {part: HIDDEN for word in hidden for part in _written_out(word)}


def secrets_of_url(url: str) -> dict[str, str]:
    """What of a URL is to be hidden: its variables, its password, and parameters that may be secrets."""
    parts = urlsplit(url)
    values = [parts.password or ""]
    values += [value for name, value in _PARAMETER.findall(url) if _SECRET.search(name)]
    literal = {part: HIDDEN for value in values for part in _written_out(unquote(value))}
    return literal | variables_in(url)


def secrets_of_json(value: Any, *, secret: bool = False) -> dict[str, str]:
    """What of a message is to be hidden: its variables, and what stands under a name of a secret."""
    match value:
        case str():
            return (dict.fromkeys(_written_out(value), HIDDEN) if secret else {}) | variables_in(value)
        case dict():
            return _all(secrets_of_json(item, secret=bool(_SECRET.search(name))) for name, item in value.items())
        case list():
            return _all(secrets_of_json(item, secret=secret) for item in value)
    return {}


def texts_but_tokens(value: Any) -> Iterator[str]:
    """The texts and names in an answer, but for the texts that are tokens by their names."""
    match value:
        case str():
            yield value
        case dict():
            for name, item in value.items():
                yield name
                if not (isinstance(item, str) and "token" in name.lower()):
                    yield from texts_but_tokens(item)
        case list():
            for item in value:
                yield from texts_but_tokens(item)


def _all(found: Iterable[dict[str, str]]) -> dict[str, str]:
    return {value: shown for each in found for value, shown in each.items()}


def _written_out(text: str) -> list[str]:
    """The parts of a text that stand there themselves."""
    return [part for part in _BETWEEN.split(text) if part]


def command_to_show(words: Iterable[str], *, headers: Iterable[str], target: str | None) -> list[str]:
    """A command line with what its options say as it may be shown."""
    shown: Mapping[str, str] = {text: header_to_show(text) for text in headers} | (
        {target: target_to_show(target)} if target else {}
    )
    return [_replaced(word, shown) for word in words]


def _replaced(word: str, shown: Mapping[str, str]) -> str:
    for text, instead in shown.items():
        word = word.replace(text, instead)
    return word


def without_parameters(text: str) -> str:
    """A text with every URL in it cut before its parameters, and without a password: there a user's token may be."""
    return _URL.sub(r"\1\2", text)
