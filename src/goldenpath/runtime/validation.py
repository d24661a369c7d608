"""Whether settings can be: each for itself, and together."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from goldenpath.runtime.forwarded import TrustedProxies
from goldenpath.runtime.layers import Origin
from goldenpath.runtime.settings import Rate, Settings, SettingsError

_SECRET_EXAMPLE = "e.g. as GOLDENPATH_SECRET=$(openssl rand -base64 32), made once and kept"  # noqa: S105 - no secret
_MAY_BE_ZERO: Final = frozenset(
    {
        "port", "max_waiting", "cancel_grace", "drain_timeout", "commit_interval", "cache_bytes", "retention_age",
        "retention_bytes", "stall_bound",
    }
)  # fmt: skip
_LARGEST: Final = (1 << 63) - 1
"""What a whole number may be at most; larger ones are no float either."""


def validate(settings: Settings, origins: Mapping[str, Origin]) -> None:
    """Raises `SettingsError` for the first thing that cannot be; it names who set it, as `origins` says."""

    def named(name: str) -> str:
        return origins[name].naming(name)

    if not settings.is_open and not settings.secret:
        raise SettingsError(
            f"{named('secret')} must be set when {_environment(origins['environment'])} is {settings.environment},"
            f" {_SECRET_EXAMPLE}"
        )
    if settings.secret is not None and len(settings.secret.encode()) < 32:
        raise SettingsError(f"{named('secret')} must have at least 32 bytes, {_SECRET_EXAMPLE}")
    try:
        TrustedProxies(settings.trusted_proxies)
    except ValueError as error:
        raise SettingsError(f"{named('trusted_proxies')}: {error}") from None
    for first, second in (("tls_cert", "tls_key"), ("openai_base_url", "openai_model")):
        if (getattr(settings, first) is None) != (getattr(settings, second) is None):
            raise SettingsError(f"{named(first)} and {named(second)} must be set together")
    if settings.openai_base_url is not None and not _is_http(settings.openai_base_url):
        raise SettingsError(f"{named('openai_base_url')} must be an http or https URL, e.g. http://127.0.0.1:11434/v1")
    if settings.deploy_hook and not _is_hook(settings.deploy_hook):
        raise SettingsError(f"{named('deploy_hook')} must be an http or https URL, or a command line as a shell has it")
    for issuer in settings.issuers:
        if not _is_http(issuer.jwks_url):
            raise SettingsError(
                f"{named('issuers')}: the jwks_url of {issuer.issuer} must be an http or https URL,"
                " e.g. https://id.example/.well-known/jwks.json"
            )
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            _check_number(named(name), name, value)
    for tier, limits in settings.tiers.items():
        if limits.max_running < 1 or limits.max_queued < 0:
            raise SettingsError(f"{named('tiers')}: {tier} must have max_running above 0 and max_queued 0 or above")
        _check_rates(f"{named('tiers')}: {tier}", limits)
    _check_rates(named("server_rates"), settings.server_rates)
    _check_rate(named("login_rate"), settings.login_rate)
    _check_rate(named("login_failure_rate"), settings.login_failure_rate)
    _check_hierarchy(settings, origins)


def _check_hierarchy(settings: Settings, origins: Mapping[str, Origin]) -> None:
    def unset(name: str) -> bool:
        return origins[name].kind in ("profile", "default")

    pairs = [(rule, f"{rule.parent}_timeout", f"{rule.child}_timeout") for rule in settings.timeouts.broken()]
    # What somebody set is to be told of, rather than what gave way to it.
    for rule, parent, child in sorted(pairs, key=lambda pair: unset(pair[1]) + unset(pair[2])):
        first, second, word = (parent, child, "above") if unset(child) else (child, parent, "below")
        if not rule.strict:
            word = {"below": "at most", "above": "at least"}[word]
        raise SettingsError(
            f"{origins[first].naming(first)} is {getattr(settings, first):g} s; it must be {word} {second},"
            f" {getattr(settings, second):g} s ({origins[second]})"
        )


def _check_rates(where: str, limits: msgspec.Struct) -> None:
    for name in limits.__struct_fields__:
        value = getattr(limits, name)
        if isinstance(value, Rate):
            _check_rate(f"{where}: {name}", value)


def _check_rate(where: str, rate: Rate | None) -> None:
    if rate is not None and not all(0 < value < math.inf for value in (rate.per_second, rate.burst)):
        raise SettingsError(f"{where} must have per_second and burst above 0")


def _environment(origin: Origin) -> str:
    return origin.name if origin.kind in ("file", "variable", "option") else "ENVIRONMENT"


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _is_hook(target: str) -> bool:
    """Whether it can be called. That something answers there is not looked at: it may be there only when needed."""
    if target.startswith(("http://", "https://")):
        return _is_http(target)
    try:
        return bool(shlex.split(target))
    except ValueError:
        return False


def _check_number(named: str, name: str, value: float) -> None:
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise SettingsError(f"{named} must be at most {_LARGEST}")
    if not math.isfinite(value):
        raise SettingsError(f"{named} must be a finite number")
    if value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
        raise SettingsError(f"{named} must be {'0 or ' if name in _MAY_BE_ZERO else ''}above 0")
    if name == "port" and value > 65535:
        raise SettingsError(f"{named} must be at most 65535")
