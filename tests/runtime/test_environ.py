from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from goldenpath.runtime import environ
from goldenpath.runtime.environ import load
from goldenpath.runtime.layers import ALIASES
from goldenpath.runtime.settings import Environment, Issuer, Rate, ServerRates, Settings, SettingsError, TierLimits

SECRET = "s" * 32
FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}

# A value for every setting, as the environment holds it, and what it becomes.
VALUES: dict[str, tuple[str, Any]] = {
    "environment": ("testing", "testing"),
    "host": ("0.0.0.0", "0.0.0.0"),
    "port": ("9000", 9000),
    "uds": ("/run/goldenpath.sock", "/run/goldenpath.sock"),
    "tls_cert": ("cert.pem", "cert.pem"),
    "tls_key": ("key.pem", "key.pem"),
    "data_dir": ("/var/lib/goldenpath", "/var/lib/goldenpath"),
    "trusted_proxies": ("10.0.0.0/8,unix", "10.0.0.0/8,unix"),
    "secret": (SECRET, SECRET),
    "registration": ("false", False),
    "legacy_timeouts": ("true", True),
    "simulation_key": ("key", "key"),
    "issuers": (
        '[{"issuer":"https://id.example","audience":"a","jwks_url":"https://id.example/keys"}]',
        (Issuer("https://id.example", "a", "https://id.example/keys"),),
    ),
    "allowed_origins": ('["https://app.example.com"]', ("https://app.example.com",)),
    "tiers": ('{"free":{"max_running":1}}', {"free": TierLimits(1, 16)}),
    "operators": ('["ops@example.com"]', ("ops@example.com",)),
    "automatic_code_rollback": ("yes", True),
    "deploy_hook": ("/usr/bin/deploy --previous", "/usr/bin/deploy --previous"),
    "flags_file": ("/etc/goldenpath/flags.toml", "/etc/goldenpath/flags.toml"),
    "login_rate": ('{"per_second":1,"burst":5}', Rate(1, 5)),
    "login_failure_rate": ('{"per_second":1,"burst":5}', Rate(1, 5)),
    "server_rates": ('{"runs":{"per_second":200,"burst":400}}', ServerRates(runs=Rate(200, 400))),
    "database": (":memory:", ":memory:"),
    "durability": ("power", "power"),
    "alerts_file": ("alerts.toml", "alerts.toml"),
    "otel_traces": ("true", True),
    "otel_genai": ("1.36", "1.36"),
    "log_format": ("console", "console"),
    "builtin_agents": ("no", False),
    "openai_base_url": ("http://localhost:1/v1", "http://localhost:1/v1"),
    "openai_model": ("m", "m"),
    "openai_api_key": ("k", "k"),
}
FLOATS = [name for name, field in FIELDS.items() if field.type in (float, float | None)]
INTEGERS = [name for name, field in FIELDS.items() if field.type in (int, int | None)]
VALUES.update(dict.fromkeys(FLOATS, ("7.25", 7.25)))
# In a hierarchy: one that is set alone must fit with the others, and none may be its own default.
VALUES.update(
    {
        f"{level}_timeout": (f"{seconds}", seconds)
        for level, seconds in {
            "orchestration": 9.25,
            "startup": 4.5,
            "health_wait": 4.25,
            "health_check": 2.25,
            "api_response": 0.75,
            "websocket_recv": 6.5,
            "agent_execution": 4.25,
            "tool": 2.75,
            "model_connect": 1.5,
            "database": 2.5,
            "factory": 6.0,
        }.items()
    }
)
VALUES.update({name: ("12", 12) for name in INTEGERS if name != "port"})


def variable(name: str) -> str:
    return f"GOLDENPATH_{name.upper()}"


def test_without_anything_set_every_setting_has_its_default() -> None:
    assert load({}) == Settings()
    assert load({"PATH": "/bin", "HOME": "/root", "goldenpath_port": "1"}) == Settings()


