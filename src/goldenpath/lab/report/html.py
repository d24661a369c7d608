"""`report.html`: one file that needs nothing else, readable without scripts, too; those draw the charts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import msgspec

from goldenpath.lab.report.blocks import SYMBOLS, Link, badge, escaped, html, html_table
from goldenpath.lab.report.data import Report
from goldenpath.lab.report.documents import DOCUMENTS
from goldenpath.lab.report.rows import SCENARIO_HEAD, about, scenario_row
from goldenpath.lab.report.scenario_page import reasons_of, scenario_page
from goldenpath.lab.words import amount, plural
from goldenpath.vendor import uplot


def page(report: Report, columns: Sequence[dict[str, Any]]) -> str:
    """The whole page. `columns`: `series` of each scenario, in order."""
    script = _uplot("uplot.js") + "\n" + _file("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    single = len(report.scenarios) == 1
    pages = [_overview(report, single=single)]
    if not single:
        pages += [
            _page(_slug(place), scenario_page(scenario, place)) for place, scenario in enumerate(report.scenarios)
        ]
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
<title>{escaped(_title(report))}</title>
<style>
{_uplot("uplot.css")}
{_file("report.css")}
</style>
</head>
<body>
<a class="skip" href="#overview">To the verdict</a>
<header><strong>goldenpath lab</strong> {badge(report.verdict)}{_about(report)}</header>
{_navigation(report, single=single)}
<main>
{"".join(pages)}
<footer>Charts: uPlot, © Leon Sorokin, MIT licence.<details>
<summary>Licence</summary><pre>{escaped(_uplot("LICENSE.txt"))}</pre></details></footer>
</main>
<script type="application/json" id="data">{_embedded(columns)}</script>
<script>{script}</script>
</body>
</html>
"""


def _file(name: str) -> str:
    return files("goldenpath.lab.report").joinpath("page", name).read_text("utf-8").strip()


def _uplot(name: str) -> str:
    return uplot().joinpath(name).read_text("utf-8").strip()


def _embedded(data: Any) -> str:
    """JSON that no text in it can end, as an HTML parser sees it."""
    text = msgspec.json.encode(data).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _title(report: Report) -> str:
    names = ", ".join(scenario.name for scenario in report.scenarios[:3])
    label = next((scenario.label for scenario in report.scenarios if scenario.label), "")
    names = f"{label}: {names}" if label else names
    return f"{SYMBOLS[report.verdict]} {report.verdict}: {names or 'nothing was run'} · goldenpath lab"


def _about(report: Report) -> str:
    command = report.scenarios[0].command if report.scenarios else ""
    return f"<span>{escaped(' · '.join(about(report)))}</span>" + (
        f"<code>{escaped(command)}</code>" if command else ""
    )


def _slug(place: int) -> str:
    return f"scenario-{place + 1}"


def _page(slug: str, content: str) -> str:
    return f'<section class="page" id="{slug}" tabindex="-1">\n{content}\n</section>\n'


def _navigation(report: Report, *, single: bool) -> str:
    links = ['<li><a href="#overview">Overview</a></li>']
    if not single:
        links += [
            f'<li><a href="#{_slug(place)}"><span class="mark {scenario.verdict}" aria-label="{scenario.verdict}">'
            f"{SYMBOLS[scenario.verdict]}</span> {escaped(scenario.name)}</a></li>"
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
    ended = sum(scenario.pace.ended for scenario in scenarios)
    failed = sum(scenario.pace.failed for scenario in scenarios)
    facts = " · ".join(
        (
            plural(len(scenarios), "scenario"),
            plural(sum(scenario.operations for scenario in scenarios), "operation"),
            f"{plural(sum(scenario.events for scenario in scenarios), 'event')} checked",
            *([plural(violations, "violation")] if any(scenario.operations for scenario in scenarios) else []),
            *([f"{amount(failed / ended, 'ratio')} not ok"] if ended else []),
            *([f"not run: {escaped(', '.join(report.not_run))}"] if report.not_run else []),
        )
    )
    content = (
        f'<div class="hero {report.verdict}"><span class="sign" aria-hidden="true">{SYMBOLS[report.verdict]}</span>'
        f"<div><h1>{report.verdict.capitalize()}</h1><p>{facts}</p></div></div>\n"
    )
    if single:
        return _page("overview", content + scenario_page(scenarios[0], 0))
    changed = [scenario for scenario in scenarios if scenario.changes]
    if changed:
        lines = (f"<li>{escaped(scenario.name)}: {escaped(scenario.changes)}</li>" for scenario in changed)
        content += f"<h3>Changed</h3><ul>{''.join(lines)}</ul>"
    for scenario in scenarios:
        if scenario.reasons:
            content += f"<h3>{escaped(scenario.name)} {badge(scenario.verdict)}</h3>{reasons_of(scenario)}"
    rows = [(Link(each.name, _slug(place)), *scenario_row(each)[1:]) for place, each in enumerate(scenarios)]
    return _page("overview", content + "<h2>Scenarios</h2>" + html_table(SCENARIO_HEAD, rows))
