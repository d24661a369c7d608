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
from goldenpath.lab.quantities import DURATIONS, SIMPLE, find
from goldenpath.lab.report import data
from goldenpath.lab.report.words import amount
from goldenpath.lab.targets import websocket
from goldenpath.runtime import settings
from goldenpath.runtime.gateway.routes import Route, routes
from goldenpath.runtime.metrics import Statistics, kind_of, metric_name
from goldenpath.wire import commands, errors, events

DOCS = Path(__file__).resolve().parent.parent / "docs"

PROTOCOL = """\
# Protocol reference

What the server speaks, generated from the code (`make docs`). The delivery contract in words is in
[delivery.md](delivery.md); the order in which a message travels is in [tour.md](tour.md).

## HTTP

Errors are problem documents (RFC 9457, `application/problem+json`) with `code`, `retryable` and `retry_after`. Every
call needs `Authorization: Bearer ACCESS_TOKEN` unless the table says otherwise. Beside the errors of its own, a call
with a token may answer `unauthorized` and `upstream_unavailable`, one with a body `bad_request`, `payload_too_large`
and `timeout`, and any `overloaded` and `internal`. The same as an OpenAPI 3.1 document is
at `/openapi.json`.

{routes}

Besides: `/v1/ws` (WebSocket, below), `/livez`, `/readyz`, `/health`, `/metrics`, `/openapi.json` and the chat page at
`/`; none of them but the WebSocket needs a token.

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

Every setting, generated from the code (`make docs`). In the environment a setting is its name in upper case with
`GOLDENPATH_` before it; an unknown `GOLDENPATH_` variable stops the start. `ENVIRONMENT` sets `environment`, and
`E2E_OAUTH_SIMULATION_KEY` is taken for `simulation_key`. Structured values (`tiers`, `issuers`, `allowed_origins`) are
JSON. Durations are seconds, sizes bytes.

Options of `goldenpath serve` (`--port` is `port`) win over all else. An app that is made with settings,
`App(Settings(...))`, has those and does not read the environment.

{settings}
"""


METRICS = """\
# Metrics

What `/metrics` shows to Prometheus, generated from the code (`make docs`). Counters begin at 0 when the server starts.
No metric has labels, and none names a user or a thread.

{metrics}

What to watch: `goldenpath_log_healthy` at 0 (the disk does not take commits), `goldenpath_log_last_commit_duration`
(everybody waits for it), `goldenpath_admission_waiting` (the server, or its users, want more than their limits allow),
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
`failure_rate.KIND.CODE`: for one reason. `violations.CHECKER`, `violations.CHECKER.KIND`: of one checker.

## The default levels

{levels}

## What is not here

A load run sees a server from outside. What it cannot see is measured elsewhere: looking up a setting (M134), making an
engine or a context (M36, M46-M53, M65), transactions and connections of the database (M121-M126) by the benchmarks, in
[performance.md](performance.md); regressions against a baseline (M296-M299, C12) take two runs, not one.
"""


def main() -> int:
    pages = {
        "protocol.md": protocol(),
        "settings.md": settings_page(),
        "metrics.md": metrics_page(),
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
    return PROTOCOL.format(
        routes=_routes(),
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


class _NoApi:
    """Gives a name for every call: the table of routes needs no server behind it."""

    def __getattr__(self, name: str) -> Any:
        return name


def _routes() -> str:
    def line(route: Route) -> tuple[object, ...]:
        body = route.body.__name__ if route.body is not None else ""
        answer = "SSE" if route.stream is not None else route.answer.__name__ if route.answer is not None else ""
        codes = " ".join(f"`{code}`" for code in route.errors)
        summary = route.summary if route.needs_token else f"{route.summary} (no token)"
        return f"`{route.method} {route.path}`", summary, body, f"{route.status} {answer}".strip(), codes

    api: Any = _NoApi()
    return _table(("call", "what", "body", "answer", "errors"), [line(route) for route in routes(api)])


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
        shown = msgspec.json.encode(default).decode() if default is not None else "not set"
        rows.append((f"`{field.name}`", f"`{shown}`", notes.get(field.name, "")))
    return SETTINGS.format(settings=_table(("setting", "default", "meaning"), rows))


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
    return METRICS.format(metrics=_table(("metric", "kind", "meaning"), rows))


def cli_page() -> str:
    group: Any = typer.main.get_command(cli.app)
    parts = []
    for name, command in group.commands.items():
        parts += [f"## `goldenpath {name}`", command.help or ""]
        rows = []
        for parameter in command.params:
            is_option = parameter.param_type_name == "option"
            rows.append((f"`{', '.join(parameter.opts) if is_option else parameter.metavar}`", parameter.help))
        parts.append(_table(("argument", "meaning"), rows))
    return CLI.format(commands="\n\n".join(parts))


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
