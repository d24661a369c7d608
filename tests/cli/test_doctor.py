"""`goldenpath doctor` says whether this machine can serve: exit code 0, or 1 where something stops the server."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from goldenpath.cli.doctor import PINNED_PICOWS, doctor, examine
from goldenpath.runtime.settings import NO_WAY_IN
from goldenpath.runtime.startup import Finding
from tests.certificate import make_certificate
from tests.cli.command import Command
from tests.serverprocess import ServerProcess

CHECKS = [
    "Python",
    "settings",
    "SQLite",
    "data directory",
    "signing key",
    "database",
    "uvloop",
    "picows",
    "open files",
    "TLS",
    "address",
    "way in",
]


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    """What was looked at: verdict, finding, advice. The table has no broken lines at this width."""
    assert done.stderr == ""
    found = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    return {row[1]: [row[0], *row[2:]] for row in found}


def test_a_machine_that_can_serve(goldenpath: Command) -> None:
    done = goldenpath("doctor", GOLDENPATH_PORT="0")
    found = rows(done)
    assert list(found) == CHECKS
    assert {verdict for verdict, *_ in found.values()} <= {"ok", "warning"}
    assert done.returncode == 0
    assert found["settings"] == ["ok", "environment testing", ""]
    assert found["address"] == ["ok", "127.0.0.1:0", ""]
    assert list(goldenpath.folder.iterdir()) == []  # it looks, and changes nothing


def test_bad_settings_are_told_and_nothing_else_is_looked_at(goldenpath: Command) -> None:
    done = goldenpath("doctor", GOLDENPATH_ZEBRA="1")
    assert rows(done) == {
        "Python": rows(done)["Python"],
        "settings": [
            "problem",
            "GOLDENPATH_ZEBRA is not a setting of goldenpath",
            "correct what is named, or unset it",
        ],
    }
    assert done.returncode == 1


@pytest.fixture
def examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finding]:
    """Examines this machine with these settings; the finding of one check, and the exit code that follows from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVIRONMENT", "testing")
    monkeypatch.setenv("GOLDENPATH_PORT", "0")

    def look(check: str, data_dir: str | None = None, **env: str) -> Finding:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        findings = {finding.what: finding for finding in examine(data_dir=data_dir)}
        others = [finding for finding in findings.values() if finding.what != check]
        assert not [finding for finding in others if finding.verdict == "problem"]
        assert doctor(data_dir=data_dir) == (1 if findings[check].verdict == "problem" else 0)
        found = findings[check]
        assert (found.verdict == "ok") == (not found.advice)
        return found

    return look


Examined = Callable[..., Finding]


def test_tls_files_that_cannot_be_used_are_a_problem(examined: Examined, tmp_path: Path) -> None:
    good, other = make_certificate(tmp_path, "good"), make_certificate(tmp_path, "other")
    assert examined("TLS", **good.env).verdict == "ok"
    found = examined("TLS", **{**good.env, "GOLDENPATH_TLS_KEY": str(other.key)})
    assert (found.verdict, found.found[-27:]) == ("problem", "they do not belong together")
    found = examined("TLS", **{**good.env, "GOLDENPATH_TLS_CERT": str(tmp_path / "none")})
    assert (found.verdict, found.found) == ("problem", f"cannot read {tmp_path / 'none'}: No such file or directory")


