"""`goldenpath lab` as a person or a CI job uses it: real processes, exit codes, what is left behind."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from goldenpath.cli.lab_run import Display, Options, jobs_of
from goldenpath.lab.checker import Violation
from goldenpath.lab.experiment import Job
from goldenpath.lab.scenarios import SCENARIOS

COMMAND = [sys.executable, "-m", "goldenpath.cli", "lab"]
TIMEOUT = 90


def lab(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=TIMEOUT, cwd=cwd, check=False)


def report(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "performance_report.json").read_text())
    return read


def descendants() -> list[str]:
    return [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run that passes."""
    out = tmp_path_factory.mktemp("lab") / "out"
    return out, lab("run", "golden_path", "--users", "3", "--out", str(out))


def test_a_run_that_passes_exits_with_0_and_leaves_its_reports(
    passed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, ran = passed
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    assert "PASS  golden_path: 3 users" in ran.stdout
    said = report(out)
    assert (said["verdict"], said["exit_code"]) == ("pass", 0)
    [scenario] = said["scenarios"]
    assert (scenario["name"], scenario["verdict"], scenario["users"]) == ("golden_path", "pass", 3)
    assert scenario["operations"] == 3 * (1 + 1 + 3 + 1)
    assert scenario["events"] > 3 * 3 * 50
    assert scenario["violations"] == []
    assert {"name", "level", "limit", "measured", "status"} <= set(scenario["service_levels"][0])
    for name in ("report.html", "summary.md", "junit.xml"):
        assert (out / name).stat().st_size > 200
    assert not (out / "golden_path" / "data").exists()


def test_a_scenario_in_another_size_is_not_told_as_that_of_the_catalogue(
    passed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, ran = passed
    assert ran.stdout.count("changed: 3 users instead of 5\n") == 1
    assert report(out)["scenarios"][0]["changes"] == "3 users instead of 5"
    for name in ("report.html", "summary.md", "execution-summary.md", "service-level-compliance.md"):
        assert "Changed: 3 users instead of 5." in (out / name).read_text(), name


def test_a_stored_run_gets_the_same_verdict_again(passed: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out, _ = passed
    before = report(out)
    judged = lab("check", str(out))
    assert judged.returncode == 0
    assert "PASS  golden_path" in judged.stdout
    assert report(out) == before
    (out / "report.html").unlink()
    assert lab("report", str(out)).returncode == 0
    assert (out / "report.html").exists()


def test_tokens_do_not_get_into_the_history(passed: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out, _ = passed
    stored = b"".join(path.read_bytes() for path in (out / "golden_path").glob("history-*.bin"))
    assert b"canary-" in stored
    assert b"access_token" not in stored
    assert re.search(rb"eyJ[\w-]+\.", stored) is None


def test_a_level_that_is_broken_fails_the_run(tmp_path: Path) -> None:
    ran = lab("run", "golden_path_1", "--level", "first_token.p95=0.000001", "--out", str(tmp_path))
    assert ran.returncode == 1, ran.stdout
    assert "FAIL  golden_path_1" in ran.stdout
    assert "broken" in ran.stdout
    assert report(tmp_path)["exit_code"] == 1


def test_a_file_of_levels_is_laid_over_the_default_ones(tmp_path: Path) -> None:
    levels = tmp_path / "levels.toml"
    levels.write_text('[levels.mine]\nquantity = "run.p50"\nlimit = 0.0000001\n')
    ran = lab("run", "golden_path_1", "--thresholds", str(levels), "--out", str(tmp_path / "out"))
    assert ran.returncode == 1
    [level] = [each for each in report(tmp_path / "out")["scenarios"][0]["service_levels"] if each["name"] == "mine"]
    assert level["status"] == "broken"


def test_a_target_that_is_down_is_said_in_one_line_and_is_no_pass(tmp_path: Path) -> None:
    ran = lab("run", "golden_path", "--target", "http://127.0.0.1:9", "--out", str(tmp_path))
    assert ran.returncode == 2
    assert "http://127.0.0.1:9 cannot be reached: Connection refused" in " ".join(ran.stdout.split())
    assert ran.stderr == ""
    assert report(tmp_path)["verdict"] == "unknown"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["run", "golden_pth"], "there is no scenario 'golden_pth'"),
        (["run", "golden_path", "--fault", "kill"], "write KIND"),
        (["run", "golden_path", "--fault", "kill@1", "--target", "http://127.0.0.1:9"], "a server of the lab's own"),
        (["run", "golden_path", "--target", "nonsense"], "nonsense"),
        (["run", "golden_path", "--level", "nothing=1"], "nothing"),
        (["run", "golden_path", "--thresholds", "missing.toml"], "missing.toml"),
        (["run", "golden_path", "--level", "run.p95=fast"], "with finite numbers"),
        (["run", "golden_path", "--level", "run.p95=inf"], "with finite numbers"),
        (["run", "sustained", "--duration", "inf"], "not between 0.1 and 2,592,000"),
        (["run", "sustained", "--rate", "1e9"], "not between 0.001 and 100,000"),
        (["run", "sustained", "--users", "100000000"], "not between 1 and 100,000"),
        (["run", "golden_path", "--target", "http://"], "no http:// or https:// URL with a host"),
        (["run", "golden_path", "--header", "X-User: 1"], "for agui+http:// targets"),
        (["run", "sustained", "--fault", "reset@60"], "the load of sustained lasts 60 s"),
        (["run", "at_once", "--rate", "5"], "neither a rate nor a duration"),
        (
            ["run", "golden_path", "intruders", "--target", "agui+http://127.0.0.1:9"],
            "intruders: the target",
        ),
        (["run", "cancel_storm", "--target", "agui+http://127.0.0.1:9"], "cannot cancel runs: nothing would be tried"),
        (["run", "reconnect_storm", "--target", "agui+http://127.0.0.1:9"], "cannot let users come back"),
        (["check", "missing"], "missing"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments: list[str], why: str, tmp_path: Path) -> None:
    ran = lab(*arguments, cwd=tmp_path)
    assert ran.returncode == 64
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("goldenpath: ")
    assert why in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_all_scenarios_are_the_catalogue_each_once_and_none_longer_than_asked_for() -> None:
    options = Options(
        scenarios=["all", "spike"],
        target=None,
        headers=[],
        echo=False,
        users=None,
        rate=None,
        duration=None,
        longest=45,
        thresholds=None,
        levels=[],
        seed=1,
        workers=1,
        faults=[],
        name="",
        out="out",
    )
    jobs = jobs_of(options)

    assert [job.scenario.name for job in jobs] == list(SCENARIOS)
    assert {job.scenario.name: job.scenario.changes for job in jobs if job.scenario.changes} == {
        "sustained": "for 45 s instead of 60 s",
        "stress": "for 45 s instead of 70 s",
        "soak": "for 45 s instead of 2,100 s",
    }


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("levels.toml", "[levels", "levels.toml: not TOML: Expected ']'"),
        ("levels.json", "{", "levels.json: not JSON: Input data was truncated"),
        ("levels.toml", "x = 1", "levels.toml: there has to be a table `levels`, and nothing else"),
        ("levels.toml", "[levels.x]\nquantity = 'nonsense'\nlimit = 1", "levels.x.quantity: 'nonsense' is nothing"),
        ("levels.toml", "[levels.connect]\nlimit = 'fast'", "levels.connect.limit: Expected `float | null`, got `str`"),
    ],
)
def test_what_is_wrong_with_a_file_of_levels_is_said_with_its_place(
    file: str, content: str, why: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(content)
    ran = lab("run", "golden_path", "--thresholds", file, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (64, "")
    [line] = ran.stderr.splitlines()
    assert why in line


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("of an earlier run")
    ran = lab("run", "golden_path", "--out", str(tmp_path))
    assert ran.returncode == 64
    assert (
        ran.stderr == f"goldenpath: {tmp_path} is not empty: --out is for one run, and nothing there is written over\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = lab("run", "golden_path", "--out", str(tmp_path / "file"))
    assert ran.returncode == 2
    assert ran.stderr == f"goldenpath: {tmp_path / 'file/golden_path'} cannot be written: Not a directory\n"


def test_a_number_of_users_that_is_none_is_refused(tmp_path: Path) -> None:
    ran = lab("run", "golden_path", "--users", "0", cwd=tmp_path)
    assert ran.returncode == 64
    assert "--users" in ran.stderr
    assert "greater than or equal to 1" in " ".join(ran.stderr.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stopped", [False, True])
def test_a_lab_that_is_killed_leaves_no_process(tmp_path: Path, *, stopped: bool) -> None:
    command = [*COMMAND, "run", "sustained", "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert "sustained" in process.stdout.readline()  # the load begins
        started = psutil.Process(process.pid).children(recursive=True)
        data = next(Path(words[-1]) for child in started if (words := child.cmdline())[-2] == "--data-dir")
        assert any(data.iterdir())
        for child in started if stopped else ():
            child.suspend()
        process.kill()
    assert len(started) == 2  # a worker and a server
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []
    assert not data.exists()
    assert {path.suffix for path in (tmp_path / "out/sustained").iterdir()} == {".json", ".log", ".bin"}


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_ends_the_run_with_the_report_of_what_was_seen(number: int, name: str, tmp_path: Path) -> None:
    before = descendants()
    command = [*COMMAND, "run", "sustained", "soak", "--rate", "50", "--duration", "60", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "sustained" in process.stdout.readline()  # the load begins
        assert "changed: 50 iterations a second at most instead of 10" in process.stdout.readline()
        assert "runs" in process.stdout.readline()
        os.kill(process.pid, number)
        stdout, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 2
    assert f"interrupted: by {name}" in stdout
    assert "not run: soak" in stdout
    assert "changed: " not in stdout  # once is enough
    assert stderr == ""
    said = report(tmp_path)
    assert said["verdict"] == "unknown"
    [scenario] = said["scenarios"]
    assert said["not_run"] == ["soak"]
    assert "Not run: soak." in (tmp_path / "summary.md").read_text()
    assert "not run: soak" in (tmp_path / "report.html").read_text()
    assert scenario["events"] > 0
    assert descendants() == before


def test_what_options_ask_for_and_the_run_cannot_have_is_said(tmp_path: Path) -> None:
    ran = lab(
        *("run", "golden_path", "--users", "2", "--fault", "reset@40", "--name", "Release <7>"),
        *("--level", "spike-slowest=3", "--level", "fifty-users=40", "--out", str(tmp_path)),
    )
    assert ran.returncode == 2
    assert "--level spike-slowest: it says nothing of what is run; it is for spike" in ran.stderr
    assert "a fault was not injected: reset@40 is later than the end of the load" in ran.stdout
    assert re.search(r"  \S+ runs/s .* not ok 0 %  first token p50 .* p95 .*  run p50 .* p95 .*  in ", ran.stdout)
    [scenario] = report(tmp_path)["scenarios"]
    assert (scenario["label"], scenario["faults"]) == ("Release <7>", [])
    assert scenario["seconds"] < 30
    assert scenario["pace"]["received_mb"] > 0.01
    assert "Release &lt;7&gt; · a goldenpath server" in (tmp_path / "report.html").read_text()


def test_the_list_names_every_scenario_check_and_fault() -> None:
    listed = lab("list").stdout
    assert "golden_path" in listed
    assert re.search(r"spike +200 +5 to 500 /s for 16 s +--rate --duration", listed)
    assert "isolation" in lab("list", "--checks").stdout
    assert "halfopen" in lab("list", "--faults").stdout


def test_what_a_target_sends_is_shown_as_it_is_and_is_no_markup() -> None:
    written = io.StringIO()
    job = Job(scenario=SCENARIOS["golden_path"], directory=Path(), target_name="http://[::1]:8700")
    shown = Display(Console(file=written, width=200), job)
    shown.begun(job)
    violation = Violation(checker="isolation", kind="leak", at=1.0, user=1, witness="user 1 received '[/red] [bold'")
    shown.seen(violation)
    shown.seen(violation)
    assert "against http://[::1]:8700" in written.getvalue()
    assert written.getvalue().count("isolation: leak: user 1 received '[/red] [bold'") == 1
