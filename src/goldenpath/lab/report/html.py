"""`report.html`: one file that needs nothing else, readable without scripts, too; those draw the charts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

import msgspec

from goldenpath.lab.level import Status
from goldenpath.lab.report.blocks import SYMBOLS, Cell, Link, Number, badge, html, html_table
from goldenpath.lab.report.data import LevelReport, Report, ScenarioReport, Violation
from goldenpath.lab.report.documents import DOCUMENTS, number, scenario_row, used
from goldenpath.lab.report.words import amount, plural, seconds

_WITNESSES: Final = 25
"""How many violations of a scenario are described; all stand in performance_report.json."""
_ORDER: Final = {Status.BROKEN: 0, Status.UNKNOWN: 1, Status.MISSED: 2, Status.MET: 3}


def page(report: Report, columns: Sequence[dict[str, Any]]) -> str:
    """The whole page. `columns`: `series` of each scenario, in order."""
    script = _file("uplot.js") + "\n" + _file("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    single = len(report.scenarios) == 1
    pages = [_overview(report, single=single)]
    if not single:
        pages += [_page(_slug(place), _scenario(scenario, place)) for place, scenario in enumerate(report.scenarios)]
    pages += [
        _page(document.slug, f"<h2>{document.title}</h2>\n{html(document.blocks(report))}") for document in DOCUMENTS
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="color-scheme" content="light dark">
<title>{escape(_title(report))}</title>
<style>
{_file("uplot.css")}
{_file("report.css")}
</style>
</head>
<body>
<a class="skip" href="#overview">To the verdict</a>
<header><strong>goldenpath lab</strong> {badge(report.verdict)}</header>
{_navigation(report, single=single)}
<main>
{"".join(pages)}
<footer>Charts: uPlot, © Leon Sorokin, MIT licence.<details>
<summary>Licence</summary><pre>{escape(_file("uplot-license.txt"))}</pre></details></footer>
</main>
<script type="application/json" id="data">{_embedded(columns)}</script>
<script>{script}</script>
</body>
</html>
"""


def _file(name: str) -> str:
    return files("goldenpath.lab.report").joinpath("page", name).read_text("utf-8").strip()


def _embedded(data: Any) -> str:
    """JSON that no text in it can end, as an HTML parser sees it."""
    text = msgspec.json.encode(data).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _title(report: Report) -> str:
    names = ", ".join(scenario.name for scenario in report.scenarios[:3])
    return f"{SYMBOLS[report.verdict]} {report.verdict}: {names or 'nothing was run'} · goldenpath lab"


def _slug(place: int) -> str:
    return f"scenario-{place + 1}"


def _page(slug: str, content: str) -> str:
    return f'<section class="page" id="{slug}" tabindex="-1">\n{content}\n</section>\n'


def _navigation(report: Report, *, single: bool) -> str:
    links = ['<li><a href="#overview">Overview</a></li>']
    if not single:
        links += [
            f'<li><a href="#{_slug(place)}"><span class="mark {scenario.verdict}" aria-label="{scenario.verdict}">'
            f"{SYMBOLS[scenario.verdict]}</span> {escape(scenario.name)}</a></li>"
            for place, scenario in enumerate(report.scenarios)
        ]
    documents = [f'<li><a href="#{document.slug}">{document.title}</a></li>' for document in DOCUMENTS]
    return (
        f'<nav aria-label="Pages"><ul>{"".join(links)}</ul><p class="quiet">Documents</p>'
        f"<ul>{''.join(documents)}</ul></nav>"
    )


def _overview(report: Report, *, single: bool) -> str:
    scenarios = report.scenarios
    violations = sum(scenario.violation_count for scenario in scenarios)
    facts = " · ".join(
        (
            plural(len(scenarios), "scenario"),
            plural(sum(scenario.operations for scenario in scenarios), "operation"),
            f"{plural(sum(scenario.events for scenario in scenarios), 'event')} checked",
            plural(violations, "violation"),
        )
    )
    content = (
        f'<div class="hero {report.verdict}"><span class="sign" aria-hidden="true">{SYMBOLS[report.verdict]}</span>'
        f"<div><h1>{report.verdict.capitalize()}</h1><p>{facts}</p></div></div>\n"
    )
    if single:
        return _page("overview", content + _scenario(scenarios[0], 0))
    for scenario in scenarios:
        if scenario.reasons:
            content += f"<h3>{escape(scenario.name)} {badge(scenario.verdict)}</h3>{_reasons(scenario)}"
    rows = [(Link(each.name, _slug(place)), *scenario_row(each)[1:]) for place, each in enumerate(scenarios)]
    head = (
        "scenario",
        "verdict",
        "users",
        "operations",
        "events",
        "violations",
        "first token p95",
        "run p99",
        "levels",
    )
    return _page("overview", content + "<h2>Scenarios</h2>" + html_table(head, rows))


