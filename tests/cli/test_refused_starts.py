"""What is wrong before the start is one clear line on stderr and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from goldenpath import __version__
from goldenpath.cli.serve import serve
from tests.certificate import make_certificate
from tests.cli.command import Command
from tests.serverprocess import ServerProcess

APP = """
from goldenpath import App
from goldenpath.runtime.settings import Settings

app = App(Settings(port=-1))
number = 5
"""


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Does what `Command.refused` does in this process, which takes a tenth of the time: a start that is refused has
    begun nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("ENVIRONMENT", "testing")

    def run(target: str | None = None, options: dict[str, Any] | None = None, **env: str) -> str:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        assert serve(target, **(options or {})) == 2
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert line.startswith("goldenpath: "), line
        return line.removeprefix("goldenpath: ")

    return run


ENVIRONMENTS: dict[str, tuple[dict[str, str], str]] = {
    "misspelt setting": (
        {"GOLDENPATH_PROT": "1"}, "GOLDENPATH_PROT is not a setting of goldenpath; did you mean GOLDENPATH_PORT?",
    ),
    "unknown setting": ({"GOLDENPATH_ZEBRA": "1"}, "GOLDENPATH_ZEBRA is not a setting of goldenpath"),
    "neither yes nor no": (
        {"GOLDENPATH_REGISTRATION": "maybe"},
        "GOLDENPATH_REGISTRATION is 'maybe'; allowed are true, yes, 1, false, no, 0",
    ),
    "no number": ({"GOLDENPATH_PORT": "http"}, "GOLDENPATH_PORT is 'http': "),
    "no JSON": ({"GOLDENPATH_TIERS": "{"}, "GOLDENPATH_TIERS is '{': "),
    "unknown environment": (
        {"ENVIRONMENT": "prod"},
        "ENVIRONMENT is 'prod'; allowed are local, testing, staging, production, development; did you mean",
    ),
    "no secret": (
        {"ENVIRONMENT": "production"},
        "GOLDENPATH_SECRET must be set when ENVIRONMENT is production, e.g. as GOLDENPATH_SECRET=$(openssl rand",
    ),
    "short secret": (
        {"GOLDENPATH_SECRET": "short"},
        "GOLDENPATH_SECRET must have at least 32 bytes, e.g. as GOLDENPATH_SECRET=$(openssl rand -base64 32)",
    ),
    "certificate only": (
        {"GOLDENPATH_TLS_CERT": "x.pem"}, "GOLDENPATH_TLS_CERT and GOLDENPATH_TLS_KEY must be set together",
    ),
    "no proxy": ({"GOLDENPATH_TRUSTED_PROXIES": "10.0.0.0/8,proxy"}, "GOLDENPATH_TRUSTED_PROXIES: 'proxy' "),
    "not our address": ({"GOLDENPATH_HOST": "203.0.113.9"}, "cannot listen on 203.0.113.9:8700: "),
    "no host": ({"GOLDENPATH_HOST": "no such host"}, "cannot listen on no such host:8700: "),
    "long host": ({"GOLDENPATH_HOST": "x" * 70}, f"cannot listen on {'x' * 70}:8700: "),
    "no folder": ({"GOLDENPATH_UDS": "none/s.sock"}, "cannot listen on none/s.sock: No such file or directory"),
    "long path": ({"GOLDENPATH_UDS": "x" * 200}, f"cannot listen on {'x' * 200}: AF_UNIX path too long"),
    "file for socket": ({"GOLDENPATH_UDS": "file"}, "cannot listen on file: Address already in use"),
    "file for data": ({"GOLDENPATH_DATA_DIR": "file"}, "the data directory file is not a directory"),
}  # fmt: skip


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_a_bad_environment_is_named(refused: Callable[..., str], tmp_path: Path, case: str) -> None:
    env, said = ENVIRONMENTS[case]
    (tmp_path / "file").write_text("")
    assert refused(**env).startswith(said)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("app", "'app' is not of the form MODULE:APP, e.g. myapp:app"),
        ("app:", "'app:' is not of the form"),
        (":app", "':app' is not of the form"),
        (".app:app", "'.app:app' is not of the form"),
        ("nowhere_to_be_found:app", "there is no module 'nowhere_to_be_found' here"),
        ("no_app_of_ours.py", "'no_app_of_ours.py' is not of the form MODULE:APP; did you mean no_app_of_ours:app?"),
        (
            "no_app_of_ours.py:number",
            "there is no module 'no_app_of_ours.py' here; did you mean no_app_of_ours:number?",
        ),
        ("some/where.py", "'some/where.py' is not of the form MODULE:APP; did you mean some.where:app?"),
        ("no_app_of_ours:nothing", "there is no 'nothing' in no_app_of_ours"),
        ("no_app_of_ours:number", "'number' in no_app_of_ours is not a goldenpath.App"),
        ("no_app_of_ours:app", "GOLDENPATH_PORT must be 0 or above"),
    ],
)
def test_a_target_that_is_no_app_is_named(refused: Callable[..., str], tmp_path: Path, target: str, said: str) -> None:
    (tmp_path / "no_app_of_ours.py").write_text(APP)
    assert refused(target).startswith(said)


@pytest.mark.parametrize("target", ["nowhere:app", None])
def test_the_command_itself_shows_no_more(goldenpath: Command, target: str | None) -> None:
    if target is not None:
        assert goldenpath.refused(target) == "there is no module 'nowhere' here"
    else:
        assert goldenpath.refused(GOLDENPATH_PROT="1") == (
            "GOLDENPATH_PROT is not a setting of goldenpath; did you mean GOLDENPATH_PORT?"
        )


@pytest.mark.parametrize("secret", [None, "x" * 32])
def test_a_data_directory_that_cannot_be_used_is_named(goldenpath: Command, secret: str | None) -> None:
    (goldenpath.folder / "file").write_text("")
    env = {} if secret is None else {"GOLDENPATH_SECRET": secret}
    for name, said in (
        ("file", "the data directory file is not a directory"),
        ("file/data", "cannot use the data directory file/data: Not a directory"),
        # Nobody can write there, not even root.
        ("/proc/goldenpath", "cannot use the data directory /proc/goldenpath: No such file or directory"),
    ):
        assert goldenpath.refused("--port", "0", GOLDENPATH_DATA_DIR=name, **env) == said


@pytest.mark.parametrize("name", ["goldenpath.lock", "goldenpath.db", "goldenpath.db-wal", "goldenpath.db-shm"])
def test_a_file_in_the_data_directory_that_cannot_be_written_is_named(goldenpath: Command, name: str) -> None:
    file = goldenpath.folder / "data" / name
    file.mkdir(parents=True)  # nobody can write to it, not even root
    assert goldenpath.refused("--port", "0", "--data-dir", "data") == f"cannot write data/{name}: Is a directory"


def test_a_flags_file_that_makes_no_sense_is_named_by_start_check_and_doctor(goldenpath: Command) -> None:
    (goldenpath.folder / "data").mkdir()
    (goldenpath.folder / "data/flags.toml").write_text('[new_runs]\nstage = "of"\n')
    line = goldenpath.refused("--port", "0", "--data-dir", "data")
    assert line.startswith("data/flags.toml: flag new_runs: 'of' is none of canary, full, internal, off, staged")
    checked = goldenpath("config", "check", "--set", "data_dir=data")
    assert (checked.returncode, checked.stdout, checked.stderr) == (1, "", f"goldenpath: {line}\n")
    assert goldenpath("doctor", "--port", "0", "--data-dir", "data").returncode == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("import ap", "ModuleNotFoundError: No module named 'ap'"),
        ("int('x')", "ValueError: invalid literal for int()"),
        ("def", "SyntaxError: invalid syntax"),
    ],
)
def test_a_fault_in_the_module_itself_is_shown_where_it_is(goldenpath: Command, code: str, error: str) -> None:
    (goldenpath.folder / "app.py").write_text(f"{code}\n")
    done = goldenpath("serve", "app:app")
    assert done.returncode == 2
    assert error in done.stderr
    assert 'app.py", line 1' in done.stderr
    assert "goldenpath/cli" not in done.stderr  # their frames, not ours
    assert done.stderr.splitlines()[-1] == f"goldenpath: 'app' cannot be loaded: {error.partition(':')[0]}, see above"


def test_a_fault_in_the_use_of_an_app_is_shown_where_it_is(goldenpath: Command) -> None:
    (goldenpath.folder / "app.py").write_text(
        "from goldenpath import App\napp = App()\n@app.agent('no blanks')\nasync def agent(run): ...\n"
    )
    done = goldenpath("serve", "app:app")
    assert done.returncode == 2
    assert 'app.py", line 3' in done.stderr
    assert done.stderr.splitlines()[-1] == "goldenpath: 'app' cannot be loaded: ValueError, see above"


def test_the_command_tells_its_version(goldenpath: Command) -> None:
    done = goldenpath("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"goldenpath {__version__}\n", "")


@pytest.mark.parametrize("option", ["--port=70000", "--port=x", "--prot=1"])
def test_a_bad_option_is_named(goldenpath: Command, option: str) -> None:
    done = goldenpath("serve", option)
    assert done.returncode == 2
    assert option.partition("=")[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_tls_files_that_cannot_be_used_are_named(refused: Callable[..., str], tmp_path: Path) -> None:
    good, other = make_certificate(tmp_path, "good"), make_certificate(tmp_path, "other")
    locked = make_certificate(tmp_path, "locked", password=b"secret")

    def said(cert: Path, key: Path) -> str:
        return refused(None, {"tls_cert": str(cert), "tls_key": str(key), "port": 0})

    nowhere = tmp_path / "nowhere.pem"
    assert said(nowhere, good.key) == f"cannot read {nowhere}: No such file or directory"
    assert said(good.cert, tmp_path) == f"cannot read {tmp_path}: Is a directory"
    assert said(good.cert, other.key).endswith("they do not belong together")
    assert said(good.key, good.cert).endswith("the first is a key and the second a certificate")
    assert said(good.key, good.key).endswith("PEM is needed, not encrypted")
    assert said(locked.cert, locked.key).endswith("PEM is needed, not encrypted")


def test_a_port_in_use_is_named_and_the_server_on_it_serves_on(
    goldenpath: Command, launch: Callable[..., ServerProcess]
) -> None:
    server = launch()
    line = goldenpath.refused("--port", str(server.port), "--data-dir", "other")
    why = "Address already in use; name another one by --port or GOLDENPATH_PORT"
    assert line == f"cannot listen on 127.0.0.1:{server.port}: {why}"
    server.wait_ready()


def test_data_in_use_is_named_and_the_server_on_it_serves_on(
    goldenpath: Command, launch: Callable[..., ServerProcess]
) -> None:
    server = launch()
    line = goldenpath.refused("--port", "0", "--data-dir", str(server.data_dir))
    assert line == f"another server is running on {server.data_dir}"
    server.wait_ready()
    assert server.tokens("somebody@example.org")


def test_a_unix_socket_in_use_is_named_and_the_server_on_it_serves_on(
    goldenpath: Command, launch: Callable[..., ServerProcess], socket_path: Path
) -> None:
    server = launch(uds=str(socket_path))
    line = goldenpath.refused("--uds", str(socket_path), "--data-dir", "other")
    assert line == f"cannot listen on {socket_path}: another server does; name another one by --uds or GOLDENPATH_UDS"
    server.wait_ready()


def test_a_unix_socket_that_a_killed_server_left_is_replaced_and_taken_away_at_the_end(
    launch: Callable[..., ServerProcess], socket_path: Path
) -> None:
    server = launch(uds=str(socket_path))
    server.kill()
    assert socket_path.is_socket()
    server.start()
    assert server.stop() == 0
    assert not socket_path.exists()
