"""`junit.xml`: a test suite for each scenario, a test case for each checker and each service level
where anything was tried, and one for the verdict."""

from __future__ import annotations

import re
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from goldenpath.lab.level import Status
from goldenpath.lab.plain import plain
from goldenpath.lab.report.data import CheckerReport, LevelReport, Report, ScenarioReport
from goldenpath.lab.verdict import Verdict
from goldenpath.lab.words import amount

_FORBIDDEN: Final = re.compile("[\ufffe\uffff]")
"""What XML 1.0 cannot carry besides characters that are not seen."""
_SHOWN: Final = 10


def junit(report: Report) -> str:
    """The report as CI systems read it: fail is a failure, unknown an error."""
    suites = [_suite(scenario) for scenario in report.scenarios]
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="goldenpath lab">\n{"".join(suites)}</testsuites>\n'
    )


def _suite(scenario: ScenarioReport) -> str:
    cases = []
    if scenario.operations:  # else there is one thing to say, and not of each of them
        cases += [
            _case(scenario, f"checker {each.checker}", *_of_checker(scenario, each)) for each in scenario.checkers
        ]
        cases += [_case(scenario, f"level {each.name}", *_of_level(scenario, each)) for each in scenario.service_levels]
    reasons = "; ".join(scenario.reasons)
    if scenario.verdict is Verdict.UNKNOWN:
        reasons = f"unknown: {reasons}"
    cases.append(
        _case(scenario, "verdict", scenario.verdict if scenario.verdict is not Verdict.FAIL else None, reasons)
    )
    failures = sum("<failure" in case for case in cases)
    errors = sum("<error" in case for case in cases)
    skipped = sum("<skipped" in case for case in cases)
    return (
        f'  <testsuite name={_attribute(scenario.name)} tests="{len(cases)}" failures="{failures}" errors="{errors}"'
        f' skipped="{skipped}" time="{max(0.0, scenario.seconds):.3f}"'
        f" timestamp={_attribute(scenario.started_at[:19])}>\n"
        f"{''.join(cases)}  </testsuite>\n"
    )


def _of_checker(scenario: ScenarioReport, checker: CheckerReport) -> tuple[Verdict | None, str]:
    if not checker.exercised:
        return None, "it had nothing to do"
    witnesses = [each.witness for each in scenario.violations if each.checker == checker.checker]
    return checker.verdict, checker.broken or "\n".join(witnesses[:_SHOWN]) or _unknown(scenario)


def _unknown(scenario: ScenarioReport) -> str:
    """What is unknown in it is so because of this."""
    return f"unknown: {'; '.join(scenario.doubts) or 'there was nothing to look at'}"


def _of_level(scenario: ScenarioReport, level: LevelReport) -> tuple[Verdict | None, str]:
    if level.status is Status.UNKNOWN:
        return Verdict.UNKNOWN, _unknown(scenario)
    measured, limit = amount(level.measured, level.unit), amount(level.limit, level.unit)
    return level.status.verdict, f"{level.quantity} is {measured}, the limit is {limit}"


def _case(scenario: ScenarioReport, name: str, verdict: Verdict | None, why: str) -> str:
    head = f"    <testcase classname={_attribute(f'lab.{scenario.name}')} name={_attribute(name)}"
    match verdict:
        case Verdict.PASS:
            return f"{head}/>\n"
        case Verdict.FAIL:
            body = f"<failure message={_attribute(why.split(chr(10), maxsplit=1)[0])}>{_text(why)}</failure>"
        case Verdict.UNKNOWN:
            body = f"<error message={_attribute(why.split(chr(10), maxsplit=1)[0] or 'unknown')}>{_text(why)}</error>"
        case None:
            body = f"<skipped message={_attribute(why)}/>"
    return f"{head}>{body}</testcase>\n"


def _text(text: str) -> str:
    return escape("\n".join(_shown(line) for line in text.split("\n")))


def _attribute(text: str) -> str:
    return quoteattr(_shown(text))


def _shown(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", plain(text))
