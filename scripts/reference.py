"""Writes the reference pages and schemas in docs/ from the code's registries; `--check` only compares.

What a table can say comes from the code, so it cannot become wrong; the words around it are in this file.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import msgspec
import typer

from goldenpath import App, cli
from goldenpath.lab import levels
from goldenpath.lab.measurements import MOST_CODES, OTHERS
from goldenpath.lab.quantities import DURATIONS, SIMPLE, find
from goldenpath.lab.report import data
from goldenpath.lab.targets import websocket
from goldenpath.lab.words import amount
from goldenpath.runtime import layers, metrics, settings, signals
from goldenpath.runtime.dashboard.owners import IDENTITIES
from goldenpath.runtime.gateway.live import MAX_VIEWERS
from goldenpath.runtime.gateway.routes import Route
from goldenpath.runtime.metrics import Statistics, kind_of, metric_name
from goldenpath.wire import commands, errors, events, live

DOCS = Path(__file__).resolve().parent.parent / "docs"

PROTOCOL = """\
# Protocol reference

What the server speaks, generated from the code (`make docs`). The delivery contract in words is in
[delivery.md](delivery.md); the order in which a message travels is in [tour.md](tour.md).

## HTTP

Errors are problem documents (RFC 9457, `application/problem+json`) with `code`, `retryable` and `retry_after`. Every
call needs `Authorization: Bearer ACCESS_TOKEN` unless the table says otherwise. Beside the errors of its own, a call
with a token may answer `unauthorized`, `upstream_unavailable`, `rate_limited` and `timeout`, one with a body
`bad_request`, `payload_too_large` and `timeout`, and any `overloaded` and `internal`. The same as an OpenAPI 3.1
document is at `/openapi.json`.

{routes}

For operators, who have the permission `operator` ([operators.md](howto/operators.md)); everybody else is told
`forbidden`:

{admin}

`/v1/admin/live` is a WebSocket with the same way in as `/v1/ws`, for operators: the live view behind `/dashboard`. It
greets with `welcome`, then sends, one JSON object a message:

{live}

A viewer that has not taken the last snapshot yet gets none until it has: nothing queues. It takes the commands `ping`
and `refresh`; a newer token must hold the permissions that the view was opened with. {viewers} may look at once, the
next is closed with 4429. Users have names that tell nothing, unless the viewer has the permission `{identities}`. The
figures of `sample`, and the columns of the history:

{samples}

Besides: `/v1/ws` (WebSocket, below), `/livez`, `/readyz`, `/health`, `/metrics`, `/openapi.json`, the chat page at `/`
and the operator page at `/dashboard`; none of them but the WebSocket needs a token.

## WebSocket: commands

One JSON object a line; a text message may hold several lines. Each command carries an `id` (a string of up to
{max_id} characters, or an integer), and its reply repeats it as `re`, with `ok` true, or false and an `error`.

{commands}

## WebSocket: what the server sends

Events have `thread_id`, `run_id`, `seq` and `event`. Replies and notices:

{frames}

## Errors

*Definite*: the call certainly had no effect. *Retryable*: the same call may succeed later.

{errors}

## Close codes

{closes}

## AG-UI event types

{events}
"""

SETTINGS = """\
# Settings

Every setting, generated from the code (`make docs`). Durations are seconds, sizes bytes. Each of these layers wins over
those before it:

1. the default;
2. the profile of the environment, where the default column names environments;
3. a TOML file, named by `--config FILE` or `GOLDENPATH_CONFIG`, whose keys are the settings' names;
4. the environment's variables: a setting is its name in upper case with `GOLDENPATH_` before it, structured values
   (`tiers`, `operators`, `allowed_origins` and other lists) as JSON;
5. the command line: the options of `goldenpath serve` (`--port` is `port`), and `--set NAME=VALUE` for every setting.

`goldenpath config show` prints each value with where it came from, `goldenpath config check` whether a server would
start. A wrong value, and a name that is unknown, stops the start with one line that names the file and key, the
variable or the option. Settings do not change while a server runs. An app that is made with settings,
`App(Settings(...))`, has those and the command line's, and reads neither file nor environment.

```toml
# goldenpath.toml
environment = "staging"
heartbeat = 20
allowed_origins = ["https://app.example.com"]

[tiers.free]
max_running = 3
```

