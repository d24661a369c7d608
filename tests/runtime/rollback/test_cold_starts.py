"""Starts that did not get ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from goldenpath.runtime.rollback.cold_starts import MAX_MARKS, WINDOW, ColdStarts


def start(path: Path | None, now: float) -> int:
    """A process that starts and dies."""
    return ColdStarts(path).begin(now)


def test_starts_that_do_not_get_ready_are_counted_from_process_to_process(tmp_path: Path) -> None:
    path = tmp_path / "new" / "starts.json"
    assert [start(path, 1000 + number) for number in range(4)] == [0, 1, 2, 3]


def test_one_that_gets_ready_ends_the_count(tmp_path: Path) -> None:
    path = tmp_path / "starts.json"
    start(path, 1000)
    good = ColdStarts(path)
    assert good.begin(1001) == 1
    good.ready()
    assert start(path, 1002) == 0


def test_what_is_long_ago_or_in_the_future_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "starts.json"
    start(path, 1000)
    assert start(path, 1001 + WINDOW) == 0
    assert start(path, 999) == 0


def test_the_marks_have_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "starts.json"
    assert max(start(path, 1000 + number) for number in range(2 * MAX_MARKS)) == MAX_MARKS


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 'x']"])
def test_a_damaged_file_counts_for_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "starts.json"
    path.write_bytes(content)
    assert [start(path, 1000), start(path, 1001)] == [0, 1]


def test_a_place_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    assert [start(tmp_path / "taken" / "starts.json", 1000), start(None, 1000)] == [0, 0]
