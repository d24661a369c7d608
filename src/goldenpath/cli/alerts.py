"""`goldenpath alerts`: how they stand, what fired, and whether those who are told can be reached."""

from __future__ import annotations

import time
from typing import Any, Final

import typer

from goldenpath.cli.admin import EXIT_REFUSED, Admin, AsJson, Token, Url, fail, print_json, print_table

PATIENCE: Final = 15.0
"""How long it is waited for what becomes of a test, in seconds: an attempt of the server's takes 10 at most."""
INTERVAL: Final = 0.2

app = typer.Typer(name="alerts", help="The alerts of a running server, and who is told.", no_args_is_help=True)


@app.command()
def show(as_json: AsJson = False, url: Url = None, token: Token = None) -> None:
    """How the alerts stand, those that fire first; what fired and was resolved since the server's start; who is told.
    Exits with 0, whether any fires or not."""
    found = Admin(url, token).call("GET", "/alerts")
    if as_json:
        print_json(found)
        return
    print_table(
        ("Alert", "State", "Signal", "Value", "Fires when", "Does"),
        (
            (row["name"], row["state"], row["signal"], value(row["value"]), row["bound"], ", ".join(row["actions"]))
            for row in found["alerts"]
        ),
    )
    for row in found["history"]:
        print(f"{row['at']}  {row['alert']} {row['state']} ({value(row['value'])})")
    if not found["receivers"]:
        print("who is told: nobody: name receivers in GOLDENPATH_ALERTS_FILE")
    for receiver in found["told"]:
        print(f"who is told: {receiver['name']} ({', '.join(receiver['takes'])}): {_reached(receiver)}")


@app.command(name="test")
def tell(url: Url = None, token: Token = None) -> None:
    """Tell every receiver that this is a test, and say who was reached. Exits with 1 where somebody was not, or nobody
    is named. Whoever was not is tried again, as with every message."""
    admin = Admin(url, token)
    if not admin.call("POST", "/alerts/test")["receivers"]:
        fail("nobody is told: name receivers in GOLDENPATH_ALERTS_FILE")
    deadline = time.monotonic() + PATIENCE
    while True:
        told = admin.call("GET", "/alerts")["told"]
        if all(_settled(receiver) for receiver in told) or time.monotonic() > deadline:
            break
        time.sleep(INTERVAL)
    for receiver in told:
        print(f"{receiver['name']}: {_reached(receiver)}")
    if not all(_settled(receiver) and receiver["problem"] is None for receiver in told):
        raise typer.Exit(EXIT_REFUSED)


def _settled(receiver: dict[str, Any]) -> bool:
    return receiver["problem"] is not None or not receiver["waiting"]


def _reached(receiver: dict[str, Any]) -> str:
    if receiver["problem"] is not None:
        state = f"not reached: {receiver['problem']}"
    elif receiver["waiting"]:
        state = "no answer yet"
    else:
        state = "reached" if receiver["delivered"] else "not told anything yet"
    counts = (f"{receiver[what]} {what.replace('_', ' ')}" for what in ("waiting", "delivered", "failed", "given_up"))
    return f"{state}; {', '.join(counts)}"


def value(measured: float | None) -> str:
    """As people read it."""
    return "not measured" if measured is None else f"{measured:.4g}"
