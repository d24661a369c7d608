"""`goldenpath lab`: run scenarios, judge and report stored runs."""

from __future__ import annotations

import sys
from math import inf
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

EXIT_USAGE = 64
"""EX_USAGE of sysexits.h: 2, which commands usually end with then, is the verdict unknown here."""
_USUAL = 2


class _Group(TyperGroup):
    """Ends with `EXIT_USAGE` for what is wrong with the command line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not isinstance(error, typer.Exit) and getattr(error, "exit_code", None) == _USUAL:
                error.exit_code = EXIT_USAGE  # type: ignore[attr-defined]
            raise


app = typer.Typer(
    name="lab",
    cls=_Group,
    help="Drive a server with many users, check every event, give a verdict.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

MISSING = "goldenpath: the lab needs a few packages more: pip install 'goldenpath[lab]'"


@app.callback()
def _lab() -> None:
    try:
        import aiohttp  # noqa: F401
        import psutil  # noqa: F401
    except ImportError:
        print(MISSING, file=sys.stderr)
        raise typer.Exit(EXIT_USAGE) from None


@app.command("list")
def list_scenarios(
    checks: Annotated[bool, typer.Option("--checks", help="What is checked in each, instead.")] = False,
    faults: Annotated[bool, typer.Option("--faults", help="What can be injected, instead.")] = False,
) -> None:
    """The scenarios, and what a pass of each says."""
    from goldenpath.cli.lab_list import show_checks, show_faults, show_scenarios

    if checks:
        show_checks()
    if faults:
        show_faults()
    if not checks and not faults:
        show_scenarios()


@app.command()
def run(
    scenarios: Annotated[
        list[str], typer.Argument(metavar="SCENARIO...", help="Names from `goldenpath lab list`; `all`: all of them.")
    ],
    target: Annotated[
        str | None,
        typer.Option(
            help="What to test: a goldenpath server's URL, agui+URL of an AG-UI endpoint, or ws+FILE, a mapping file"
            " of a WebSocket chat. Without it: a goldenpath server of the lab's own."
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME: VALUE'",
            help="A header for agui+ targets; {user} becomes the user's number, ${NAME} a variable of the environment.",
        ),
    ] = None,
    echo: Annotated[
        bool, typer.Option("--echo", help="For agui+ targets: each answer has to be what was asked, to the letter.")
    ] = False,
    users: Annotated[
        int | None, typer.Option(min=1, help="How many users, instead of the scenario's: 100,000 at most.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="The highest rate, in iterations a second: 100,000 at most.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="How long the load lasts, in seconds: 30 days at most.")
    ] = None,
    longest: Annotated[
        float, typer.Option(min=0.1, help="Scenarios that last longer last so many seconds.", show_default=False)
    ] = inf,
    thresholds: Annotated[
        str | None, typer.Option(metavar="FILE", help="Service levels, TOML or JSON, over the default ones.")
    ] = None,
    level: Annotated[
        list[str] | None, typer.Option(metavar="NAME=LIMIT", help="Another limit for one service level.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of everything that is left to chance.")] = 1,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many processes make the load.")] = 1,
    name: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="What to call this run in its reports.")
    ] = None,
    fault: Annotated[list[str] | None, typer.Option(metavar="SPEC", help="A fault to inject, e.g. kill@10.")] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Where the reports and the history go: a new directory, or an empty one."),
    ] = None,
) -> None:
    """Run scenarios and give a verdict. Exit code 0: pass, 1: fail, 2: unknown, 64: a command line that cannot be
    carried out."""
    from goldenpath.cli.lab_run import Options
    from goldenpath.cli.lab_run import run as run_scenarios

    options = Options(
        scenarios=scenarios,
        target=target,
        headers=header or [],
        echo=echo,
        users=users,
        rate=rate,
        duration=duration,
        longest=longest,
        thresholds=thresholds,
        levels=level or [],
        seed=seed,
        workers=workers,
        faults=fault or [],
        name=name or "",
        out=out,
    )
    raise typer.Exit(run_scenarios(options))


@app.command()
def report(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="What `lab run --out DIR` left.")],
) -> None:
    """Write the reports of a stored run again; says only where. Exit code as of `lab check`."""
    from goldenpath.cli.lab_verdict import check as judge

    raise typer.Exit(judge(directory, quiet=True))


@app.command()
def check(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="What `lab run --out DIR` left.")],
) -> None:
    """Judge a stored run again, from its history alone."""
    from goldenpath.cli.lab_verdict import check as judge

    raise typer.Exit(judge(directory))


@app.command()
def selftest(
    faults: Annotated[
        list[str] | None, typer.Argument(metavar="[FAULT]...", help="Only these, and everything that is right.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How often each is run, with other seeds.")] = 1,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="How many runs go on at the same time.")] = 3,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where selftest.json and the history of every run go.")
    ] = None,
) -> None:
    """Test the lab: does it see every fault of a server that is wrong on purpose, and none where there is none?

    Exit code 0: all faults were caught, each by the checker that has to, without a false alarm; 1: not; 2: nothing was
    tried, or some of it says nothing because the lab itself could not keep up."""
    from goldenpath.cli.lab_selftest import selftest as test

    raise typer.Exit(test(faults or None, seeds=seeds, at_once=at_once, out=out))
