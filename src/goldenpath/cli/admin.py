"""What commands for operators have in common: which server, by what right, and what to say where it will not."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterable
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import msgspec
import typer

from goldenpath.wire.errors import Problem

EXIT_REFUSED = 1
EXIT_USAGE = 2
UNBROKEN = 10_000
"""Columns of a table that nobody looks at, more than any has."""
PATIENCE = 30.0
"""How long an answer may take, in seconds."""

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="GOLDENPATH_URL", show_envvar=False, help="The server, or GOLDENPATH_URL."),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="GOLDENPATH_TOKEN",
        show_envvar=False,
        help="An operator's access token, or better GOLDENPATH_TOKEN; see `goldenpath operator token`.",
    ),
]
Why = Annotated[str, typer.Option("--why", help="Why, for the journal.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
FlagsFile = Annotated[
    str | None,
    typer.Option(
        "--file",
        envvar="GOLDENPATH_FLAGS_FILE",
        show_envvar=False,
        help="The flags' file, or GOLDENPATH_FLAGS_FILE. Without it: flags.toml in the data folder.",
    ),
]
DataDir = Annotated[
    str,
    typer.Option(
        "--data-dir", envvar="GOLDENPATH_DATA_DIR", show_envvar=False, help="The server's data folder, on this machine."
    ),
]


class Admin:
    """The operators' calls of the server at `url`. What goes wrong is one line on stderr, and the end of the command:
    exit code 1, or 2 where it is not said whom to ask or by what right."""

    def __init__(self, url: str | None, token: str | None) -> None:
        if not url:
            fail("name the server by --url or GOLDENPATH_URL", EXIT_USAGE)
        if not token:
            fail("give an operator's token in GOLDENPATH_TOKEN; `goldenpath operator token` makes one", EXIT_USAGE)
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}

    def call(self, method: str, path: str, body: object = None, *, name: str = "", **query: object) -> Any:
        """The JSON that `/v1/admin`, `path` and `name` answer; None where it is none. `name` may be any text."""
        import httpx

        url = f"{self._url}/v1/admin{path}{quote(name, safe='')}"
        params = {key: str(value) for key, value in query.items() if value is not None}
        try:
            answer = httpx.request(method, url, json=body, params=params, headers=self._headers, timeout=PATIENCE)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            fail(f"{self._url}: {error}; `flags` and `rollback` work without it, on its machine: unset GOLDENPATH_URL")
        if not answer.is_success:
            fail(_told(answer.content) or f"{self._url} answers {answer.status_code}, and not as goldenpath does")
        return answer.json() if answer.content else None


def _told(content: bytes) -> str | None:
    """What a problem document says; None: it is none."""
    try:
        problem = msgspec.json.decode(content, type=Problem)
    except msgspec.MsgspecError:
        return None
    advice = " `goldenpath operator token` makes a new one." if problem.code == "unauthorized" else ""
    return f"{problem.code}: {problem.detail}{advice}"


def fail(message: str, code: int = EXIT_REFUSED) -> NoReturn:
    """End the command."""
    print(f"goldenpath: {message}", file=sys.stderr)
    raise typer.Exit(code)


def print_json(value: object) -> None:
    """For machines."""
    print(msgspec.json.format(msgspec.json.encode(value)).decode())


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]], title: str | None = None) -> None:
    """For people. A cell that is rich's `Text` keeps its style. The first column, of names, is broken last; where
    nobody looks (a pipe, a file) no line is, so that a name can be searched for."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:  # as text: what others wrote is no markup
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    as_it_is = not sys.stdout.isatty() and not os.environ.get("COLUMNS")
    Console(width=UNBROKEN if as_it_is else None).print(table)


def whoami() -> str:
    """Who is at this machine, as far as it knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
