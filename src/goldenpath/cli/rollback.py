"""`goldenpath rollback`: on this machine by the flags' file, elsewhere by the operators' calls."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from goldenpath.cli.admin import Admin, AsJson, DataDir, FlagsFile, Token, Url, Why, print_json, whoami
from goldenpath.cli.flags import DATA_DIR, checked, flags_path, put, read
from goldenpath.runtime.flags.definition import TIMEOUTS
from goldenpath.runtime.flags.rule import Rule
from goldenpath.runtime.rollback.changes import SWITCHES, rolled_back, timeouts_back

app = typer.Typer(
    name="rollback",
    help="Take a change back without a restart. With --url: by an operator, recorded and undoable. Without: by the"
    " flags' file on this machine, which the server looks at every 2 s.",
    no_args_is_help=True,
)


@app.command()
def flags(why: Why, url: Url = None, token: Token = None, path: FlagsFile = None, data_dir: DataDir = DATA_DIR) -> None:
    """Level 3: the kill switches of the time-outs on, everything that is being rolled out off."""
    if url:
        _show(Admin(url, token).call("POST", "/rollback", {"level": "flags", "why": why}))
        return
    where = flags_path(path, data_dir)
    put(where, _signed(rolled_back(read(where)), why))


@app.command()
def timeouts(
    why: Why, url: Url = None, token: Token = None, path: FlagsFile = None, data_dir: DataDir = DATA_DIR
) -> None:
    """Level 1: new work has production's time-outs, whatever is set; what runs keeps its deadlines."""
    if url:
        _show(Admin(url, token).call("POST", "/rollback", {"level": "timeouts", "why": why}))
        return
    put(flags_path(path, data_dir), _signed(timeouts_back(), why))


@app.command()
def code(why: Why, url: Url = None, token: Token = None) -> None:
    """Level 2: have the server call its deploy hook. `rollback history` tells how it ended."""
    _show(Admin(url, token).call("POST", "/rollback", {"level": "code", "why": why}))


@app.command()
def incident(
    severity: Annotated[str, typer.Argument(metavar="SEVERITY", help="P0 to P4; P0 and P1 roll back.")],
    why: Why,
    url: Url = None,
    token: Token = None,
) -> None:
    """Declare an incident."""
    _show(Admin(url, token).call("POST", "/incidents", {"severity": severity, "why": why}))


@app.command()
def undo(why: Why, url: Url = None, token: Token = None, path: FlagsFile = None, data_dir: DataDir = DATA_DIR) -> None:
    """Undo the last roll-back of flags or time-outs, and say how things stand then. Without --url: the kill switches
    are off and the time-outs as configured; what was being rolled out stays off."""
    if not url:
        checked(why)
        put(flags_path(path, data_dir), dict.fromkeys((TIMEOUTS, *SWITCHES)))
        return
    admin = Admin(url, token)
    undone = admin.call("POST", "/rollback/undo", {"why": why})
    print(f"undone: {undone['level']}, number {undone['number']}; as before: {', '.join(undone['restored']) or 'none'}")
    if undone["kept"]:
        print(f"left, changed by somebody since or no longer the app's: {', '.join(undone['kept'])}")
    _show(admin.call("GET", "/rollback"))


@app.command()
def status(as_json: AsJson = False, url: Url = None, token: Token = None) -> None:
    """What is rolled back, what calls for it, and whether the server does so by itself."""
    found = Admin(url, token).call("GET", "/rollback")
    if as_json:
        print_json(found)
    else:
        _show(found)


@app.command()
def history(
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 50,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """The roll-backs and what became of them, newest first."""
    found = Admin(url, token).call("GET", "/rollback/history", limit=limit)
    if as_json:
        print_json(found)
        return
    from goldenpath.cli.journal import show

    show(found["actions"])


def _signed(changes: dict[str, Rule], why: str) -> dict[str, Rule | None]:
    reason, who = checked(why), whoami()
    return {name: msgspec.structs.replace(rule, why=reason, by=who) for name, rule in changes.items()}


def _show(status: dict[str, Any]) -> None:
    print(f"rolled back: {', '.join(status['in_effect']) or 'nothing'}")
    print("time-outs of new work: " + ", ".join(f"{name} {value:g} s" for name, value in status["timeouts"].items()))
    by_itself = "yes" if status["automatic"] else "no, it is switched off"
    if status["automatic"] and status["cool_down"]:
        by_itself = f"yes, but not for {status['cool_down']:g} s"
    print(f"by itself: {by_itself}")
    failed = status["deploy_hook_failed"]
    print(f"deploy hook: {status['deploy_hook']}" + (f"; the last call failed: {failed}" if failed else ""))
    for name, why in status["triggers"].items():
        print(f"wrong now: {name}: {why}")
