"""`goldenpath flags`: on this machine by the flags' file, elsewhere by the operators' calls."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from goldenpath.cli.admin import Admin, AsJson, DataDir, FlagsFile, Token, Url, Why, fail, print_json, whoami
from goldenpath.runtime.environ import load
from goldenpath.runtime.flags import file
from goldenpath.runtime.flags.definition import AGENT, BUILTIN, Flag, FlagError
from goldenpath.runtime.flags.rule import Rule
from goldenpath.runtime.operators import checked_why
from goldenpath.runtime.settings import SettingsError
from goldenpath.wire.allowed import told
from goldenpath.wire.errors import RequestError

DATA_DIR = "goldenpath-data"

app = typer.Typer(
    name="flags",
    help="Feature flags and kill switches of a server. With --url: of a running one, by an operator. Without: by its"
    " file on this machine, which the server looks at every 2 s.",
    no_args_is_help=True,
)
FlagName = Annotated[str, typer.Argument(metavar="FLAG", help="Its name, as `flags list` has it.")]


@app.command(name="list")
def list_flags(
    as_json: AsJson = False, url: Url = None, token: Token = None, path: FlagsFile = None, data_dir: DataDir = DATA_DIR
) -> None:
    """The flags and their rules; without --url only those that have rules."""
    if url:
        found = Admin(url, token).call("GET", "/flags")
    else:
        rules = read(flags_path(path, data_dir))
        named = [{"name": name, "rule": msgspec.to_builtins(rule)} for name, rule in sorted(rules.items())]
        found = {"flags": named, "unknown": [], "problem": None}
    if as_json:
        print_json(found)
        return
    for flag in found["flags"]:
        default = f"default {msgspec.json.encode(flag['default']).decode()}" if "default" in flag else ""
        print(f"{flag['name']:32} {_shown(flag['rule']) or default}")
    for name in found["unknown"]:
        print(f"{name:32} has a rule, but the app declares no such flag")
    if found["problem"]:
        print(f"goldenpath: {found['problem']}; the rules from before hold", file=sys.stderr)


def _shown(rule: Mapping[str, Any] | None) -> str:
    if rule is None:
        return ""
    percent, variant = rule.get("percent"), rule.get("variant")
    parts = [rule.get("stage", "full") if percent is None else f"{percent:g} %", variant and f"variant {variant}"]
    parts += [f"{key} {', '.join(rule[key])}" for key in ("tiers", "environments") if rule.get(key)]
    return ", ".join(part for part in parts if part) + f" ({rule.get('by', '')}: {rule.get('why', '')})"


@app.command(name="set")
def set_flag(
    flag: FlagName,
    why: Why,
    stage: Annotated[str | None, typer.Option(help="off, internal, canary, staged or full.")] = None,
    percent: Annotated[float | None, typer.Option(help="The share of users who are in, 0 to 100.")] = None,
    variant: Annotated[str | None, typer.Option(help="What those get who are in.")] = None,
    tiers: Annotated[list[str] | None, typer.Option("--tier", help="Only this tier; may be repeated.")] = None,
    environments: Annotated[
        list[str] | None, typer.Option("--environment", help="Only in this environment; may be repeated.")
    ] = None,
    url: Url = None,
    token: Token = None,
    path: FlagsFile = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Set a flag's rule: who is in, and what they get."""
    parts = {"stage": stage, "percent": percent, "variant": variant, "tiers": tiers, "environments": environments}
    given = {name: value for name, value in parts.items() if value}
    if percent is not None:
        given["percent"] = percent
    if url:
        changed = Admin(url, token).call("PUT", "/flags/", {**given, "why": why}, name=flag)
        if not changed["saved"]:
            print("goldenpath: it holds, but the server could not save it: after a restart it is gone", file=sys.stderr)
        print(f"{flag}: {_shown(changed['flag']['rule'])}, in force now")
        return
    try:
        rule = msgspec.convert({**given, "why": checked(why), "by": whoami()}, Rule)
        if rule.tiers:
            rule.check_tiers(f"flag {flag}", load().tiers)
        known = next((each for each in BUILTIN if each.name == flag), None)
        if known is not None or flag.startswith(AGENT):
            rule.check(known or Flag(flag, "", True))
        else:
            print(f"goldenpath: {flag} is no flag of the server itself; the app has to declare it", file=sys.stderr)
    except msgspec.ValidationError as error:
        fail(told(error, Rule))
    except (FlagError, SettingsError) as error:
        fail(str(error))
    put(flags_path(path, data_dir), {flag: rule})


@app.command()
def clear(
    flag: FlagName,
    why: Why,
    url: Url = None,
    token: Token = None,
    path: FlagsFile = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Take a flag's rule away: everybody gets the default."""
    if url:
        Admin(url, token).call("DELETE", "/flags/", name=flag, why=why)
        print(f"{flag}: everybody gets the default")
        return
    checked(why)
    put(flags_path(path, data_dir), {flag: None})


def flags_path(path: str | None, data_dir: str) -> Path:
    """The file of the flags' rules. Its folder must be there, else it is not the server's."""
    found = Path(path) if path else Path(data_dir) / file.FILE_NAME
    if not found.parent.is_dir():
        fail(f"there is no folder {found.parent}: name the server's by --data-dir, or the server by --url")
    return found


def read(path: Path) -> dict[str, Rule]:
    """The rules in the file."""
    try:
        return file.read(path)
    except FlagError as error:
        fail(str(error))


def put(path: Path, changes: Mapping[str, Rule | None]) -> None:
    """Write `changes` to the file, of which None takes a rule away."""
    try:
        file.edit(path, lambda rules: file.merged(rules, changes))
    except FlagError as error:
        fail(str(error))
    print(f"written to {path}; a server with this file obeys within seconds")


def checked(why: str) -> str:
    """A reason that may stand in the journal."""
    try:
        return checked_why(why)
    except RequestError as error:
        fail(error.message)
