"""`goldenpath alerts`: how they stand, what fired, and whether those who are told can be reached."""

from __future__ import annotations

import typer

from goldenpath.cli.admin import Admin, AsJson, Token, Url, print_json, print_table

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
    delivery = found["delivery"]
    print(f"who is told: {', '.join(found['receivers']) or 'nobody: name receivers in GOLDENPATH_ALERTS_FILE'}")
    print("messages: " + ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in delivery.items()))


@app.command(name="test")
def tell(url: Url = None, token: Token = None) -> None:
    """Tell every receiver that this is a test. What became of it is in `alerts show` and in the server's log."""
    receivers = Admin(url, token).call("POST", "/alerts/test")["receivers"]
    print(f"being told: {', '.join(receivers) or 'nobody: name receivers in GOLDENPATH_ALERTS_FILE'}")


def value(measured: float | None) -> str:
    """As people read it."""
    return "not measured" if measured is None else f"{measured:.4g}"