## Which environment

`local` (or `development`), `testing`, `staging` or `production`, from the first of these that is there: the command
line, `GOLDENPATH_ENVIRONMENT`, `LOCAL_DEVELOPMENT=true` (which is `local`), `ENVIRONMENT`, the file; `local` where none
is. `LOCAL_DEVELOPMENT=true` beside staging or production, whoever says so, stops the start: one of them was forgotten.

## Other names

Variables that are read where the setting's own is not set:

{aliases}

Of the two switches one that is on is enough. What the time-outs bound, and why they fit together, is in
[timeouts.md](timeouts.md).

## All settings

{settings}
"""


METRICS = """\
# Metrics

What `/metrics` shows to Prometheus, generated from the code (`make docs`). Counters begin at 0 when the server starts.
No metric has labels but the buckets of histograms, and none names a user or a thread.

{metrics}

A dashboard for Grafana and alert rules for Prometheus are in `deploy/`: see [health](howto/health.md).

What to watch: `goldenpath_log_healthy` at 0 (the disk does not take commits), `goldenpath_log_last_commit_duration`
(everybody waits for it), `goldenpath_stalls_agents_total` (the log names the agent and the line),
`goldenpath_admission_waiting` (the server, or its users, want more than their limits allow),
and the rates of `goldenpath_admission_refused_total` and `goldenpath_connections_refused_total`.
"""

CLI = """\
# Command line

Every command and option, generated from the code (`make docs`). An option that is not given has the value of its
setting: see [settings.md](settings.md). `serve` exits with 0 after SIGTERM or Ctrl-C, with
1 where the store failed and what came last is lost, and with 2 where it cannot start.

{commands}
"""

LEVELS = """\
# Service levels

What a run of `goldenpath lab` is held to, generated from the code (`make docs`). *Target* is what it should be, *limit*
what it must be:

| status | meaning | verdict |
|---|---|---|
| met | the target was kept | pass |
| missed | the target was missed, the limit kept; or there is no limit | pass |
| broken | the limit was not kept | fail |
| unknown | there is nothing to judge it by, or the lab itself could not keep up | unknown: never a pass |

A level that says nothing of a run is left out, and the report says why: nobody tried the operation, because the target
cannot do it; the target's processes are not watched; faults were injected (then recovery is judged instead of times);
the run was made smaller than the level asks for.

## Changing them

`--thresholds FILE` lays a file over the default levels, TOML or JSON ([schema](schemas/service-levels.json)):

```toml
[levels.connect]            # changes what it gives of a level that there is
limit = 4

[levels.first-token]        # a new one
quantity = "first_token.p95"
target = 0.2
limit = 0.5
scenarios = ["*", "!stress"]
```

| key | meaning |
|---|---|
{keys}

`--level NAME=LIMIT` (or `NAME=TARGET,LIMIT`) changes one, over the file. With a quantity for a name, e.g.
`--level first_token.p95=0.5`, it is the only level of that quantity. Times are seconds, rates shares of 1.

## What can be measured

{quantities}

`NAME.p50`, `.p95`, `.p99.9` ..., `.mean` and `.max` of:

{durations}

`success_rate`, `failure_rate`: of all operations; `success_rate.KIND`, `failure_rate.KIND`: of one kind;
`failure_rate.KIND.CODE`: for one reason (of the target's own codes the first {codes} of each kind; all others are
`{others}`). `violations.CHECKER`, `violations.CHECKER.KIND`: of one checker.

## The default levels

Where a level comes from: M and a number is a row of the requirements, T a planned test case, C a contradiction between
requirements that was decided.

{levels}

## What is not here

A load run sees a server from outside. What it cannot see is measured elsewhere: looking up a setting, making an
engine or a context, transactions and connections of the database by the benchmarks, in
[performance.md](performance.md); regressions against a baseline take two runs, not one.
"""


SIGNALS = """\
# Signals

Whether users are well served, as named numbers, generated from the code (`make docs`): what `/health` shows, what alert
rules and roll-back triggers are written with. A signal is unknown, which is not well, where nothing happened that it
could be made of.

## Of what happened lately

The names stand for the last five minutes. `_1m`, `_5m` or `_1h` behind one asks for the last minute, five minutes or
hour: `connect_p95_ms_1m`, `factory_timeouts_1h`. Percentiles are those of all the values in the window, within 0.4 %. A
window is forgotten a sixth, a tenth or a twentieth at a time.

