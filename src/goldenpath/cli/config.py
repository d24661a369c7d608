"""`goldenpath config`: which settings a server would start with, where each came from, and whether it would start."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import msgspec
import typer

from goldenpath.cli.options import Assignments, Config
from goldenpath.runtime.environ import Configuration, alert_rules, configure
from goldenpath.runtime.flags.control import rules_of
from goldenpath.runtime.flags.definition import FlagError
from goldenpath.runtime.settings import SettingsError
from goldenpath.runtime.timeouts import HIERARCHY

EXIT_WRONG = 1

app = typer.Typer(
    name="config",
    help="The settings that a server would start with.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    config: Config = None,
    assignments: Assignments = None,
) -> None:
    """Every setting, its value and where that came from; secrets are hidden. Exits with 1 where they are wrong."""
    found = _configured(config, assignments)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(_document(found))).decode())
        return
    values = found.settings.redacted()
    lines = {name: msgspec.json.encode(value).decode() if value is not None else "" for name, value in values.items()}
    for name, text in lines.items():
        print(f"{name} = {text or '(not set)'}  # {found.origins[name]}")
    if found.settings.legacy_timeouts:
        print(f"# legacy_timeouts ({found.origins['legacy_timeouts']}): no time-out is shorter than in production")


@app.command()
def check(config: Config = None, assignments: Assignments = None) -> None:
    """Whether a server would start with these settings, the hierarchy of the time-outs, the rules of alerts and the
    file of the flags too: exits with 0, or with 1 and one line that says what is wrong."""
    settings = _configured(config, assignments).settings
    try:
        rules = alert_rules(settings)
        rules_of(settings)
    except (SettingsError, FlagError) as error:
        print(f"goldenpath: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_WRONG) from None
    timeouts = settings.timeouts
    print(f"goldenpath: the settings are right; the environment is {settings.environment}")
    for rule in HIERARCHY:
        parent, child = timeouts.of(rule.parent), timeouts.of(rule.child)
        print(f"  {rule.parent} {parent:g} s {rule.sign} {rule.child} {child:g} s")
    print(f"  {len(rules.rules)} rules of alerts; told: {', '.join(rules.receivers) or 'nobody'}")
    if rules.receivers and rules.untaken:
        print(f"  nobody takes: {', '.join(rules.untaken)}")


def _configured(config: str | None, assignments: list[str] | None) -> Configuration:
    try:
        return configure(config=config, assignments=assignments or ())
    except SettingsError as error:
        print(f"goldenpath: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_WRONG) from None


def _document(found: Configuration) -> dict[str, Any]:
    values = found.settings.redacted()
    return {
        "environment": found.settings.environment,
        "settings": {
            name: {"value": value, "source": found.origins[name].kind, "from": str(found.origins[name])}
            for name, value in values.items()
        },
        "timeouts": found.settings.timeouts,
    }
