"""A stored history of which something is missing, or whose manifest was changed, is unknown and says what."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from goldenpath.lab.history import HistoryError, HistoryWriter, path_of, read_history
from goldenpath.lab.records import Noted, Received
from goldenpath.lab.summary import judge_directory
from goldenpath.lab.verdict import Verdict
from tests.lab.made_run import MadeRun, path_of_users


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def _another_runs(path: Path) -> None:
    other = path_of_users(2)
    other.manifest = msgspec.structs.replace(other.manifest, nonce="another")
    path.write_bytes(path_of(other.store(path.parent / "another"), 1).read_bytes())


def _one_worker_more(path: Path) -> None:
    path.with_name("history-2.bin").write_bytes(b"")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "removed": (Path.unlink, "history-1.bin is missing"),
    "emptied": (lambda path: path.write_bytes(b""), "history-1.bin was cut: 0 records"),
    "cut": (_cut, "history-1.bin was cut"),
    "longer": (_longer, "history-1.bin was cut"),
    "another run's": (_another_runs, "history-1.bin is of another run"),
    "more": (_one_worker_more, "history-2.bin is of no worker"),
    "first removed": (lambda path: path.with_name("history-0.bin").unlink(), "history-0.bin is missing"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_history_that_is_not_whole_is_unknown(tmp_path: Path, what: str) -> None:
    directory = path_of_users(2, levels=()).store(tmp_path)
    assert judge_directory(directory).verdict is Verdict.PASS
    damage, words = DAMAGE[what]
    damage(path_of(directory, 1))
    result = judge_directory(directory)
    assert result.verdict is Verdict.UNKNOWN
    assert words in " ".join(result.doubts)


def test_what_is_left_of_other_files_is_read_behind_a_damage(tmp_path: Path) -> None:
    for number in (1, 2):
        with HistoryWriter(path_of(tmp_path, number), "run") as writer:
            writer.write(Noted(float(number), "begun"))
    path_of(tmp_path, 1).write_bytes(b"\xff" * 9)
    read = read_history(tmp_path)
    assert next(read) == Noted(2.0, "begun")
    with pytest.raises(HistoryError, match="damaged, a batch of"):
        next(read)


@pytest.mark.parametrize(
    ("field", "value"),
    [("users", 1), ("nonce", "0"), ("levels", []), ("format", "agui"), ("workers", 0), ("zero", 0.0), ("seed", 2)],
)
def test_a_manifest_that_was_changed_is_unknown(tmp_path: Path, field: str, value: object) -> None:
    directory = path_of_users(2, levels=None).store(tmp_path)
    path = directory / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    result = judge_directory(directory)
    assert result.verdict is not Verdict.PASS
    assert any("manifest" in doubt for doubt in result.doubts)


def test_what_a_writer_takes_a_reader_takes(tmp_path: Path) -> None:
    path = path_of(tmp_path, 0)
    large = Received(1.0, 0, 1, b"x" * 70_000_000)
    with HistoryWriter(path, "run") as writer:
        writer.write(large, len(large.payload))
    assert list(read_history(tmp_path)) == [large]


def test_what_no_reader_takes_is_not_written(tmp_path: Path) -> None:
    writer = HistoryWriter(path_of(tmp_path, 0), "run")
    with pytest.raises(OSError, match="too large"):
        writer.write(Received(1.0, 0, 1, b"x" * 270_000_000), 270_000_000)
    writer.close()


def test_a_breach_that_was_seen_live_stays_one_whatever_is_left_of_it(tmp_path: Path) -> None:
    witness = "user 1 received what user 0 sent in operation 3"
    run = path_of_users(2, levels=()).note(0.5, "aborted", witness)
    result = judge_directory(run.store(tmp_path))
    assert result.verdict is Verdict.FAIL
    found = next(finding for finding in result.findings if finding.checker == "isolation")
    assert found.counts == {"unstored": 1}
    assert (found.violations[0].user, found.violations[0].witness) == (1, witness)


def test_a_breach_that_is_stored_is_told_once(tmp_path: Path) -> None:
    run = MadeRun(users=2, levels=()).arrive(0).arrive(1).ask(0, 0.1).ask(1, 0.2, leaks=0).note(0.4, "aborted", "x")
    result = judge_directory(run.store(tmp_path))
    found = next(finding for finding in result.findings if finding.checker == "isolation")
    assert set(found.counts) == {"leak"}