{made}

## Of now

{gauges}
"""


def main() -> int:
    pages = {
        "protocol.md": protocol(),
        "settings.md": settings_page(),
        "metrics.md": metrics_page(),
        "signals.md": signals_page(),
        "cli.md": cli_page(),
        "howto/mapping.schema.json": mapping_schema(),
        "service-levels.md": levels_page(),
        "schemas/service-levels.json": json.dumps(levels.schema(), indent=2) + "\n",
        "schemas/performance-report.json": json.dumps(data.schema(), indent=2) + "\n",
    }
    wrong = []
    for name, text in pages.items():
        path = DOCS / name
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                wrong.append(name)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if wrong:
        sys.stderr.write(f"out of date: docs/{', docs/'.join(wrong)}; run `make docs`\n")
    return 1 if wrong else 0


def mapping_schema() -> str:
    """Of the file that describes a WebSocket chat to the lab."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(websocket.Options)}
    return msgspec.json.format(msgspec.json.encode(schema)).decode() + "\n"


def protocol() -> str:
    with tempfile.TemporaryDirectory() as directory:
        table = App(settings.Settings(data_dir=directory)).build().site.table
    return PROTOCOL.format(
        routes=_routes([route for route in table if route.tag in ("auth", "agents", "threads")]),
        admin=_routes([route for route in table if route.permission is not None]),
        live=_table(
            ("frame", "fields"),
            [(f"`{kind.__struct_config__.tag}`", _fields(kind, skip=set())) for kind in get_args(live.LiveFrame)],
        ),
        samples=", ".join(f"`{name}`" for name in live.COLUMNS) + ".",
        viewers=MAX_VIEWERS,
        identities=IDENTITIES,
        max_id=commands.MAX_COMMAND_ID,
        commands=_table(
            ("op", "fields"),
            [(f"`{kind.__struct_config__.tag}`", _fields(kind, skip={"id"})) for kind in get_args(commands.Command)],
        ),
        frames=_table(
            ("frame", "fields"),
            [
                (kind.__name__, _fields(kind, skip={"re", "ok"}))
                for kind in get_args(commands.Frame)
                if kind is not commands.ErrorReply
            ],
        ),
        errors=_table(
            ("code", "HTTP", "retryable", "definite", "meaning"),
            [
                (f"`{row.name}`", row.status, _yes(row.retryable), _yes(row.definite), row.meaning)
                for row in errors.ERRORS.values()
            ],
        ),
        closes=_table(
            ("code", "name", "reconnect", "meaning"),
            [(row.code, row.name, _yes(row.reconnect), row.meaning) for row in errors.CLOSE_CODES.values()],
        ),
        events=_table(
            ("type", "fields"),
            [
                (f"`{kind.__struct_config__.tag}`", _fields(kind, skip={"timestamp", "raw_event", "metadata"}))
                for kind in get_args(events.Event)
            ],
        ),
    )


def _routes(table: list[Route]) -> str:
    def line(route: Route) -> tuple[object, ...]:
        body = route.body.__name__ if route.body is not None else ""
        answer = "SSE" if route.stream is not None else route.answer.__name__ if route.answer is not None else ""
        codes = " ".join(f"`{code}`" for code in route.errors)
        summary = route.summary if route.needs_token else f"{route.summary} (no token)"
        path = route.path.replace(":path}", "}")  # the router's word for a parameter that may have slashes
        return f"`{route.method} {path}`", summary, body, f"{route.status} {answer}".strip(), codes

    return _table(("call", "what", "body", "answer", "errors"), [line(route) for route in table])


def _fields(kind: type, skip: set[str]) -> str:
    shown = []
    for field in msgspec.structs.fields(kind):
        if field.name in skip:
            continue
        optional = not field.required
        shown.append(f"`{field.encode_name}`" + (" (optional)" if optional else ""))
    return ", ".join(shown) or "none"


