"""A scenario on the page: what was wrong, levels, charts, times, load, checks, and how to run it again."""

from __future__ import annotations

from typing import Final

from goldenpath.lab.level import Status
from goldenpath.lab.quantities import DURATIONS
from goldenpath.lab.report.blocks import Badge, Cell, Number, badge, escaped, html_table
from goldenpath.lab.report.data import LevelReport, ScenarioReport, Violation
from goldenpath.lab.report.rows import FAILURE_HEAD, OUTCOME_HEAD, failure_rows, measured, number, outcome_rows, used
from goldenpath.lab.words import amount, plural, seconds

_WITNESSES: Final = 25
"""How many violations of a scenario are described; all stand in performance_report.json."""
_ORDER: Final = {Status.BROKEN: 0, Status.UNKNOWN: 1, Status.MISSED: 2, Status.MET: 3}


def reasons_of(scenario: ScenarioReport) -> str:
    """Why its verdict is no pass; empty where it is."""
    if not scenario.reasons:
        return ""
    return f'<ul class="reasons">{"".join(f"<li>{escaped(reason)}</li>" for reason in scenario.reasons)}</ul>'


def scenario_page(scenario: ScenarioReport, place: int) -> str:
    """All of one scenario. `place`: which of the embedded `series` its charts draw."""
    tokens, pace = scenario.durations.get("first_token"), scenario.pace
    tiles = (
        ("users", f"{scenario.users:,}"),
        ("operations", f"{scenario.operations:,}"),
        ("not ok", amount(pace.failed_share, "ratio")),
        ("violations", amount(scenario.violation_count if scenario.operations else None, "")),
        ("runs", amount(pace.runs_per_second, "/s")),
        ("events", amount(pace.events_per_second, "/s")),
        ("received", amount(pace.received_mb, "MB")),
        ("first token p95", amount(tokens.p95 if tokens else None, "s")),
        ("load for", seconds(scenario.seconds)),
    )
    tiled = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles)
    return f"""<h2>{escaped(scenario.title)} {badge(scenario.verdict)}</h2>
{_what(scenario)}
{reasons_of(scenario)}
<dl class="tiles">{tiled}</dl>
{_failures(scenario)}
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
<p class="quiet">{escaped(_where(scenario))}</p>
{_commands(scenario.command, scenario.check_command)}
"""


def _failures(scenario: ScenarioReport) -> str:
    rows = failure_rows(scenario)
    if not rows:
        return ""
    pace = scenario.pace
    said = f"{pace.failed:,} of {plural(pace.ended, 'operation')} were not ok."
    return f'<h3>Not ok</h3><p class="quiet">{said}</p>{html_table(FAILURE_HEAD, rows)}'


def _what(scenario: ScenarioReport) -> str:
    changed = f"<p><strong>{escaped(scenario.changed)}</strong></p>\n" if scenario.changed else ""
    return f"{changed}<p>{escaped(scenario.checks)}</p>"


def _commands(*commands: str) -> str:
    return "".join(f'<pre tabindex="0"><code>{escaped(each)}</code></pre>' for each in commands if each)


def _faults(scenario: ScenarioReport) -> str:
    if not scenario.faults:
        return ""
    told = [
        f"<li><code>{escaped(fault.fault)}</code> from {seconds(fault.began)}"
        + (f" to {seconds(fault.ended)}" if fault.ended is not None else "")
        + "</li>"
        for fault in scenario.faults
    ]
    return f'<p class="quiet">Faults, shaded and numbered in the charts:</p><ol>{"".join(told)}</ol>'


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
        f'<article class="violation"><h4>{badge("fail")} {escaped(violation.checker)}: {escaped(violation.kind)}</h4>'
        f'<p>{escaped(violation.witness)}</p><p class="quiet">{escaped(" · ".join(places))}</p>'
        f'<pre tabindex="0"><code>{escaped(scenario.check_command)}</code></pre></article>'
    )