def _reasons(scenario: ScenarioReport) -> str:
    if not scenario.reasons:
        return ""
    return f'<ul class="reasons">{"".join(f"<li>{escape(reason)}</li>" for reason in scenario.reasons)}</ul>'


def _scenario(scenario: ScenarioReport, place: int) -> str:
    tokens = scenario.durations.get("first_token")
    tiles = (
        ("users", f"{scenario.users:,}"),
        ("operations", f"{scenario.operations:,}"),
        ("events", f"{scenario.events:,}"),
        ("violations", f"{scenario.violation_count:,}"),
        ("first token p95", amount(tokens.p95 if tokens else None, "s")),
        ("load for", seconds(scenario.seconds)),
    )
    tiled = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles)
    return f"""<h2>{escape(scenario.title)} {badge(scenario.verdict)}</h2>
<p>{escape(scenario.checks)}</p>
{_reasons(scenario)}
<dl class="tiles">{tiled}</dl>
{_violations(scenario)}
<h3>Service levels</h3>
{_levels(scenario)}
<h3>Course</h3>
{_faults(scenario)}
<div class="charts" data-scenario="{place}">
{_charts(scenario)}
</div>
<h3>Times</h3>
{_times(scenario)}
<h3>Load and generator</h3>
{_load(scenario)}
<h3>Checks</h3>
{_checks(scenario)}
<h3>Again</h3>
<p class="quiet">{escape(_where(scenario))}</p>
{_commands(scenario.command, scenario.check_command)}
"""


def _commands(*commands: str) -> str:
    return "".join(f'<pre tabindex="0"><code>{escape(each)}</code></pre>' for each in commands if each)


def _faults(scenario: ScenarioReport) -> str:
    if not scenario.faults:
        return ""
    told = [
        f"{fault.fault} from {seconds(fault.began)}"
        + (f" to {seconds(fault.ended)}" if fault.ended is not None else "")
        for fault in scenario.faults
    ]
    return f'<p class="quiet">Faults, shaded: {escape(", ".join(told))}</p>'


def _where(scenario: ScenarioReport) -> str:
    parts = [
        scenario.started_at,
        scenario.target,
        scenario.machine,
        f"goldenpath {scenario.version}",
        f"seed {scenario.seed}",
        plural(scenario.workers, "worker"),
    ]
    return " · ".join(part for part in parts if part)


def _violations(scenario: ScenarioReport) -> str:
    if not scenario.violations:
        return ""
    shown = "".join(_violation(violation, scenario) for violation in scenario.violations[:_WITNESSES])
    rest = scenario.violation_count - min(len(scenario.violations), _WITNESSES)
    more = f'<p class="quiet">{plural(rest, "violation")} more.</p>' if rest > 0 else ""
    return f"<h3>Violations</h3>{shown}{more}"


def _violation(violation: Violation, scenario: ScenarioReport) -> str:
    places = [f"at {seconds(violation.at)}", f"user {violation.user}"]
    places += [f"thread {violation.thread}"] if violation.thread else []
    places += [f"run {violation.run}"] if violation.run else []
    return (
        f'<article class="violation"><h4>{badge("fail")} {escape(violation.checker)}: {escape(violation.kind)}</h4>'
        f'<p>{escape(violation.witness)}</p><p class="quiet">{escape(" · ".join(places))}</p>'
        f'<pre tabindex="0"><code>{escape(scenario.check_command)}</code></pre></article>'
    )


def _levels(scenario: ScenarioReport) -> str:
    levels = sorted(scenario.service_levels, key=lambda level: _ORDER[level.status])
    if not levels:
        return '<p class="quiet">No service level applies.</p>'
    rows = "".join(_level(level) for level in levels)
    left = "".join(f"<li>{escape(each.name)}: {escape(each.why)}</li>" for each in scenario.not_applied)
    more = f"<details><summary>What does not apply ({len(scenario.not_applied)})</summary><ul>{left}</ul></details>"
    return (
        '<div class="scroll" tabindex="0"><table class="levels"><thead><tr><th scope="col">service level</th>'
        '<th scope="col">status</th><th scope="col" class="number">measured</th>'
        '<th scope="col" class="number">target</th><th scope="col" class="number">limit</th>'
        '<th scope="col">used of the target</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{more if left else ''}"
    )