def settings_page() -> str:
    notes = _notes(settings.Settings)
    rows = []
    for field in msgspec.structs.fields(settings.Settings):
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        if isinstance(default, settings.ByEnvironment):
            by_value: dict[str, list[str]] = {}
            for name, value in msgspec.structs.asdict(default).items():
                by_value.setdefault(_shown(value), []).append(name)
            shown = ", ".join(f"{value} ({' and '.join(names)})" for value, names in by_value.items())
        else:
            shown = _shown(default)
        rows.append((f"`{field.name}`", shown, notes.get(field.name, "")))
    aliases = [(f"`{variable}`", f"`{name}`") for variable, name in layers.ALIASES.items()]
    return SETTINGS.format(
        aliases=_table(("variable", "setting"), aliases), settings=_table(("setting", "default", "meaning"), rows)
    )


def _shown(value: object) -> str:
    return f"`{msgspec.json.encode(value).decode()}`" if value is not None else "`not set`"


async def _read(statistics: Statistics) -> msgspec.Struct:
    """On an event loop, where the server reads them."""
    return statistics()


def metrics_page() -> str:
    with tempfile.TemporaryDirectory() as directory:
        server = App(settings.Settings(data_dir=directory)).build()
    rows = []
    for part, statistics in server.statistics.items():
        record = type(asyncio.run(_read(statistics)))
        notes = _notes(record)
        for field in record.__struct_fields__:
            name = metric_name(part, field)
            kind = kind_of(part, field)
            shown = name if kind == "gauge" or name.endswith("_total") else f"{name}_total"
            rows.append((f"`{shown}`", kind, notes[field]))
    rows += [(f"`goldenpath_{name}_seconds`", "histogram", text) for name, (text, _) in metrics.DURATIONS.items()]
    rows += [(f"`goldenpath_{name}_total`", "counter", text) for name, (text, _) in metrics.COUNTS.items()]
    return METRICS.format(metrics=_table(("metric", "kind", "meaning"), rows))


def signals_page() -> str:
    return SIGNALS.format(
        made=_table(("signal", "what"), [(f"`{name}`", made.meaning) for name, made in signals.MADE.items()]),
        gauges=_table(("signal", "what"), [(f"`{name}`", meaning) for name, meaning in signals.GAUGES.items()]),
    )


def cli_page() -> str:
    group: Any = typer.main.get_command(cli.app)
    parts: list[str] = []
    for name, command in group.commands.items():
        parts += _command(name, command)
        if name != "lab":  # which has a page of its own
            for inner, each in getattr(command, "commands", {}).items():
                parts += _command(f"{name} {inner}", each)
    return CLI.format(commands="\n\n".join(parts))


def _command(name: str, command: Any) -> list[str]:
    rows = []
    for parameter in command.params:
        is_option = parameter.param_type_name == "option"
        rows.append((f"`{', '.join(parameter.opts) if is_option else parameter.metavar}`", parameter.help))
    return [f"## `goldenpath {name}`", command.help or "", *([_table(("argument", "meaning"), rows)] if rows else [])]


def levels_page() -> str:
    notes = _notes(levels.Change)
    rows = []
    for level in levels.default_levels().values():
        unit = find(level.quantity).unit
        quantity = f"`{level.quantity}`" + (f" over `{level.against}`" if level.against else "")
        if level.against:
            unit = "ratio"
        bounds = [amount(value, unit) if value is not None else "" for value in (level.target, level.limit)]
        where = " ".join(f"`{pattern}`" for pattern in level.scenarios)
        rows.append((f"`{level.name}`", level.text, quantity, level.comparison, *bounds, where, " ".join(level.source)))
    return LEVELS.format(
        keys="\n".join(f"| `{key}` | {notes[key]} |" for key in levels.Change.__struct_fields__),
        codes=MOST_CODES,
        others=OTHERS,
        quantities=_table(
            ("quantity", "unit", "better", "what"),
            [(f"`{each.name}`", each.unit, each.better, each.text) for each in SIMPLE.values()],
        ),
        durations=_table(("name", "how long it takes"), [(f"`{name}`", text) for name, (text, _) in DURATIONS.items()]),
        levels=_table(("level", "what it says", "quantity", "", "target", "limit", "scenarios", "source"), rows),
    )


def _notes(kind: type) -> dict[str, str]:
    """The string literals that follow a class's fields."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    notes = {}
    for field, note in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(note, ast.Expr)
            and isinstance(note.value, ast.Constant)
        ):
            notes[field.target.id] = " ".join(str(note.value.value).split())
    return notes


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