def _levels(scenario: ScenarioReport) -> str:
    levels = sorted(scenario.service_levels, key=lambda level: _ORDER[level.status])
    if not levels:
        return '<p class="quiet">No service level applies.</p>'
    rows = "".join(_level(level) for level in levels)
    left = "".join(f"<li>{escaped(each.name)}: {escaped(each.why)}</li>" for each in scenario.not_applied)
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
        measured(level),
        number(level.level, level.unit),
        number(level.limit, level.unit),
    )
    cells = "".join(
        f'<td class="number"{"" if each.value is None else f" data-value={chr(34)}{each.value!r}{chr(34)}"}>'
        f"{escaped(each.text)}</td>"
        for each in numbers
    )
    return (
        f'<tr data-level="{escaped(level.name)}"><th scope="row"><b>{escaped(level.name)}</b>'
        f" <code>{escaped(level.quantity)}</code><small>{escaped(level.text)}</small></th>"
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
        f"CPU {amount(scenario.resources['cpu_percent'], '%')} on average, of all cores together, "
        f"a new connection answered after {amount(scenario.resources['round_trip_seconds'], 's')} at most",
        "lag": f"event loop late by {amount(scenario.load.loop_lag_max, 's')} at most",
    }
    return "".join(
        f'<figure data-chart="{name}"><figcaption><b>{title}</b><span>{escaped(said[name])}</span></figcaption>'
        f'<div class="plot" role="img" aria-label="{title}: {escaped(said[name])}"></div></figure>\n'
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
        if name != "final_delivery" or times.max
    ]
    if not rows:
        return '<p class="quiet">Nothing was measured.</p>'
    words = {**{name: text for name, (text, _) in DURATIONS.items()}, "lag": _LAG}
    known = [f"<li><b>{name}</b>: {words[name]}</li>" for name in scenario.durations if name in words]
    if "final_delivery" in scenario.durations and not scenario.durations["final_delivery"].max:
        known.append("<li>Every run's end came in one message with the last piece of its answer.</li>")
    return (
        html_table(("what", "times", "mean", "p50", "p90", "p95", "p99", "slowest"), rows)
        + f"<details><summary>What these are</summary><ul>{''.join(known)}</ul></details>"
    )


_LAG: Final = "how late the lab itself began what was due; it is part of every other time"


def _load(scenario: ScenarioReport) -> str:
    load = scenario.load
    facts = (
        ("runs offered", amount(load.offered, "")),
        ("started", amount(load.started, "")),
        ("completed", amount(load.completed, "")),
        ("failed", amount(load.failed, "")),
        ("iterations late, p50", amount(load.lag_p50, "s")),
        ("iterations late, p99", amount(load.lag_p99, "s")),
        ("iterations late, at most", amount(load.lag_max, "s")),
        ("event loop late, at most", amount(load.loop_lag_max, "s")),
        ("busiest worker's CPU, mean", amount(load.cpu_mean, "%")),
        ("busiest worker's CPU, at most", amount(load.cpu_max, "%")),
    )
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    said = (
        f'<p class="invalid">Invalid: the lab was the bottleneck: {escaped(load.bottleneck)}.</p>'
        if load.bottleneck
        else '<p class="quiet">The lab was not the bottleneck.</p>'
        if scenario.operations
        else ""
    )
    outcomes = outcome_rows(scenario)
    table = html_table(OUTCOME_HEAD, outcomes) if outcomes else ""
    return f'{said}<dl class="tiles small">{tiles}</dl>{table}'


def _checks(scenario: ScenarioReport) -> str:
    rows: list[tuple[Cell, ...]] = [
        (
            each.checker,
            Badge(each.verdict) if each.exercised else "had nothing to do",
            number(each.checked),
            each.broken or ", ".join(f"{kind} {count:,}" for kind, count in each.counts.items()),
        )
        for each in scenario.checkers
    ]
    return html_table(("checker", "verdict", "looked at", "found"), rows)
