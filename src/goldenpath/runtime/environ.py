"""Settings from every layer, and whether they can be. Nothing else reads the process's environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from goldenpath.runtime.alerts.rules import Rules, load_rules
from goldenpath.runtime.layers import CONFIG, FIELDS, Origin, merged, of_environ, of_file, of_options
from goldenpath.runtime.settings import BY_ENVIRONMENT, Settings, SettingsError
from goldenpath.runtime.validation import validate

FITTED: Final = "fitted to what was set"
"""Of a time-out that gave way to others of the hierarchy."""


class Configuration(msgspec.Struct, frozen=True):
    """Settings, and where each came from."""

    settings: Settings
    origins: dict[str, Origin]


def configure(
    environ: Mapping[str, str] | None = None,
    *,
    config: str | None = None,
    assignments: Sequence[str] = (),
    **options: object,
) -> Configuration:
    """Settings from `environ` (None: the process's environment), the file that it or `config` names, and the command
    line: `options`, where None is not given, and `assignments` of the form NAME=VALUE.

    Raises `SettingsError`: one line that names the file and key, the variable or the option that is wrong or unknown.
    """
    environ = os.environ if environ is None else environ
    path = config or environ.get(CONFIG)
    layers = [of_file(path) if path else {}, of_environ(environ), of_options(options, assignments)]
    given = merged(layers, environ)
    values = {name: each.value for name, each in given.items()}
    settings = Settings(**values)  # type: ignore[arg-type]
    origins = {name: given[name].origin if name in given else _unset(name, settings) for name in FIELDS}
    validate(settings, origins)
    return Configuration(settings, origins)


def load(
    environ: Mapping[str, str] | None = None,
    *,
    config: str | None = None,
    assignments: Sequence[str] = (),
    **options: object,
) -> Settings:
    """The settings of `configure`."""
    return configure(environ, config=config, assignments=assignments, **options).settings


def alert_rules(settings: Settings, environ: Mapping[str, str] | None = None) -> Rules:
    """The rules of alerts that `settings` name, with the variables of `environ` (None: the process's environment) that
    receivers are reached by. Raises `AlertsError`, a `SettingsError`."""
    file = None if settings.alerts_file is None else Path(settings.alerts_file)
    return load_rules(file, os.environ if environ is None else environ)


def override(
    settings: Settings, *, config: str | None = None, assignments: Sequence[str] = (), **options: object
) -> Settings:
    """`settings`, made in code, with the command line on top. Raises `SettingsError`, also for a file: such an app
    reads none."""
    if config is not None:
        raise SettingsError(f"--config {config}: the app is made with settings of its own, and reads no file")
    given = of_options(options, assignments)
    values = {name: each.value for name, each in given.items()}
    changed = msgspec.structs.replace(settings, **values)
    validate(changed, {name: given[name].origin if name in given else Origin("code") for name in FIELDS})
    return changed


def _unset(name: str, settings: Settings) -> Origin:
    """Where the value of a setting came from that nobody set."""
    profile = BY_ENVIRONMENT.get(name)
    if profile is None:
        return Origin("default")
    fits = getattr(settings, name) == getattr(profile, settings.environment)
    return Origin("profile", settings.environment if fits else f"{settings.environment}, {FITTED}")
