"""`goldenpath config`: what a server would start with, and whether it would."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from goldenpath.runtime.settings import Environment, Settings
from tests.cli.command import Command

SECRET = "mellon" * 6


@pytest.mark.parametrize("environment", get_args(Environment))
def test_every_value_is_shown_with_where_it_came_from_and_no_secret(goldenpath: Command, environment: str) -> None:
    (goldenpath.folder / "settings.toml").write_text(
        "heartbeat = 20\n[[issuers]]\nissuer = 'https://i:mellon@id'\naudience = 'a'\njwks_url = 'https://id/keys'\n"
    )
    env = {"ENVIRONMENT": environment, "GOLDENPATH_SECRET": SECRET, "FACTORY_TIMEOUT_SECONDS": "12"}
    arguments = ("config", "show", "--config", "settings.toml", "--set", "port=1")
    done = goldenpath(*arguments, **env)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split(" = ")[0] for line in lines] == list(Settings.__struct_fields__)
    for line in (
        f'environment = "{environment}"  # variable ENVIRONMENT',
        "port = 1  # option --set port",
        'host = "127.0.0.1"  # default',
        'secret = "***"  # variable GOLDENPATH_SECRET',
        "uds = (not set)  # default",
        "heartbeat = 20.0  # file settings.toml: heartbeat",
        "factory_timeout = 12.0  # variable FACTORY_TIMEOUT_SECONDS",
    ):
        assert line in lines
    assert any(line.endswith(f"# profile {environment}") for line in lines)
    assert "mellon" not in done.stdout

    shown = json.loads(goldenpath(*arguments, "--json", **env).stdout)
    assert shown["environment"] == environment
    assert shown["settings"]["heartbeat"] == {
        "value": 20.0, "source": "file", "from": "file settings.toml: heartbeat"
    }  # fmt: skip
    assert shown["timeouts"]["factory"] == 12
    assert shown["settings"].keys() == set(Settings.__struct_fields__)
    assert "mellon" not in json.dumps(shown)


@pytest.mark.parametrize("environment", get_args(Environment))
def test_the_check_says_by_its_exit_code_whether_the_settings_are_right(goldenpath: Command, environment: str) -> None:
    env = {"ENVIRONMENT": environment, "GOLDENPATH_SECRET": SECRET}
    right = goldenpath("config", "check", **env)
    assert (right.returncode, right.stderr) == (0, "")
    assert f"the environment is {environment}" in right.stdout
    assert "websocket_recv" in right.stdout
    for wrong, said in (
        ({"AGENT_EXECUTION_TIMEOUT": "20", "WEBSOCKET_RECV_TIMEOUT": "19"}, "AGENT_EXECUTION_TIMEOUT is 20 s; it must"),
        ({"GOLDENPATH_PROT": "1"}, "GOLDENPATH_PROT is not a setting of goldenpath; did you mean GOLDENPATH_PORT?"),
        ({"GOLDENPATH_CONFIG": "nowhere.toml"}, "cannot read nowhere.toml: No such file or directory"),
    ):
        done = goldenpath("config", "check", **env, **wrong)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"goldenpath: {said}")


def test_rules_of_alerts_that_cannot_be_taken_are_told_before_the_start(goldenpath: Command) -> None:
    (goldenpath.folder / "alerts.toml").write_text('[receivers.team]\ntakes = ["chat"]\napprise = "nonsense://"\n')
    env = {"GOLDENPATH_ALERTS_FILE": "alerts.toml"}
    assert "told: team" in goldenpath("config", "check", **env).stdout
    assert goldenpath.refused(**env) == "receivers.team: apprise does not know this kind of URL"
    assert "nobody takes: page\n" in goldenpath("config", "check", **env).stdout
    (goldenpath.folder / "alerts.toml").write_text("[rules.connect_failures]\nabove = 'much'\n")
    told = "alerts.toml: rules.connect_failures: Expected `float | null`, got `str` - at `$.above`"
    done = goldenpath("config", "check", **env)
    assert (done.returncode, done.stderr) == (1, f"goldenpath: {told}\n")
    assert goldenpath.refused(**env) == told


def test_a_start_reads_the_file_and_is_refused_by_its_key(goldenpath: Command) -> None:
    (goldenpath.folder / "bad.toml").write_text("port = 70000\n")
    assert goldenpath.refused("--config", "bad.toml") == "bad.toml: port must be at most 65535"
    assert goldenpath.refused(GOLDENPATH_CONFIG="bad.toml") == "bad.toml: port must be at most 65535"
    assert goldenpath.refused("--set", "prot=1").startswith("--set prot is not a setting")
    doctor = goldenpath("doctor", "--config", "bad.toml")
    assert doctor.returncode == 1
    assert "port must be at most" in doctor.stdout