TOGETHER = ({"tls_cert", "tls_key"}, {"openai_base_url", "openai_model"})


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_read_from_its_variable(name: str) -> None:
    given = next((names for names in TOGETHER if name in names), {name})
    settings = load({variable(each): VALUES[each][0] for each in given})
    assert getattr(settings, name) == VALUES[name][1]
    assert getattr(Settings(), name) != VALUES[name][1]
    profile = Settings(environment=settings.environment)
    assert {field for field in FIELDS if getattr(settings, field) != getattr(profile, field)} == given - {"environment"}


@pytest.mark.parametrize("name", [name for names in TOGETHER for name in sorted(names)])
def test_settings_that_need_each_other_are_refused_alone(name: str) -> None:
    with pytest.raises(SettingsError, match="must be set together"):
        load({variable(name): VALUES[name][0]})


@pytest.mark.parametrize("url", ["127.0.0.1:11434", "ftp://host/v1", "http://", "http://[", ""])
def test_an_endpoint_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="GOLDENPATH_OPENAI_BASE_URL must be an http or https URL"):
        load({"GOLDENPATH_OPENAI_BASE_URL": url, "GOLDENPATH_OPENAI_MODEL": "m"})


@pytest.mark.parametrize("hook", [" ", 'deploy "--previous', "http://", "https://[::1/back"])
def test_a_deploy_hook_that_can_never_be_called_is_refused_before_it_is_needed(hook: str) -> None:
    with pytest.raises(SettingsError, match="GOLDENPATH_DEPLOY_HOOK must be an http or https URL, or a command line"):
        load({"GOLDENPATH_DEPLOY_HOOK": hook})


def test_all_settings_together_are_read() -> None:
    settings = load({variable(name): text for name, (text, _) in VALUES.items()})
    assert msgspec.structs.asdict(settings) == {name: value for name, (_, value) in VALUES.items()}


WRONG: list[tuple[str, str]] = [
    ("environment", "prod"),
    ("environment", ""),
    ("durability", "Power"),
    ("port", "http"),
    ("port", "80.5"),
    ("port", "-1"),
    ("port", "65536"),
    ("heartbeat", "soon"),
    ("heartbeat", "0"),
    ("heartbeat", "nan"),
    ("run_timeout", "inf"),
    ("run_timeout", "-5"),
    ("commit_interval", "-0.1"),
    ("retention_interval", "0"),
    ("max_message_bytes", "0"),
    ("max_engines", "0"),
    ("max_queued", "1"),
    ("max_connections_per_address", "-1"),
    ("registration", "maybe"),
    ("tiers", "free"),
    ("tiers", '{"free":3}'),
    ("tiers", '{"free":{"max_runing":3}}'),
    ("tiers", '{"free":{"max_running":0}}'),
    ("tiers", '{"free":{"max_queued":-1}}'),
    ("tiers", '{"free":{"commands":{"per_second":0,"burst":1}}}'),
    ("tiers", '{"free":{"runs":{"per_second":1}}}'),
    ("login_rate", '{"per_second":1,"burst":0}'),
    ("server_rates", '{"bytes":{"per_second":-1,"burst":1}}'),
    ("issuers", "{}"),
    ("issuers", '[{"issuer":"x"}]'),
    ("issuers", '[{"issuer":"x","audience":"a","jwks_url":"https://id.example/keys","jwks":"?"}]'),
    ("issuers", '[{"issuer":"x","audience":"a","jwks_url":"nourl"}]'),
    ("issuers", '[{"issuer":"x","audience":"a","jwks_url":""}]'),
    ("log_format", "text"),
    ("allowed_origins", "https://app.example.com"),
    ("secret", "short"),
    ("secret", ""),
    ("tls_cert", "alone.pem"),
]


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_a_wrong_value_is_refused_with_the_variables_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=variable(name)):
        load({variable(name): text})


