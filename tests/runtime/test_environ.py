from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from goldenpath.runtime.environ import load
from goldenpath.runtime.settings import Environment, Issuer, Settings, SettingsError, TierLimits

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
    "simulation_key": ("key", "key"),
    "issuers": (
        '[{"issuer":"https://id.example","audience":"a","jwks_url":"https://id.example/keys"}]',
        (Issuer("https://id.example", "a", "https://id.example/keys"),),
    ),
    "allowed_origins": ('["https://app.example.com"]', ("https://app.example.com",)),
    "tiers": ('{"free":{"max_running":1}}', {"free": TierLimits(1, 16)}),
    "database": (":memory:", ":memory:"),
    "durability": ("power", "power"),
    "log_format": ("console", "console"),
    "builtin_agents": ("yes", True),
    "openai_base_url": ("http://localhost:1/v1", "http://localhost:1/v1"),
    "openai_model": ("m", "m"),
    "openai_api_key": ("k", "k"),
}
FLOATS = [name for name, field in FIELDS.items() if field.type is float]
INTEGERS = [name for name, field in FIELDS.items() if field.type in (int, int | None)]
VALUES.update(dict.fromkeys(FLOATS, ("7.25", 7.25)))
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
    assert {field for field in FIELDS if getattr(settings, field) != getattr(Settings(), field)} == given


@pytest.mark.parametrize("name", [name for names in TOGETHER for name in sorted(names)])
def test_settings_that_need_each_other_are_refused_alone(name: str) -> None:
    with pytest.raises(SettingsError, match="must be set together"):
        load({variable(name): VALUES[name][0]})


@pytest.mark.parametrize("url", ["127.0.0.1:11434", "ftp://host/v1", "http://", "http://[", ""])
def test_an_endpoint_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="GOLDENPATH_OPENAI_BASE_URL must be an http or https URL"):
        load({"GOLDENPATH_OPENAI_BASE_URL": url, "GOLDENPATH_OPENAI_MODEL": "m"})


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


@pytest.mark.parametrize(
    ("alias", "name"), [("ENVIRONMENT", "environment"), ("E2E_OAUTH_SIMULATION_KEY", "simulation_key")]
)
def test_a_setting_that_has_another_name_is_read_by_either_and_its_own_wins(alias: str, name: str) -> None:
    assert getattr(load({alias: "testing"}), name) == "testing"
    both = {variable(name): "local", alias: "testing"}
    assert getattr(load(both), name) == "local"
    assert getattr(load(dict(reversed(both.items()))), name) == "local"


def test_a_wrong_value_of_another_name_is_refused_by_that_name() -> None:
    with pytest.raises(SettingsError, match=r"^ENVIRONMENT is 'dev'; allowed are local, testing, staging, production$"):
        load({"ENVIRONMENT": "dev"})


def test_what_is_given_in_code_wins_and_none_gives_nothing() -> None:
    environ = {"GOLDENPATH_PORT": "9000", "GOLDENPATH_HOST": "::1"}
    settings = load(environ, port=1234, host=None, data_dir="here")
    assert (settings.port, settings.host, settings.data_dir) == (1234, "::1", "here")
    with pytest.raises(SettingsError):
        load({}, port="http")
    with pytest.raises(SettingsError):
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
    assert settings.is_open == settings.registration_open == settings.offers_builtin_agents == is_open
    assert settings.address_limit == (None if is_open else 256)


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
        assert (settings.registration_open, settings.offers_builtin_agents) == (value, value)
        assert settings.address_limit == 3


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_where_users_are_real_a_secret_is_required(environment: str) -> None:
    with pytest.raises(SettingsError, match=f"GOLDENPATH_SECRET must be set when ENVIRONMENT is {environment}"):
        load({"ENVIRONMENT": environment})


def test_a_secret_is_measured_in_bytes() -> None:
    assert load({"GOLDENPATH_SECRET": "\u00e9" * 16}).secret == "\u00e9" * 16
    with pytest.raises(SettingsError, match="32 bytes"):
        load({"GOLDENPATH_SECRET": "s" * 31})
