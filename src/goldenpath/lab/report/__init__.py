"""The reports of a run: a page, data, Markdown, JUnit. All say the same, from the same `Report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from goldenpath.lab.report.blocks import markdown
from goldenpath.lab.report.data import NotApplied, Report, make_report
from goldenpath.lab.report.documents import DOCUMENTS
from goldenpath.lab.report.html import page
from goldenpath.lab.report.junit import junit
from goldenpath.lab.report.series import as_csv, series
from goldenpath.lab.report.summary import summary
from goldenpath.lab.summary import ScenarioResult, compare

__all__ = ["NotApplied", "Report", "leave_out", "write_reports"]

LEFT_OUT: Final = "not_applicable.json"


def leave_out(out: Path, scenarios: Sequence[NotApplied]) -> None:
    """Keep, for the reports of `out`, which scenarios are not applicable. Raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    (out / LEFT_OUT).write_bytes(msgspec.json.format(msgspec.json.encode(scenarios)) + b"\n")


def read_left_out(out: Path) -> list[NotApplied]:
    """What `leave_out` kept. None where there is nothing, or nothing that can be read."""
    try:
        return msgspec.json.decode((out / LEFT_OUT).read_bytes(), type=list[NotApplied])
    except (OSError, msgspec.MsgspecError):
        return []


def write_reports(out: Path, results: Sequence[ScenarioResult]) -> Report:
    """Write every report of these scenarios into `out`, which is made if need be; what is there is written over.

    Returns what they say: `verdict` and `exit_code` also of levels that compare one scenario with another, which a
    single result knows nothing of. Raises OSError where `out` cannot be written.
    """
    results = compare(results)
    report = make_report(results, read_left_out(out))
    columns = [series(result) for result in results]
    metrics = out / "performance_metrics"
    metrics.mkdir(parents=True, exist_ok=True)
    for result, each in zip(results, columns, strict=True):
        (metrics / f"{result.name}.json").write_bytes(msgspec.json.encode(each))
        (metrics / f"{result.name}.csv").write_text(as_csv(each), "utf-8", newline="")
    (out / "performance_report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    (out / "report.html").write_text(page(report, columns), "utf-8", errors="replace")
    (out / "junit.xml").write_text(junit(report), "utf-8", errors="replace")
    (out / "summary.md").write_text(markdown("goldenpath lab", summary(report)), "utf-8", errors="replace")
    for document in DOCUMENTS:
        text = markdown(document.title, document.blocks(report))
        (out / f"{document.slug}.md").write_text(text, "utf-8", errors="replace")
    return report
