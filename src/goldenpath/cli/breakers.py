"""`goldenpath breakers`: what a running server depends on, and which of it nobody may ask."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from goldenpath.cli.admin import Admin, AsJson, Token, Url, Why, print_json, print_table

app = typer.Typer(
    name="breakers", help="What a running server depends on, and its circuit breakers.", no_args_is_help=True
)


@app.command(name="list")
def list_breakers(as_json: AsJson = False, url: Url = None, token: Token = None) -> None:
    """What was asked lately and how that does, and what the checks of the start found, then or since."""
    found = Admin(url, token).call("GET", "/breakers")
    if as_json:
        print_json(found)
        return
    print_table(
        ("Dependency", "Breaker", "Calls", "Failed", "Slow", "Users refused alone"),
        (
            (row["dependency"], _state(row["breaker"]), *_counts(row["breaker"]), row["tenants_refused"])
            for row in found["dependencies"]
        ),
    )
    print_table(
        ("Check", "", "Found", "What to do"),
        ((check["what"], check["verdict"], check["found"], check["advice"]) for check in found["checks"]),
    )


@app.command(name="set")
def set_breaker(
    dependency: Annotated[str, typer.Argument(metavar="DEPENDENCY", help="As `breakers list` has it.")],
    decision: Annotated[
        str,
        typer.Argument(
            metavar="DECISION",
            help="open: every call is refused; closed: every call passes; automatic: it decides again.",
        ),
    ],
    why: Why,
    user: Annotated[str | None, typer.Option(help="Of this user id alone.")] = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Open or close a circuit breaker; it stays so until it is set to automatic."""
    body = {"decision": decision, "why": why, "tenant": user}
    after = Admin(url, token).call("POST", "/breakers/", body, name=dependency)
    print(f"{dependency}: {_state(after)}")


def _state(breaker: dict[str, Any]) -> str:
    if breaker["forced"]:
        return f"{breaker['forced']} by an operator"
    wait = breaker["retry_after"]
    return str(breaker["state"]) + (f", asked again in {wait:.0f} s" if wait else "")


def _counts(breaker: dict[str, Any]) -> tuple[int, int, int]:
    return breaker["calls"], breaker["failures"], breaker["slow"]
