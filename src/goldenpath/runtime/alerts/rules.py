"""The rules of alerts and who is told: what ships, and a file of the operator's over it.

A file is TOML or JSON: `{"rules": {NAME: {KEY: VALUE}}, "receivers": {NAME: {KEY: VALUE}}}`. For a rule that there is,
it changes the keys that it gives; a new one needs `signal` and `above` or `below`. `${NAME}` in what a receiver is
reached by is a variable of the environment, so that no secret has to stand in the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from goldenpath.runtime import toml
from goldenpath.runtime.settings import SettingsError
from goldenpath.runtime.signals import GAUGES, MADE, UnknownSignal, check
from goldenpath.wire.allowed import told

T = TypeVar("T")

DEFAULTS: Final = "rules.toml"
MAX_RULES: Final = 200
MAX_RECEIVERS: Final = 20

Severity = Literal["info", "warning", "critical"]
Action = Literal["page", "chat", "rollback"]
"""page, chat: the receivers that take it are told. rollback: the server takes the last change back."""

_name = re.compile(r"[a-z0-9][a-z0-9_.-]{0,79}")
_header = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_variable = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class AlertsError(SettingsError):
    """A file of alerts that cannot be taken; the message says in one line where and why."""


class AlertRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: a signal beyond a bound for so long is an alert. Durations are seconds."""

    signal: str
    """What is looked at: a name of docs/signals.md."""
    above: float | None = None
    """It is wrong above this."""
    below: float | None = None
    """It is wrong below this."""
    min_samples: int = 1
    """Of fewer events the signal counts as not measured: one failure of one attempt is no rate."""
    hold: float = msgspec.field(default=60.0, name="for")
    """It fires when it has been wrong for so long at every look."""
    keep_firing_for: float = 120.0
    """It ends when it has not been wrong for so long, so that a signal around its bound does not make it flap."""
    repeat_every: float = 4 * 3600.0
    """Who is told is told again after so long while it fires; 0: only once."""
    severity: Severity = "warning"
    actions: tuple[Action, ...] = ("chat",)
    """What is done when it fires. Who was told is also told when it ends."""
    summary: str = ""
    """What it means, for people."""
    off: bool = False
    """Whether it is not looked at."""

    def is_wrong(self, value: float) -> bool:
        """Whether `value` is beyond the bound."""
        return (self.above is not None and value > self.above) or (self.below is not None and value < self.below)

    @property
    def bound(self) -> str:
        """The bound in words, e.g. `> 10000`."""
        return " or ".join(
            f"{sign} {value:g}" for sign, value in ((">", self.above), ("<", self.below)) if value is not None
        )


class Receiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who is told, by a webhook or by apprise."""

    takes: tuple[Literal["page", "chat"], ...]
    """Of which actions."""
    webhook: str | None = None
    """Where to POST what happened, in the JSON of Prometheus Alertmanager's webhooks (version 4)."""
    headers: dict[str, str] = {}
    """For the webhook."""
    apprise: str | None = None
    """One of apprise's URLs, e.g. `slack://...`. Needs `pip install goldenpath[alerts]`."""


class Rules(msgspec.Struct, frozen=True):
    """Everything that a server's alerts consist of."""

    rules: dict[str, AlertRule]
    receivers: dict[str, Receiver]

    @property
    def untaken(self) -> list[Action]:
        """Actions by which somebody is to be told, and which no receiver takes."""
        wanted = {action for rule in self.rules.values() if not rule.off for action in rule.actions}
        taken = {action for receiver in self.receivers.values() for action in receiver.takes}
        return sorted(wanted - taken - {"rollback"})


def default_rules() -> Rules:
    """What ships: the rules, and nobody who is told."""
    content = toml.parse(files("goldenpath.runtime.alerts").joinpath(DEFAULTS).read_text("utf-8"))
    return _laid_over(Rules({}, {}), DEFAULTS, content, {})


def load_rules(file: Path | None, environ: Mapping[str, str]) -> Rules:
    """The default rules with what `file` changes; None: just these. Raises `AlertsError`."""
    defaults = default_rules()
    if file is None:
        return defaults
    return _laid_over(defaults, str(file), _read(file), environ)


def _read(file: Path) -> Any:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise AlertsError(f"{file}: cannot be read: {reason}") from None
    try:
        return msgspec.json.decode(text) if file.suffix == ".json" else toml.parse(text)
    except RecursionError:
        raise AlertsError(f"{file}: not JSON: {toml.NESTED}") from None
    except ValueError as error:
        raise AlertsError(f"{file}: not {'JSON' if file.suffix == '.json' else 'TOML'}: {error}") from None