def test_a_data_directory_that_cannot_be_made_is_a_problem(examined: Examined, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert examined("data directory", "new/data").verdict in {"ok", "warning"}
    for path in ("file", "file/data"):
        found = examined("data directory", path)
        assert (found.verdict, found.found) == ("problem", f"{path}: file cannot be written")
        assert "--data-dir" in found.advice


def test_a_name_that_looks_like_markup_is_shown_as_it_is(goldenpath: Command) -> None:
    done = goldenpath("doctor", "--port", "0", "--data-dir", "[/red]")
    assert rows(done)["data directory"][1].startswith("[/red], ")
    assert done.returncode == 0


def test_a_file_of_the_data_that_cannot_be_written_is_a_problem(examined: Examined, tmp_path: Path) -> None:
    (tmp_path / "data/goldenpath.db").mkdir(parents=True)  # nobody can write to it, not even root
    found = examined("data directory", "data")
    assert (found.verdict, found.found) == ("problem", "data: goldenpath.db cannot be written")


def test_a_host_that_is_not_this_machine_s_is_a_problem(examined: Examined) -> None:
    found = examined("address", GOLDENPATH_HOST="203.0.113.9")
    assert found.verdict == "problem"
    assert found.found.startswith("cannot listen on 203.0.113.9:0: ")


def test_the_address_is_that_of_a_serve_with_the_same_options(goldenpath: Command) -> None:
    done = goldenpath("doctor", "--host", "203.0.113.9", "--port", "0", GOLDENPATH_HOST="127.0.0.1")
    assert rows(done)["address"][:2] == ["problem", "cannot listen on 203.0.113.9:0: Cannot assign requested address"]
    assert done.returncode == 1


def test_a_port_in_use_is_a_warning_because_it_may_be_the_server_s(
    examined: Examined, launch: Callable[..., ServerProcess]
) -> None:
    server = launch()
    found = examined("address", GOLDENPATH_PORT=str(server.port))
    assert found.verdict == "warning"
    assert found.found.startswith(f"cannot listen on 127.0.0.1:{server.port}: Address already in use")


def test_production_without_tls_is_a_warning_where_everybody_can_come(examined: Examined) -> None:
    production = {"ENVIRONMENT": "production", "GOLDENPATH_SECRET": "x" * 32, "GOLDENPATH_HOST": "0.0.0.0"}
    assert examined("address", **production).verdict == "warning"
    assert examined("address", GOLDENPATH_HOST="127.0.0.1").verdict == "ok"


def test_production_where_nobody_new_can_log_in_is_a_warning(examined: Examined) -> None:
    production = {"ENVIRONMENT": "production", "GOLDENPATH_SECRET": "x" * 32}
    found = examined("way in", **production)
    assert (found.verdict, found.advice) == ("warning", NO_WAY_IN)
    assert examined("way in", GOLDENPATH_REGISTRATION="true").verdict == "ok"


def test_few_open_files_are_a_warning(examined: Examined) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        found = examined("open files")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (found.verdict, found.found) == ("warning", "1024")


def test_another_picows_is_a_problem(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[doctor.__module__], "PINNED_PICOWS", "0.0")
    assert examined("picows").verdict == "problem"


def test_the_pin_is_the_one_of_the_package() -> None:
    pyproject = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'"picows=={PINNED_PICOWS}"' in pyproject


def test_a_data_directory_that_a_server_uses_is_told(launch: Callable[..., ServerProcess], examined: Examined) -> None:
    server = launch()
    found = examined("data directory", str(server.data_dir))
    assert (found.verdict, found.advice) == ("warning", "a server is running on it: another one needs its own")
    server.stop()
    assert examined("data directory", str(server.data_dir)).verdict == "ok"


def test_a_deploy_hook_that_cannot_be_called_is_told_before_it_is_needed(examined: Examined, tmp_path: Path) -> None:
    found = examined("deploy hook", GOLDENPATH_DEPLOY_HOOK="/there/is/none --now")
    assert (found.verdict, found.found) == ("warning", "there is no command /there/is/none")
    hook = tmp_path / "hook.sh"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    assert examined("deploy hook", GOLDENPATH_DEPLOY_HOOK=f"{hook} --now").verdict == "ok"
    assert examined("deploy hook", GOLDENPATH_DEPLOY_HOOK="https://deploy.example.com/back").verdict == "ok"


def test_a_flags_file_that_makes_no_sense_is_told_before_the_start(examined: Examined, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    file = tmp_path / "data/flags.toml"
    file.write_text('[new_runs]\nstage = "of"\n')
    found = examined("flags", "data")
    assert found.verdict == "problem"
    assert "'of' is none of canary, full, internal, off, staged" in found.found
    file.write_text('[new_runs]\nstage = "off"\n')
    assert examined("flags", "data").found == "data/flags.toml, rules: 1"
    found = examined("flags", "data", GOLDENPATH_FLAGS_FILE=str(tmp_path / "none/flags.toml"))
    assert (found.verdict, found.found) == ("warning", f"there is no folder {tmp_path / 'none'}")