@pytest.mark.parametrize("name", [*FLOATS, *INTEGERS])
@pytest.mark.parametrize("text", ["-1", "x", "", "1e999", "nan"])
def test_no_number_is_negative_or_endless(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=variable(name)):
        load({variable(name): text})


@pytest.mark.parametrize("name", ["GOLDENPATH_PROT", "GOLDENPATH_", "GOLDENPATH_HOST_"])
def test_an_unknown_variable_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is not a setting"):
        load({name: "1"})


@pytest.mark.parametrize("alias", ALIASES)
def test_a_setting_that_has_another_name_is_read_by_either_and_its_own_wins(alias: str) -> None:
    name = ALIASES[alias]
    text, value = VALUES[name]
    assert getattr(load({alias: text}), name) == value
    own, expected = {"str": ("local", "local"), "bool": ("false", False), "float": ("4.5", 4.5)}[type(value).__name__]
    both = {variable(name): own, alias: text}
    assert getattr(load(both), name) == expected
    assert getattr(load(dict(reversed(both.items()))), name) == expected


def test_a_wrong_value_of_another_name_is_refused_by_that_name() -> None:
    allowed = "allowed are local, testing, staging, production, development"
    with pytest.raises(SettingsError, match=rf"^ENVIRONMENT is 'devel'; {allowed}; did you mean development\?$"):
        load({"ENVIRONMENT": "devel"})


def test_what_is_given_in_code_wins_and_none_gives_nothing() -> None:
    environ = {"GOLDENPATH_PORT": "9000", "GOLDENPATH_HOST": "::1"}
    settings = load(environ, port=1234, host=None, data_dir="here")
    assert (settings.port, settings.host, settings.data_dir) == (1234, "::1", "here")
    with pytest.raises(SettingsError, match=r"^--port is 'http': "):
        load({}, port="http")
    with pytest.raises(SettingsError, match=r"^--environment is 'prod'; "):
        load({}, environment="prod")


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "yes"])
def test_yes_has_several_words(text: str) -> None:
    assert load({"GOLDENPATH_REGISTRATION": text}).registration is True


@pytest.mark.parametrize("text", ["0", "false", "No"])
def test_no_has_several_words(text: str) -> None:
    assert load({"GOLDENPATH_REGISTRATION": text}).registration is False


# --- profiles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", get_args(Environment))
def test_what_builders_need_is_open_only_where_they_work(environment: Environment) -> None:
    settings = load({"ENVIRONMENT": environment, "GOLDENPATH_SECRET": SECRET})
    is_open = environment in ("local", "testing")
    assert settings.is_open == settings.registration == settings.builtin_agents == is_open
    assert settings.max_connections_per_address == (None if is_open else 256)


@pytest.mark.parametrize("environment", get_args(Environment))
def test_what_is_set_wins_over_the_profile(environment: Environment) -> None:
    for value in (True, False):
        settings = load(
            {},
            environment=environment,
            secret=SECRET,
            registration=value,
            builtin_agents=value,
            max_connections_per_address=3,
        )
        assert (settings.registration, settings.builtin_agents) == (value, value)
        assert settings.max_connections_per_address == 3


def test_nobody_else_reads_the_environment() -> None:
    """What was read at the start is handed in: two servers in one process may have different settings."""
    package = Path(environ.__file__).parent
    readers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"os\.(environ|getenv|putenv)|import environ|import getenv", path.read_text())
    }
    assert readers == {"environ.py"}


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_where_users_are_real_a_secret_is_required(environment: str) -> None:
    with pytest.raises(SettingsError, match=f"GOLDENPATH_SECRET must be set when ENVIRONMENT is {environment}"):
        load({"ENVIRONMENT": environment})


def test_a_secret_is_measured_in_bytes() -> None:
    assert load({"GOLDENPATH_SECRET": "\u00e9" * 16}).secret == "\u00e9" * 16
    with pytest.raises(SettingsError, match="32 bytes"):
        load({"GOLDENPATH_SECRET": "s" * 31})