def _laid_over(base: Rules, file: str, content: Any, environ: Mapping[str, str]) -> Rules:
    if not isinstance(content, dict):
        raise AlertsError(f"{file}: there has to be a table `rules` or `receivers`")
    for key in content:
        if key not in ("rules", "receivers"):
            raise AlertsError(f"{file}: unknown key `{key}`; there are `rules` and `receivers`")
    rules = dict(base.rules)
    for name, given in _table(file, content, "rules"):
        where = f"{file}: rules.{name}"
        known = {} if name not in rules else msgspec.to_builtins(rules[name])
        if not known and "signal" not in given:
            near = get_close_matches(name, rules, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise AlertsError(f"{where}: no rule of this name ships, and a new one needs a `signal`{hint}")
        rule = _converted(where, {**known, **given}, AlertRule)
        _check(where, rule)
        rules[name] = rule
    receivers = {}
    for name, given in _table(file, content, "receivers"):
        where = f"{file}: receivers.{name}"
        receivers[name] = _reachable(where, _converted(where, given, Receiver), environ)
    if len(rules) > MAX_RULES or len(receivers) > MAX_RECEIVERS:
        raise AlertsError(f"{file}: there may be {MAX_RULES} rules and {MAX_RECEIVERS} receivers")
    return Rules(rules, receivers)


def _table(file: str, content: dict[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
    table = content.get(key, {})
    if not isinstance(table, dict):
        raise AlertsError(f"{file}: `{key}` has to be a table")
    for name, given in table.items():
        if not _name.fullmatch(name):
            raise AlertsError(
                f"{file}: {key}.{name}: a name has only lower-case letters, digits, `_`, `.` and `-`, 80 at most"
            )
        if not isinstance(given, dict):
            raise AlertsError(f"{file}: {key}.{name} has to be a table")
    return list(table.items())


def _converted(where: str, given: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise AlertsError(f"{where}: {told(error, kind)}") from None


def _check(where: str, rule: AlertRule) -> None:
    try:
        check(rule.signal)
    except UnknownSignal as error:
        near = get_close_matches(rule.signal, [*MADE, *GAUGES], n=1)
        raise AlertsError(f"{where}: {error}" + (f"; did you mean `{near[0]}`?" if near else "")) from None
    bounds = [bound for bound in (rule.above, rule.below) if bound is not None]
    if not bounds:
        raise AlertsError(f"{where}: it needs `above` or `below`")
    if not all(map(math.isfinite, bounds)):
        raise AlertsError(f"{where}: `above` and `below` have to be finite")
    if rule.min_samples < 1:
        raise AlertsError(f"{where}: `min_samples` has to be 1 or more")
    durations = {"for": rule.hold, "keep_firing_for": rule.keep_firing_for, "repeat_every": rule.repeat_every}
    for key, seconds in durations.items():
        if not (math.isfinite(seconds) and seconds >= 0):
            raise AlertsError(f"{where}: `{key}` has to be 0 or more seconds")


def _reachable(where: str, receiver: Receiver, environ: Mapping[str, str]) -> Receiver:
    if (receiver.webhook is None) == (receiver.apprise is None):
        raise AlertsError(f"{where}: it needs either `webhook` or `apprise`")
    if not receiver.takes:
        raise AlertsError(f'{where}: `takes` has to name what it is for, e.g. ["page"]')

    def filled(text: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name not in environ:
                raise AlertsError(f"{where}: the environment variable {name} is not set")
            return environ[name]

        return _variable.sub(value, text)

    webhook = None if receiver.webhook is None else filled(receiver.webhook)
    if webhook is not None and not _is_http(webhook):
        raise AlertsError(f"{where}: `webhook` has to be an http or https URL")
    headers = {name: filled(text) for name, text in receiver.headers.items()}
    for name, text in headers.items():  # else each message would be given up, or tried again in vain
        if not _header.fullmatch(name):
            raise AlertsError(f"{where}: `{name}` is no name of a header")
        if not (text.isascii() and text.isprintable()):
            raise AlertsError(f"{where}: the header {name} cannot be sent: it has to be printable ASCII, on one line")
    return msgspec.structs.replace(
        receiver,
        webhook=webhook,
        headers=headers,
        apprise=None if receiver.apprise is None else filled(receiver.apprise),
    )


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Its port is read when it is asked for.
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        return False
