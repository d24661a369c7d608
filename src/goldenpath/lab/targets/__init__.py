"""Adapters of systems under test, by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from goldenpath.lab.hiding import HIDDEN
from goldenpath.lab.target import Target
from goldenpath.lab.targets import agui, goldenpath, memory, websocket
from goldenpath.lab.targets.placeholders import placeholders, with_variables
from goldenpath.lab.targets.secrets import header_to_show, secrets_of_header, secrets_of_url, target_to_show


class TargetSpec(msgspec.Struct, frozen=True):
    """Which adapter, with which options."""

    kind: str
    options: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    """Values among the options that nobody is to see, and what is shown instead of each."""


TARGETS: Final[Mapping[str, Callable[[dict[str, Any]], Target]]] = {
    "agui": lambda options: agui.AguiTarget(msgspec.convert(options, agui.Options)),
    "goldenpath": lambda options: goldenpath.GoldenpathTarget(msgspec.convert(options, goldenpath.Options)),
    "memory": lambda options: memory.MemoryTarget(msgspec.convert(options, memory.Options)),
    "websocket": lambda options: websocket.WebsocketTarget(msgspec.convert(options, websocket.Options)),
}

SIMULATION_KEYS: Final = ("GOLDENPATH_SIMULATION_KEY", "E2E_OAUTH_SIMULATION_KEY")
"""The variables that may hold the simulation key of a goldenpath server, as the server itself reads them."""
FORMS: Final = "http://HOST (a goldenpath server), agui+http://HOST/PATH or ws+FILE.toml"


def parse_target(text: str | None, *, headers: Sequence[str] = (), echo: bool = False) -> TargetSpec | None:
    """What `--target` says; None for a server of our own.

    `${NAME}` in a URL is a variable of the environment. `headers`: `Name: value` each, for AG-UI servers; `{user}` in
    a value becomes the user's number and `${NAME}` a variable. `echo`: its answer to a text is the same text, which a
    goldenpath server's `echo` agent does anyway, and a mapping file says itself. Raises ValueError, in one line that
    says what there is, without what may be a secret.
    """
    kind, _, rest = (text or "").partition("+")
    if kind != "agui" and (headers or echo):
        raise ValueError(f"--header and --echo are for agui+http:// targets, not for {text or 'a server of our own'}")
    if text is None:
        return None
    if kind == "agui":
        given = dict(_header(header) for header in headers)
        secrets = secrets_of_url(rest)
        for header in headers:
            name, _, value = header.partition(":")
            secrets |= secrets_of_header(name.strip(), value.strip())
        return TargetSpec("agui", {"url": _checked(rest), "headers": given, "echo": echo}, secrets)
    if kind == "ws":
        if rest.startswith(("ws://", "wss://")) or not rest:
            raise ValueError(f"{text!r}: a WebSocket chat is described by a mapping file, as in ws+chat.toml")
        return TargetSpec("websocket", *websocket.load(Path(rest)))
    if text.startswith(("ws://", "wss://")):
        raise ValueError(f"{text!r}: a WebSocket chat is described by a mapping file, as in ws+chat.toml")
    if text.startswith(("http://", "https://")):
        key = next((os.environ[name] for name in SIMULATION_KEYS if os.environ.get(name)), "")
        secrets = secrets_of_url(text) | ({key: HIDDEN} if key else {})
        return TargetSpec("goldenpath", {"url": _checked(text), "simulation_key": key}, secrets)
    raise ValueError(f"{text!r} is no target; there are {FORMS}")


def _checked(given: str) -> str:
    """The URL, with its variables filled in, where it is one of HTTP with a host and, if any, a port."""
    url = with_variables(given, "--target")
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port):
            return url
    except ValueError:
        pass
    raise ValueError(f"--target: {target_to_show(given)!r} is no http:// or https:// URL with a host")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip().isascii() or not name.strip():
        raise ValueError(f"--header {header_to_show(text)!r}: expected 'Name: value'")
    where = f"--header {name.strip()}"
    value = with_variables(value.strip(), where)
    placeholders(value, where, {"user"})
    return name.strip(), value


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
    options = {**spec.options, "url": url._replace(netloc=f"{host}:{port}").geturl()}
    return msgspec.structs.replace(spec, options=options)


def make_target(spec: TargetSpec) -> Target:
    """The adapter, not opened yet; on the running event loop. Raises KeyError for an unknown kind,
    `msgspec.ValidationError` for wrong options."""
    return TARGETS[spec.kind](spec.options)
