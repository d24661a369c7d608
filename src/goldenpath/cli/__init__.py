"""The command line: thin, no logic."""

from __future__ import annotations

from typing import Annotated

import typer

from goldenpath.cli.alerts import app as alerts
from goldenpath.cli.breakers import app as breakers
from goldenpath.cli.config import app as config_app
from goldenpath.cli.degradation import app as degradation
from goldenpath.cli.flags import app as flags
from goldenpath.cli.lab import app as lab
from goldenpath.cli.operator import app as operator
from goldenpath.cli.options import Assignments, Config
from goldenpath.cli.rollback import app as rollback
from goldenpath.version import __version__

app = typer.Typer(
    name="goldenpath",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"goldenpath {__version__}")
        raise typer.Exit


@app.callback()
def goldenpath(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Serve AI agents to many users at once, isolated, durable and resumable."""


app.add_typer(lab)
app.add_typer(config_app)
app.add_typer(operator)
app.add_typer(flags)
app.add_typer(rollback)
app.add_typer(alerts)
app.add_typer(breakers)
app.add_typer(degradation)


@app.command()
def serve(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[MODULE:APP]", help="Your app, e.g. myapp:app. Without it: the built-in agents."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = None,
    uds: Annotated[str | None, typer.Option(help="Unix socket to listen on, instead of host and port.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where the database and the signing key are kept.")] = None,
    tls_cert: Annotated[str | None, typer.Option(help="TLS certificate file (PEM).")] = None,
    tls_key: Annotated[str | None, typer.Option(help="TLS key file (PEM).")] = None,
    trusted_proxies: Annotated[
        str | None, typer.Option(help="Proxies whose X-Forwarded-For is believed: addresses or networks, or unix.")
    ] = None,
    config: Config = None,
    assignments: Assignments = None,
) -> None:
    """Serve agents over HTTP, SSE and WebSocket. Every other setting comes from --set, the environment (GOLDENPATH_...)
    or a file: `goldenpath config show`."""
    from goldenpath.cli.serve import serve as run

    raise typer.Exit(
        run(
            target,
            config=config,
            assignments=assignments or (),
            host=host,
            port=port,
            uds=uds,
            data_dir=data_dir,
            tls_cert=tls_cert,
            tls_key=tls_key,
            trusted_proxies=trusted_proxies,
        )
    )


@app.command()
def doctor(
    host: Annotated[str | None, typer.Option(help="Address that serve shall listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port that serve shall listen on.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="The data directory to look at.")] = None,
    config: Config = None,
    assignments: Assignments = None,
) -> None:
    """Check that this machine can serve, and say what to do where it cannot."""
    from goldenpath.cli.doctor import doctor as run

    raise typer.Exit(run(config=config, assignments=assignments or (), host=host, port=port, data_dir=data_dir))


def main() -> None:
    """The entry point of the `goldenpath` command."""
    app()
