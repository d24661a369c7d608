"""The flags of one server: definitions and rules in, values out. Sans-I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
import structlog

from goldenpath.runtime.context import Principal
from goldenpath.runtime.flags.definition import Flag, FlagError, UnknownFlag
from goldenpath.runtime.flags.rule import Decision, Rule
from goldenpath.runtime.settings import Environment

MAX_RULES: Final = 1_000
"""How many rules there may be, those of flags that nobody knows included."""

_logger = structlog.get_logger("goldenpath.flags")


class FlagChange(msgspec.Struct, frozen=True):
    """A flag that has another rule than before. None: no rule."""

    name: str
    before: Rule | None
    after: Rule | None


class Flags:
    """The flags of one server. Asking takes less than 1 us and is safe from any thread; changing belongs to the event
    loop. Rules of flags that are not defined are kept: a version of the app that knows them may come, or come back."""

    def __init__(self, definitions: Iterable[Flag], environment: Environment) -> None:
        """Raises `FlagError`, also where two flags have the same name."""
        self._flags: dict[str, Flag] = {}
        self._environment: Environment = environment
        self._rules: dict[str, Rule] = {}
        self._decisions: dict[str, Decision] = {}
        self._listeners: list[Callable[[Flags], object]] = []
        for flag in definitions:
            self.define(flag)

    def define(self, flag: Flag) -> None:
        """Add a flag, before there are rules. Raises `FlagError`."""
        flag.check()
        if flag.name in self._flags:
            raise FlagError(f"there is a flag {flag.name!r} already")
        self._flags[flag.name] = flag
        self._decisions[flag.name] = Decision(flag, None, self._environment)

    def __iter__(self) -> Iterator[Flag]:
        return iter(self._flags.values())

    # --- asking -------------------------------------------------------------------------------------------------------

    def enabled(self, name: str, principal: Principal | None = None) -> bool:
        """Whether the boolean flag `name` is on for `principal`. None: for what concerns nobody in particular; then a
        flag that is not rolled out to everybody is off. Raises `UnknownFlag`, `FlagError` for one with variants."""
        decision = self._decisions.get(name)
        if decision is None:
            raise UnknownFlag(name)
        chosen = decision.of(principal)
        if isinstance(chosen, str):
            raise FlagError(f"flag {name} has variants: ask for its value")
        return chosen

    def variant(self, name: str, principal: Principal | None = None) -> bool | str:
        """The name of the variant that `principal` gets; of a boolean flag true or false. Raises `UnknownFlag`."""
        decision = self._decisions.get(name)
        if decision is None:
            raise UnknownFlag(name)
        return decision.of(principal)

    def value(self, name: str, principal: Principal | None = None) -> Any:
        """The value of that variant. Everybody gets the same object: it is not to be changed. Raises `UnknownFlag`."""
        return self.flag(name).value(self.variant(name, principal))

    def of(self, principal: Principal) -> UserFlags:
        """The flags as `principal` has them."""
        return UserFlags(self, principal)

    def flag(self, name: str) -> Flag:
        """The definition. Raises `UnknownFlag`."""
        flag = self._flags.get(name)
        if flag is None:
            raise UnknownFlag(name)
        return flag

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules that are set, by flag."""
        return self._rules

    @property
    def unknown(self) -> list[str]:
        """The flags that have rules but no definition."""
        return [name for name in self._rules if name not in self._flags]

    # --- changing -----------------------------------------------------------------------------------------------------

    def on_change(self, listener: Callable[[Flags], object]) -> None:
        """Call `listener` after every change. What it raises is logged, and changes nothing."""
        self._listeners.append(listener)

    def put(self, name: str, rule: Rule | None) -> FlagChange | None:
        """Set the rule of a flag; None takes it away, and everybody gets the default. Returns what changed; None:
        nothing. Raises `UnknownFlag`, `FlagError`, and changes nothing then."""
        flag = self.flag(name)
        if rule is not None:
            rule.check(flag)
        changes = self.replace(
            {**{n: r for n, r in self._rules.items() if n != name}, **({name: rule} if rule else {})}
        )
        return changes[0] if changes else None

    def replace(self, rules: Mapping[str, Rule]) -> list[FlagChange]:
        """Set all rules: what is not among `rules` has none any more. Returns what changed its effect. Raises
        `FlagError`, and changes nothing then."""
        if len(rules) > MAX_RULES:
            raise FlagError(f"there are {len(rules)} rules; at most {MAX_RULES} are taken")
        for name, rule in rules.items():
            flag = self._flags.get(name)
            if flag is not None:
                rule.check(flag)
        changes = [
            FlagChange(name, self._rules.get(name), rules.get(name))
            for name in dict.fromkeys((*self._rules, *rules))
            if _effect(self._rules.get(name)) != _effect(rules.get(name))
        ]
        self._rules = dict(rules)
        for change in changes:
            flag = self._flags.get(change.name)
            if flag is not None:
                self._decisions[change.name] = Decision(flag, change.after, self._environment)
        if changes:
            self._tell()
        return changes

    def _tell(self) -> None:
        for listener in self._listeners:
            try:
                listener(self)
            except Exception:
                _logger.exception("flag_listener_failed")


class UserFlags:
    """The flags as one user has them. Safe from any thread."""

    __slots__ = ("_flags", "_principal")

    def __init__(self, flags: Flags, principal: Principal) -> None:
        self._flags = flags
        self._principal = principal

    def enabled(self, name: str) -> bool:
        """Whether the boolean flag `name` is on for this user, now. Raises `UnknownFlag`."""
        return self._flags.enabled(name, self._principal)

    def variant(self, name: str) -> bool | str:
        """The name of the variant that this user gets, now. Raises `UnknownFlag`."""
        return self._flags.variant(name, self._principal)

    def value(self, name: str) -> Any:
        """The value of that variant. Everybody gets the same object: it is not to be changed. Raises `UnknownFlag`."""
        return self._flags.value(name, self._principal)


def _effect(rule: Rule | None) -> Rule | None:
    return None if rule is None else rule.effect