def _level(level: LevelReport) -> str:
    share = used(level)
    gauge = ""
    if share is not None and level.comparison == "<=":
        width = min(100.0, 100 * share)
        gauge = (
            f'<span class="gauge {level.status}" style="--used:{width:.2f}%" aria-hidden="true"></span>'
            f"<small>{share:.0%}</small>"
        )
    numbers: tuple[Number, ...] = (
        number(level.measured, level.unit),
        number(level.level, level.unit),
        number(level.limit, level.unit),
    )
    cells = "".join(
        f'<td class="number"{"" if each.value is None else f" data-value={chr(34)}{each.value!r}{chr(34)}"}>'
        f"{escape(each.text)}</td>"
        for each in numbers
    )
    return (
        f'<tr data-level="{escape(level.name)}"><th scope="row"><b>{escape(level.name)}</b>'
        f" <code>{escape(level.quantity)}</code><small>{escape(level.text)}</small></th>"
        f"<td>{badge(level.status)}</td>{cells}<td>{gauge}</td></tr>"
    )


_CHARTS: Final = (
    ("first_token", "Time to the first token", True),
    ("load", "Offered against delivered", True),
    ("runs", "Every run, from its intended start", True),
    ("users", "Users, the best-served first", False),
    ("resources", "What the target uses", True),
    ("lag", "Lateness of the generator, and open connections", True),
)


def _charts(scenario: ScenarioReport) -> str:
    said = {
        "first_token": _said(scenario, "first_token"),
        "load": f"{scenario.load.offered:,} runs offered, {scenario.load.started:,} started, "
        f"{scenario.load.completed:,} completed, {scenario.load.failed:,} failed",
        "runs": _said(scenario, "run"),
        "users": plural(scenario.users, "user"),
        "resources": f"memory at most {amount(scenario.resources['memory_peak_mb'], 'MB')}, "
        f"CPU {amount(scenario.resources['cpu_percent'], '%')} of all cores on average",
        "lag": f"event loop late by {amount(scenario.load.loop_lag_max, 's')} at most",
    }
    return "".join(
        f'<figure data-chart="{name}"><figcaption><b>{title}</b><span>{escape(said[name])}</span></figcaption>'
        f'<div class="plot" role="img" aria-label="{title}: {escape(said[name])}"></div></figure>\n'
        for name, title, _ in _CHARTS
    )


def _said(scenario: ScenarioReport, name: str) -> str:
    times = scenario.durations.get(name)
    if times is None:
        return "nothing was measured"
    parts = (("p50", times.p50), ("p95", times.p95), ("p99", times.p99), ("max", times.max))
    return ", ".join(f"{word} {amount(value, 's')}" for word, value in parts)


def _times(scenario: ScenarioReport) -> str:
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            number(times.count),
            number(times.mean, "s"),
            number(times.p50, "s"),
            number(times.p90, "s"),
            number(times.p95, "s"),
            number(times.p99, "s"),
            number(times.max, "s"),
        )
        for name, times in scenario.durations.items()
    ]
    if not rows:
        return '<p class="quiet">Nothing was measured.</p>'
    return html_table(("what", "times", "mean", "p50", "p90", "p95", "p99", "slowest"), rows)


def _load(scenario: ScenarioReport) -> str:
    load = scenario.load
    facts = (
        ("runs offered", amount(load.offered, "")),
        ("started", amount(load.started, "")),
        ("completed", amount(load.completed, "")),
        ("failed", amount(load.failed, "")),
        ("iterations late, p50", amount(load.lag_p50, "s")),
        ("p99", amount(load.lag_p99, "s")),
        ("at most", amount(load.lag_max, "s")),
        ("loop late at most", amount(load.loop_lag_max, "s")),
        ("CPU of the busiest worker", amount(load.cpu_mean, "%")),
        ("at most", amount(load.cpu_max, "%")),
    )
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    said = (
        f'<p class="invalid">Invalid: the lab was the bottleneck: {escape(load.bottleneck)}.</p>'
        if load.bottleneck
        else '<p class="quiet">The lab was not the bottleneck.</p>'
    )
    outcomes: list[tuple[Cell, ...]] = [
        (
            kind,
            number(counts.get("ok", 0)),
            number(sum(counts.values()) - counts.get("ok", 0)),
            ", ".join(f"{code} {count:,}" for code, count in sorted(counts.items()) if code != "ok"),
        )
        for kind, counts in scenario.outcomes.items()
    ]
    table = html_table(("operation", "ok", "not ok", "why"), outcomes) if outcomes else ""
    return f'{said}<dl class="tiles small">{tiles}</dl>{table}'


def _checks(scenario: ScenarioReport) -> str:
    rows = "".join(
        f"<tr><td>{escape(each.checker)}</td><td>"
        + (badge(each.verdict) if each.exercised else '<span class="quiet">had nothing to do</span>')
        + f'</td><td class="number">{each.checked:,}</td><td class="long">'
        + escape(each.broken or ", ".join(f"{kind} {count:,}" for kind, count in each.counts.items()))
        + "</td></tr>"
        for each in scenario.checkers
    )
    return (
        '<div class="scroll" tabindex="0"><table><thead><tr><th scope="col">checker</th><th scope="col">verdict</th>'
        '<th scope="col" class="number">looked at</th><th scope="col">found</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
