"""`goldenpath operator`: the first operator, more of them, and what they did."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from goldenpath.cli.admin import Admin, AsJson, Token, Url, fail, print_json, whoami
from goldenpath.cli.options import Assignments, Config
from goldenpath.runtime.auth.revocations import Revocations
from goldenpath.runtime.auth.secret import FILE_NAME, load_secret
from goldenpath.runtime.auth.tokens import AccessTokens
from goldenpath.runtime.auth.verified import VerifiedTokens
from goldenpath.runtime.environ import load
from goldenpath.runtime.interfaces import SessionRow
from goldenpath.runtime.operators import OPERATOR
from goldenpath.runtime.settings import Settings, data_path
from goldenpath.wire.errors import GoldenpathError
from goldenpath.wire.ids import SessionId, UserId, is_name, new_id

PREFIX = "cli_"
"""Before the name of whoever is at the machine: the user id of such an operator."""

app = typer.Typer(name="operator", help="Who may change a running server, and what they did.", no_args_is_help=True)


@app.command()
def token(
    name: Annotated[
        str | None, typer.Option("--as", help="Your name in the journal; without it: the machine's.")
    ] = None,
    data_dir: Annotated[str | None, typer.Option(help="The server's data folder.")] = None,
    config: Config = None,
    assignments: Assignments = None,
) -> None:
    """Print an access token of an operator: for whoever may read the server's secret, with the server's settings."""
    try:
        settings = load(config=config, assignments=assignments or (), data_dir=data_dir)
        print(_token(settings, PREFIX + (name or whoami())))
    except GoldenpathError as error:
        fail(str(error))


def _token(settings: Settings, user_id: str) -> str:
    if not is_name(user_id):
        fail("--as takes the characters A-Z a-z 0-9 . _ : -")
    if not settings.secret and (settings.in_memory or not data_path(settings, FILE_NAME).exists()):
        fail(f"no server's secret: GOLDENPATH_SECRET is not set, and there is no {data_path(settings, FILE_NAME)}")
    revocations = Revocations(0.0)
    tokens = AccessTokens(
        load_secret(settings),
        lifetime=min(settings.access_token_ttl, settings.refresh_token_ttl),
        revocations=revocations,
        verified=VerifiedTokens(revocations),
    )
    now = time.time()
    session = SessionRow(SessionId(new_id("ses")), UserId(user_id), frozenset({OPERATOR}), "free", now)
    return tokens.issue(session, None, generation=0, issued_at=now)


@app.command()
def add(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Of GOLDENPATH_OPERATORS, to be an operator.")],
    url: Url = None,
    token: Token = None,
) -> None:
    """Make an account, also where registration is closed. Its password is asked for, or read from standard input."""
    admin = Admin(url, token)
    asked = sys.stdin.isatty()
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True) if asked else sys.stdin.readline()
    account = admin.call("POST", "/accounts", {"email": email, "password": password.rstrip("\n")})
    print(f"{account['email']} has the account {account['user_id']}")


@app.command()
def actions(
    area: Annotated[str | None, typer.Option(help="Only of this area, e.g. flag.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 50,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """What was changed, by whom, when and why, newest first."""
    found = Admin(url, token).call("GET", "/actions", limit=limit, area=area)
    if as_json:
        print_json(found)
        return
    from goldenpath.cli.journal import show

    show(found["actions"])
