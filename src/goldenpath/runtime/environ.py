"""Settings from the environment, and whether they can be. Nothing else reads the environment."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from typing import get_args
from urllib.parse import urlsplit

import msgspec

from goldenpath.runtime.forwarded import TrustedProxies
from goldenpath.runtime.settings import Settings, SettingsError

_ALIASES = {"ENVIRONMENT": "environment", "E2E_OAUTH_SIMULATION_KEY": "simulation_key"}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_SECRET_EXAMPLE = "e.g. as GOLDENPATH_SECRET=$(openssl rand -base64 32), made once and kept"  # noqa: S105 - no secret
_TYPES = msgspec.structs.fields(Settings)
_MAY_BE_ZERO = frozenset(
    {
        "port", "max_waiting", "cancel_grace", "drain_timeout", "commit_interval", "cache_bytes", "retention_age",
        "retention_bytes",
    }
)  # fmt: skip


def load(environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Settings from `environ` (default: the process's environment), with `overrides` on top; None overrides nothing.

    Structured values (`tiers`, `issuers`, `allowed_origins`) are JSON. Raises `SettingsError`, which names the
    variable, for a wrong value and for an unknown `GOLDENPATH_` variable.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {}
    known = {field.name: field for field in _TYPES}
    for variable, text in environ.items():
        if variable.startswith("GOLDENPATH_"):
            name = variable.removeprefix("GOLDENPATH_").lower()
            if name not in known:
                raise SettingsError(f"{variable} is not a setting of goldenpath{_meant(name)}")
        elif variable in _ALIASES:
            name = _ALIASES[variable]
            if f"GOLDENPATH_{name.upper()}" in environ:
                continue
        else:
            continue
        values[name] = _convert(variable, text, known[name].type)
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        settings = msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(str(error)) from None
    return _validated(settings)


def override(settings: Settings, **overrides: object) -> Settings:
    """`settings` with `overrides` on top; None overrides nothing. Raises `SettingsError`."""
    given = {name: value for name, value in overrides.items() if value is not None}
    return _validated(msgspec.structs.replace(settings, **given))


def _meant(name: str) -> str:
    """Asks back where a setting has nearly this name; else nothing."""
    near = difflib.get_close_matches(name, Settings.__struct_fields__, n=1)
    return f"; did you mean GOLDENPATH_{near[0].upper()}?" if near else ""


def _convert(variable: str, text: str, kind: object) -> object:
    if kind is str or kind == (str | None):
        return text
    if get_args(kind) and all(isinstance(choice, str) for choice in get_args(kind)):
        if text not in get_args(kind):
            raise SettingsError(f"{variable} is {text!r}; allowed are {', '.join(get_args(kind))}")
        return text
    if kind in (bool, bool | None):
        if text.lower() not in _BOOLEANS:
            raise SettingsError(f"{variable} is {text!r}; allowed are {', '.join(_BOOLEANS)}")
        return _BOOLEANS[text.lower()]
    try:
        if kind in (int, float, int | None, float | None):
            return msgspec.convert(text, kind, strict=False)
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise SettingsError(f"{variable} is {text!r}: {error}") from None


def _validated(settings: Settings) -> Settings:
    if not settings.is_open and not settings.secret:
        raise SettingsError(
            f"GOLDENPATH_SECRET must be set when ENVIRONMENT is {settings.environment}, {_SECRET_EXAMPLE}"
        )
    if settings.secret is not None and len(settings.secret.encode()) < 32:
        raise SettingsError(f"GOLDENPATH_SECRET must have at least 32 bytes, {_SECRET_EXAMPLE}")
    try:
        TrustedProxies(settings.trusted_proxies)
    except ValueError as error:
        raise SettingsError(f"GOLDENPATH_TRUSTED_PROXIES: {error}") from None
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingsError("GOLDENPATH_TLS_CERT and GOLDENPATH_TLS_KEY must be set together")
    if (settings.openai_base_url is None) != (settings.openai_model is None):
        raise SettingsError("GOLDENPATH_OPENAI_BASE_URL and GOLDENPATH_OPENAI_MODEL must be set together")
    if settings.openai_base_url is not None and not _is_http(settings.openai_base_url):
        raise SettingsError("GOLDENPATH_OPENAI_BASE_URL must be an http or https URL, e.g. http://127.0.0.1:11434/v1")
    for issuer in settings.issuers:
        if not _is_http(issuer.jwks_url):
            raise SettingsError(
                f"GOLDENPATH_ISSUERS: the jwks_url of {issuer.issuer} must be an http or https URL,"
                " e.g. https://id.example/.well-known/jwks.json"
            )
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            _check_number(name, value)
    for tier, limits in settings.tiers.items():
        if limits.max_running < 1 or limits.max_queued < 0:
            raise SettingsError(f"GOLDENPATH_TIERS: {tier} must have max_running above 0 and max_queued 0 or above")
    return settings


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _check_number(name: str, value: float) -> None:
    variable = f"GOLDENPATH_{name.upper()}"
    if not math.isfinite(value):
        raise SettingsError(f"{variable} must be a finite number")
    if value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
        raise SettingsError(f"{variable} must be {'0 or ' if name in _MAY_BE_ZERO else ''}above 0")
    if name == "port" and value > 65535:
        raise SettingsError(f"{variable} must be at most 65535")
