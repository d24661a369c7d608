"""The reports: they agree with each other, keep to their schemas, and take nothing from a target for markup."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema_rs
import msgspec
import pytest
from rich.console import Console

from goldenpath.cli.lab_verdict import show_result
from goldenpath.lab import levels as level_files
from goldenpath.lab.records import Complete, Injected, Invoke
from goldenpath.lab.report import data, write_reports
from goldenpath.lab.report.documents import DOCUMENTS
from goldenpath.lab.summary import judge_directory
from goldenpath.lab.verdict import Verdict
from goldenpath.lab.words import amount
from tests.lab.made_run import ZERO, MadeRun, path_of_users

EVIL = (
    "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>|`*[x](javascript:1)\x00\u2028"
    "[/][bold]\x1b[31m\x1b]0;x\x07\x9b\u202e\n"
)


def written(tmp_path: Path, *runs: MadeRun) -> tuple[data.Report, Path]:
    out = tmp_path / "out"
    stored = [run.store(tmp_path / f"{place}") for place, run in enumerate(runs)]
    return write_reports(out, [judge_directory(directory) for directory in stored]), out


def evil_run() -> MadeRun:
    """A target that puts markup wherever it may speak, by way of one that lost an event, too."""
    run = path_of_users(2, stays=4, scenario="golden_path", target=EVIL, command=f"goldenpath {EVIL}", machine=EVIL)
    run.ask(0, 3.0, lose=1, answer=EVIL, leaks=1)
    run.add(Invoke(ZERO + 5, 900, 1, "ask", ZERO + 5, 2, EVIL, EVIL, EVIL), Complete(ZERO + 6, 900, "fail", EVIL, EVIL))
    run.add(Injected(ZERO + 1, EVIL, on=True))
    return run.note(6, "target_lost", EVIL).sample(1, EVIL, loop_lag=1.0)


class Page(HTMLParser):
    """Which elements there are, what is said, and the numbers behind the cells of levels."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.levels: dict[str, list[float]] = {}
        self._level = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        known = dict(attrs)
        if tag == "tr":
            self._level = known.get("data-level") or ""
        elif self._level and "data-value" in known:
            self.levels.setdefault(self._level, []).append(float(known["data-value"] or "nan"))


def test_the_report_has_the_promised_keys_and_keeps_to_its_schema(tmp_path: Path) -> None:
    report, out = written(tmp_path, path_of_users(3, watched=True))
    told = json.loads((out / "performance_report.json").read_text())
    jsonschema_rs.validate(data.schema(), told)
    assert (told["verdict"], told["exit_code"]) == ("pass", 0)
    assert (report.verdict, report.exit_code) == (Verdict.PASS, 0)
    (scenario,) = told["scenarios"]
    shown = {"name": "golden_path", "verdict": "pass", "users": 3, "operations": 15, "events": 45, "violations": []}
    assert {key: scenario[key] for key in shown} == shown
    for level in scenario["service_levels"]:
        assert {"name", "level", "limit", "measured", "status"} <= set(level)


def test_a_report_with_violations_keeps_to_the_schema_too(tmp_path: Path) -> None:
    report, out = written(tmp_path, evil_run(), MadeRun("spike"))
    jsonschema_rs.validate(data.schema(), json.loads((out / "performance_report.json").read_text()))
    assert (report.verdict, report.exit_code) == (Verdict.FAIL, 1)


def test_the_default_levels_keep_to_the_schema_of_their_files() -> None:
    jsonschema_rs.validate(level_files.schema(), msgspec.to_builtins(level_files.read_defaults()))


def test_nothing_at_all_is_unknown(tmp_path: Path) -> None:
    report = write_reports(tmp_path, [])
    assert (report.verdict, report.exit_code) == (Verdict.UNKNOWN, 2)
    assert "Unknown" in (tmp_path / "report.html").read_text()


