"""What was set, by whom: the layers that settings are made of, each value with where it came from.

A layer is what one source gives, by setting. A later layer wins over an earlier one: defaults, the environment's
profile, the file, the environment's variables, the command line.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from goldenpath.runtime import toml
from goldenpath.runtime.redaction import HIDDEN, without_logins
from goldenpath.runtime.settings import SECRETS, Environment, Settings, SettingsError
from goldenpath.wire.allowed import told

PREFIX: Final = "GOLDENPATH_"
CONFIG: Final = "GOLDENPATH_CONFIG"
"""Names the file."""
OTHERS: Final = frozenset({CONFIG, "GOLDENPATH_URL", "GOLDENPATH_TOKEN"})
"""What has the prefix and is no setting: the file, and whom commands for operators ask, by what right."""
LOCAL_DEVELOPMENT: Final = "LOCAL_DEVELOPMENT"

ALIASES: Final = {
    "ENVIRONMENT": "environment",
    "E2E_OAUTH_SIMULATION_KEY": "simulation_key",
    "FACTORY_TIMEOUT_SECONDS": "factory_timeout",
    "WEBSOCKET_RECV_TIMEOUT": "websocket_recv_timeout",
    "AGENT_EXECUTION_TIMEOUT": "agent_execution_timeout",
    "DISABLE_TIMEOUT_OPTIMIZATIONS": "legacy_timeouts",
    "FORCE_LEGACY_TIMEOUTS": "legacy_timeouts",
}
"""Other variables that are read where the setting's own is not set."""

ENVIRONMENT_NAMES: Final[dict[str, Environment]] = {
    **{name: name for name in get_args(Environment)},
    "development": "local",
}
BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_SHOWN: Final = 80
"""Characters of a wrong value that are repeated."""

FIELDS: Final = {field.name: field for field in msgspec.structs.fields(Settings)}


class Origin(msgspec.Struct, frozen=True):
    """Where a value came from. `name` is the profile's environment, the file and key, the variable, the option."""

    kind: Literal["default", "profile", "file", "variable", "option", "code"]
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()

    def naming(self, setting: str) -> str:
        """What to call `setting` to somebody who is to correct it."""
        return self.name if self.kind in ("file", "variable", "option") else f"{PREFIX}{setting.upper()}"


class Given(NamedTuple):
    """A value and who gave it."""

    value: object
    origin: Origin


Layer = Mapping[str, Given]


