"""`goldenpath degradation`: which new runs a running server refuses."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from goldenpath.cli.admin import Admin, AsJson, Token, Url, Why, print_json

app = typer.Typer(
    name="degradation", help="Which tiers' new runs a running server refuses at present.", no_args_is_help=True
)


@app.command()
def show(as_json: AsJson = False, url: Url = None, token: Token = None) -> None:
    """The level of degradation, and who decided it."""
    found = Admin(url, token).call("GET", "/degradation")
    if as_json:
        print_json(found)
    else:
        _show(found)


@app.command(name="set")
def set_level(
    level: Annotated[
        str, typer.Argument(metavar="LEVEL", help="normal, shed_low, shed_most, refuse; automatic: the server decides.")
    ],
    why: Why,
    url: Url = None,
    token: Token = None,
) -> None:
    """Set the level; it stays so until it is set to automatic."""
    _show(Admin(url, token).call("POST", "/degradation", {"level": level, "why": why}))


def _show(view: dict[str, Any]) -> None:
    print(f"level: {view['level']}: {view['meaning']}")
    print(f"decided by: {'an operator' if view['forced'] else 'the server'}")
    print(f"tiers whose new runs are refused: {', '.join(view['refused_tiers']) or 'none'}")