def test_the_numbers_of_the_page_are_those_of_the_data(tmp_path: Path) -> None:
    _, out = written(tmp_path, path_of_users(10, watched=True, cores=2))
    text = (out / "report.html").read_text()
    page = Page(text)
    (scenario,) = json.loads((out / "performance_report.json").read_text())["scenarios"]
    assert len(scenario["service_levels"]) > 25
    for level in scenario["service_levels"]:
        numbers = [value for value in (level["measured"], level["level"], level["limit"]) if value is not None]
        assert page.levels[level["name"]] == numbers
        row = re.search(rf'<tr data-level="{re.escape(level["name"])}">.*?</tr>', text)
        assert row is not None
        for value in numbers:
            assert f">{amount(value, level['unit'])}</td>" in row[0]
    assert f"{scenario['events']:,}" in text
    assert amount(scenario["durations"]["run"]["p95"], "s") in text


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    _, out = written(tmp_path, path_of_users(3))
    page = Page((out / "report.html").read_text())
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert not [value for name, value in page.attributes if name == "src"]
    assert all((value or "").startswith("#") for name, value in page.attributes if name == "href")
    assert "The MIT License" in (out / "report.html").read_text()


def test_what_a_target_says_is_no_markup(tmp_path: Path) -> None:
    _, out = written(tmp_path, evil_run())
    text = (out / "report.html").read_text()
    page = Page(text)
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "window.pwned=1&lt;/script&gt;" in text
    embedded = text.split('id="data">')[1].split("</script>")[0]
    assert json.loads(embedded)[0]["faults"][0][0] == EVIL
    for name in ["summary.md", *(f"{document.slug}.md" for document in DOCUMENTS)]:
        markdown = (out / name).read_text()
        assert not re.search(r"^(?!    ).*<(script|img)", markdown, re.MULTILINE), name
        assert not re.search(r"^(?!    ).*(?<!\\)\]\(javascript", markdown, re.MULTILINE), name


STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]")


def test_nothing_that_a_target_says_steers_the_terminal_or_a_reader(tmp_path: Path) -> None:
    run = evil_run()
    _, out = written(tmp_path, run)
    for path in (each for each in out.iterdir() if each.suffix in (".html", ".md", ".xml")):
        text = path.read_text()
        assert not STEERING.search(text.split("<style>")[0] + text.split("</style>")[-1].split("<script")[0]), path
    terminal = io.StringIO()
    show_result(Console(file=terminal, width=4000), judge_directory(run.store(tmp_path / "again")))
    shown = terminal.getvalue()
    assert not STEERING.search(shown)
    assert "[/][bold]\N{SYMBOL FOR ESCAPE}[31m" in shown  # as it came, but seen
    assert shown.count("not ok: </script>") == 1


def test_junit_is_xml_with_a_case_for_each_checker_and_level(tmp_path: Path) -> None:
    report, out = written(tmp_path, evil_run(), path_of_users(2))
    root = ET.fromstring((out / "junit.xml").read_text())
    failed, passed = root.findall("testsuite")
    for suite, scenario in zip((failed, passed), report.scenarios, strict=True):
        assert len(suite) == len(scenario.checkers) + len(scenario.service_levels) + 1 == int(suite.attrib["tests"])
    assert int(failed.attrib["failures"]) == len(failed.findall("testcase/failure")) > 0
    assert (passed.attrib["failures"], passed.attrib["errors"]) == ("0", "0")


def test_a_target_that_was_never_reached_is_one_error_and_no_number(tmp_path: Path) -> None:
    _, out = written(tmp_path, MadeRun().note(0, "target_lost", "nobody is there"))
    [suite] = ET.fromstring((out / "junit.xml").read_text()).findall("testsuite")
    [error] = suite.findall("testcase/error")
    assert len(suite) == 1
    assert (error.text or "").startswith("unknown: the target was lost: nobody is there")
    text = (out / "report.html").read_text()
    assert "The lab was not the bottleneck" not in text
    assert "0 violations" not in text


def test_what_is_unknown_names_its_cause(tmp_path: Path) -> None:
    run = MadeRun().arrive(0).operation(0, "ask", 0.1, 0.1, "fail", "busy")
    _, out = written(tmp_path, run.note(4, "interrupted", "by SIGTERM"))
    errors = ET.fromstring((out / "junit.xml").read_text()).findall(".//error")
    assert len(errors) > 1
    assert all("the run was interrupted: by SIGTERM" in error.attrib["message"] for error in errors)