def of_file(path: str) -> Layer:
    """The layer of a TOML file, whose keys are the settings' names. Raises `SettingsError`, which names file and
    key."""
    try:
        content = toml.parse(Path(path).read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{path} is no TOML: {error}") from None
    layer = {}
    for name, value in content.items():
        what = f"{path}: {name}"
        if name not in FIELDS:
            raise SettingsError(f"{what} is not a setting of goldenpath{_meant(name, FIELDS)}")
        layer[name] = Given(_of_value(what, name, value), Origin("file", what))
    return layer


def of_environ(environ: Mapping[str, str]) -> Layer:
    """The layer of the environment's variables. A setting's own wins over its aliases; of two aliases of a switch, the
    one that is on. Raises `SettingsError`, which names the variable."""
    layer: dict[str, Given] = {}
    for variable, name in ALIASES.items():
        if variable in environ and f"{PREFIX}{name.upper()}" not in environ:
            value = _of_text(variable, name, environ[variable])
            if name not in layer or value is True:
                layer[name] = Given(value, Origin("variable", variable))
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable in OTHERS:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in FIELDS:
            meant = _meant(name, FIELDS, lambda near: f"{PREFIX}{near.upper()}")
            raise SettingsError(f"{variable} is not a setting of goldenpath{meant}")
        layer[name] = Given(_of_text(variable, name, text), Origin("variable", variable))
    return layer


def of_options(options: Mapping[str, object], assignments: Sequence[str] = ()) -> Layer:
    """The layer of the command line: `--port 1` is `{"port": 1}`, None is not given; each assignment is the
    `NAME=VALUE` of a `--set`. Raises `SettingsError`, which names the option."""
    layer = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise SettingsError(f"--set {assignment!r} is not of the form NAME=VALUE")
        if name not in FIELDS:
            raise SettingsError(f"--set {name} is not a setting of goldenpath{_meant(name, FIELDS)}")
        layer[name] = Given(_of_text(f"--set {name}", name, text), Origin("option", f"--set {name}"))
    for name, value in options.items():
        if value is not None:
            if name not in FIELDS:
                raise SettingsError(f"{name} is not a setting of goldenpath{_meant(name, FIELDS)}")
            option = f"--{name.replace('_', '-')}"
            layer[name] = Given(_of_value(option, name, value), Origin("option", option))
    return layer


def merged(layers: Iterable[Layer], environ: Mapping[str, str]) -> dict[str, Given]:
    """What was set in all, the later layers over the earlier ones, and what `LOCAL_DEVELOPMENT` says of the
    environment: it is local, unless our own variable or an option says otherwise. Raises `SettingsError` where it would
    make staging or production local."""
    given: dict[str, Given] = {}
    for layer in layers:
        given.update(layer)
    text = environ.get(LOCAL_DEVELOPMENT)
    if text is None or not _boolean(LOCAL_DEVELOPMENT, text):
        return given
    chosen = given.get("environment")
    if chosen is None:
        given["environment"] = Given("local", Origin("variable", LOCAL_DEVELOPMENT))
    elif chosen.value in ("staging", "production"):
        named = chosen.origin.naming("environment")
        raise SettingsError(f"{LOCAL_DEVELOPMENT} is {text!r}, but {named} is {chosen.value!r}: unset one of them")
    elif chosen.origin.kind == "file" or chosen.origin.name == "ENVIRONMENT":
        given["environment"] = Given("local", Origin("variable", LOCAL_DEVELOPMENT))
    return given


def _of_text(what: str, name: str, text: str) -> object:
    """The value of a setting as a variable has it: structured ones are JSON."""
    kind = FIELDS[name].type
    if kind is str or kind == (str | None):
        return text
    if kind in (bool, bool | None):
        return _boolean(what, text)
    if _choices(name):
        return _choice(what, name, text)
    try:
        if kind in (int, float, int | None, float | None):
            return msgspec.convert(text, kind, strict=False)
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{what} is {_repeated(text)}: {told(error, kind)}") from None
    except msgspec.MsgspecError as error:
        words = [word.strip() for word in text.split(",")]
        meant = f"; did you mean {json.dumps(words)}?" if kind == tuple[str, ...] and "[" not in text else ""
        raise SettingsError(f"{what} is {_repeated(text)}: {error}{meant}") from None


def _of_value(what: str, name: str, value: object) -> object:
    """The same as TOML and code have it."""
    if isinstance(value, str) and _choices(name):
        return _choice(what, name, value)
    try:
        return msgspec.convert(value, FIELDS[name].type)
    except msgspec.ValidationError as error:
        shown = HIDDEN if name in SECRETS else _repeated(value)
        raise SettingsError(f"{what} is {shown}: {error}") from None


def _boolean(what: str, text: str) -> bool:
    if text.lower() not in BOOLEANS:
        raise SettingsError(f"{what} is {_repeated(text)}; allowed are {', '.join(BOOLEANS)}")
    return BOOLEANS[text.lower()]


def _choices(name: str) -> dict[str, str]:
    """What may be chosen for a setting, and what is then its value; empty where it is no choice."""
    if name == "environment":
        return dict(ENVIRONMENT_NAMES)
    words = get_args(FIELDS[name].type)
    return {word: word for word in words} if all(isinstance(word, str) for word in words) else {}


def _choice(what: str, name: str, text: str) -> str:
    choices = _choices(name)
    if text not in choices:
        raise SettingsError(f"{what} is {_repeated(text)}; allowed are {', '.join(choices)}{_meant(text, choices)}")
    return choices[text]


def _repeated(value: Any) -> str:
    try:
        text = without_logins(repr(value))
    except (RecursionError, ValueError):  # nested too deeply, or a number of too many digits
        return "too large to be shown"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _meant(name: str, known: Iterable[str], spelt: Any = str) -> str:
    """Asks back where something that is known has nearly this name; else nothing."""
    known = list(known)
    near = difflib.get_close_matches(name.lower(), known, n=1)
    if not near and len(name) > 2:
        near = [each for each in known if each.startswith(name.lower())]
    return f"; did you mean {spelt(near[0])}?" if near else ""
