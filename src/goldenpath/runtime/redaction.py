"""What is hidden where settings are shown: secrets, and those that lie within URLs."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

HIDDEN: Final = "***"

_login = re.compile(r"(?<=://)[^/?#\s\"'@]*@")
_query = re.compile(r"(?i)([?&](?:[\w.-]*(?:key|token|secret|password|signature))=)[^&#\s\"']+")


def without_logins(text: str) -> str:
    """`text` with the user and password of every URL in it hidden, and with what a query calls a key or the like."""
    return _query.sub(rf"\1{HIDDEN}", _login.sub(f"{HIDDEN}@", text))


def redact(values: dict[str, Any], secrets: Collection[str]) -> dict[str, Any]:
    """`values`, as JSON has them, with those named in `secrets` hidden, and in every text what is secret in URLs.
    None stays None: that nothing is set is no secret."""
    return {
        name: HIDDEN if name in secrets and value is not None else _hide(value, secrets)
        for name, value in values.items()
    }


def _hide(value: Any, secrets: Collection[str]) -> Any:
    if isinstance(value, str):
        return without_logins(value)
    if isinstance(value, dict):
        return redact(value, secrets)
    if isinstance(value, list | tuple):
        return [_hide(each, secrets) for each in value]
    return value