def test_what_was_not_ok_is_a_share_and_a_line_for_each_reason(tmp_path: Path) -> None:
    run = path_of_users(2)
    run.add(Invoke(ZERO + 1, 900, 1, "attach", ZERO + 1), Complete(ZERO + 2, 900, "fail", "busy", "come back later"))
    report, out = written(tmp_path, run)
    [scenario] = report.scenarios
    assert (scenario.pace.failed, scenario.pace.ended) == (1, 11)
    for name in ("report.html", "execution-summary.md"):
        assert "come back later" in (out / name).read_text()
    assert "9.09 % not ok" in (out / "report.html").read_text()


def test_every_page_begins_with_what_was_run_when_and_how(tmp_path: Path) -> None:
    runs = [
        path_of_users(2, scenario, target="http://there", label="Release 7", together=("golden_path", "spike", "soak"))
        for scenario in ("golden_path", "spike")
    ]
    out = tmp_path / "out"
    report = write_reports(out, [judge_directory(run.store(tmp_path / run.manifest.scenario)) for run in runs])
    assert (report.not_run, report.verdict) == (("soak",), Verdict.UNKNOWN)
    header = (out / "report.html").read_text().split("<header>")[1].split("</header>")[0]
    summary = (out / "summary.md").read_text()
    for told in ("Release 7 · http://there · 2023-11-14 22:13 UTC · load for ", "goldenpath lab run"):
        assert told in header
        assert told in summary
    assert "Not run: soak." in summary


def test_metrics_have_a_line_for_each_bin_and_all_runs_are_in_them(tmp_path: Path) -> None:
    _, out = written(tmp_path, path_of_users(10))
    told: dict[str, Any] = json.loads((out / "performance_metrics/golden_path.json").read_text())
    rows = list(csv.DictReader((out / "performance_metrics/golden_path.csv").read_text().splitlines()))
    assert len(rows) == len(told["time"])
    completed = sum(told["per_second"]["completed"]) * told["bin_seconds"]
    assert completed == pytest.approx(30)
    assert sum(float(row["completed_per_second"]) for row in rows) * told["bin_seconds"] == pytest.approx(30)
    assert told["users"]["runs"] == [3] * 10
    assert told["users"]["p50"] == sorted(told["users"]["p50"])
    assert len(told["runs"]) == 30


def test_the_documents_say_what_was_found_and_nothing_else(tmp_path: Path) -> None:
    _, out = written(tmp_path, path_of_users(3, stays=4).ask(1, 3.0, lose=1))
    documents = {document.slug: (out / f"{document.slug}.md").read_text() for document in DOCUMENTS}
    assert "lost" in documents["race-condition-catalogue"]
    assert "goldenpath lab check" in documents["race-condition-catalogue"]
    assert "goldenpath lab check" in documents["optimisation-roadmap"]
    assert "✗ broken" in documents["performance-gap-analysis"]
    assert "✓ met" in documents["service-level-compliance"]
    assert "✗ fail" in documents["execution-summary"]
    calm, out = written(tmp_path / "calm", path_of_users(3))
    assert calm.verdict is Verdict.PASS
    assert "Nothing was violated." in (out / "race-condition-catalogue.md").read_text()
    gaps = (out / "performance-gap-analysis.md").read_text()
    assert "No target was missed." in gaps
    assert "idle-memory" in gaps.split("Nearest to their targets")[1].split("Where users wait")[0].splitlines()[4]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"),
        (1.5, "s", "1.5 s"),
        (0.0, "s", "0 s"),
        (725.0, "s", "12 min 5 s"),
        (0.9995, "ratio", "99.95 %"),
        (1.0, "ratio", "100 %"),
        (12345.6, "MB", "12,346 MB"),
        (7, "", "7"),
        (None, "s", "\N{EN DASH}"),
    ],
)
def test_values_are_written_as_people_read_them(value: float | None, unit: str, text: str) -> None:
    assert amount(value, unit) == text
