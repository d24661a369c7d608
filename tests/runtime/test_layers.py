"""Which layer wins, what each is called, and what is wrong in it: once for each environment where that matters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath import App
from goldenpath.runtime.environ import Configuration, configure, load
from goldenpath.runtime.profiles import ByEnvironment, scaled
from goldenpath.runtime.settings import LEGACY, Environment, Settings, SettingsError
from goldenpath.runtime.timeouts import HIERARCHY, LEVELS

SECRET = "s" * 32
ENVIRONMENTS = get_args(Environment)

TABLE: dict[str, dict[str, float]] = {
    "local": {
        "factory": 5, "websocket_recv": 5, "agent_execution": 3, "health_wait": 3, "health_check": 2, "api_response": 1,
        "startup": 3, "orchestration": 5,
    },
    "testing": {"factory": 10, "websocket_recv": 15, "agent_execution": 10},
    "staging": {
        "factory": 30, "websocket_recv": 35, "agent_execution": 30, "health_wait": 30, "health_check": 20,
        "api_response": 10, "startup": 20, "orchestration": 30,
    },
}  # fmt: skip
TABLE["production"] = TABLE["staging"]


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "goldenpath.toml"
        path.write_text(text)
        return str(path)

    return write


def configured(environment: str, **environ: str) -> Configuration:
    return configure({"ENVIRONMENT": environment, "GOLDENPATH_SECRET": SECRET, **environ})


def origin(found: Configuration, name: str) -> str:
    return str(found.origins[name])


# --- profiles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_time_outs_of_an_environment_are_those_of_the_table(environment: str) -> None:
    found = configured(environment)
    for level, seconds in TABLE[environment].items():
        assert found.settings.timeouts.of(level) == seconds  # type: ignore[arg-type]
        assert origin(found, f"{level}_timeout") == f"profile {environment}"
    assert found.settings.timeouts.check()
    assert found.settings.timeouts == Settings(environment=environment).timeouts  # type: ignore[arg-type]


@pytest.mark.parametrize(("cloud", "local"), [(30.0, 5.0), (20.0, 3.0), (10.0, 2.0)])
def test_the_cloud_s_value_is_scaled_by_one_rule(cloud: float, local: float) -> None:
    made = cast("ByEnvironment", scaled(cloud))
    assert (made.local, made.staging, made.production) == (local, cloud, cloud)


def test_local_work_waits_a_sixth_as_long_as_the_cloud() -> None:
    local, cloud = (configured(name).settings.timeouts for name in ("local", "production"))
    levels = TABLE["local"]
    assert sum(map(local.of, levels)) < sum(map(cloud.of, levels)) / 6  # type: ignore[arg-type]
    assert all(local.of(level) <= cloud.of(level) for level in LEVELS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("own", [True, False])
def test_the_names_of_the_sources_set_the_time_outs_beside_ours(environment: str, own: bool) -> None:
    names = {
        "factory": "FACTORY_TIMEOUT_SECONDS",
        "websocket_recv": "WEBSOCKET_RECV_TIMEOUT",
        "agent_execution": "AGENT_EXECUTION_TIMEOUT",
    }
    if own:
        names = {level: f"GOLDENPATH_{level.upper()}_TIMEOUT" for level in names}
    for row in TABLE.values():  # the three of any environment, set in any other, are right as they are
        found = configured(environment, **{names[level]: str(row[level]) for level in names})
        for level, variable in names.items():
            assert found.settings.timeouts.of(level) == row[level]  # type: ignore[arg-type]
            assert origin(found, f"{level}_timeout") == f"variable {variable}"
        assert found.settings.timeouts.check()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("switch", ["DISABLE_TIMEOUT_OPTIMIZATIONS", "FORCE_LEGACY_TIMEOUTS"])
def test_a_kill_switch_leaves_no_time_out_shorter_than_in_the_cloud(environment: str, switch: str) -> None:
    quick = {"AGENT_EXECUTION_TIMEOUT": "1", "GOLDENPATH_DATABASE_TIMEOUT": "25"}
    timeouts = configured(environment, **{switch: "true"}, **quick).settings.timeouts
    assert all(timeouts.of(level) >= LEGACY.of(level) for level in LEVELS)
    assert (timeouts.agent_execution, timeouts.database) == (30, 25)
    assert timeouts.check()
    assert configured(environment, **{switch: "false"}).settings == configured(environment).settings


def test_either_kill_switch_is_enough() -> None:
    switches = {"DISABLE_TIMEOUT_OPTIMIZATIONS": "false", "FORCE_LEGACY_TIMEOUTS": "true"}
    for environ in (switches, dict(zip(switches, reversed(switches.values()), strict=True))):
        assert load(environ).legacy_timeouts


@given(st.dictionaries(st.sampled_from(LEVELS), st.floats(0.01, 1000), max_size=1), st.sampled_from(ENVIRONMENTS))
def test_one_time_out_may_be_set_alone_and_what_nobody_set_gives_way(
    chosen: dict[str, float], environment: Environment
) -> None:
    settings = Settings(environment=environment, **{f"{level}_timeout": value for level, value in chosen.items()})  # type: ignore[arg-type]
    for level, value in chosen.items():
        assert settings.timeouts.of(level) == value  # type: ignore[arg-type]
    # `model` is no profile's: it gives way to nobody.
    assert all(rule.parent == "model" for rule in settings.timeouts.broken())


def test_a_time_out_that_gave_way_says_so() -> None:
    found = configured("production", AGENT_EXECUTION_TIMEOUT="10")
    assert found.settings.tool_timeout == 8
    assert origin(found, "tool_timeout") == "profile production, fitted to what was set"
    assert origin(found, "websocket_recv_timeout") == "profile production"


@pytest.mark.parametrize("rule", HIERARCHY)
def test_a_child_that_outlives_its_parent_is_refused_by_the_names_of_who_set_them(rule: Any) -> None:
    parent, child = (f"GOLDENPATH_{level.upper()}_TIMEOUT" for level in (rule.parent, rule.child))
    with pytest.raises(SettingsError, match=rf"^{child} is 9 s; it must be .* {rule.parent}_timeout, 8 s \(variable"):
        load({parent: "8", child: "9"})


# --- which environment ------------------------------------------------------------------------------------------------

WHICH: list[tuple[dict[str, str], str, str]] = [
    ({}, "local", "default"),
    ({"ENVIRONMENT": "development"}, "local", "variable ENVIRONMENT"),
    ({"GOLDENPATH_ENVIRONMENT": "development"}, "local", "variable GOLDENPATH_ENVIRONMENT"),
    ({"LOCAL_DEVELOPMENT": "true"}, "local", "variable LOCAL_DEVELOPMENT"),
    ({"LOCAL_DEVELOPMENT": "false"}, "local", "default"),
    ({"LOCAL_DEVELOPMENT": "false", "ENVIRONMENT": "staging"}, "staging", "variable ENVIRONMENT"),
    ({"LOCAL_DEVELOPMENT": "true", "ENVIRONMENT": "testing"}, "local", "variable LOCAL_DEVELOPMENT"),
    ({"LOCAL_DEVELOPMENT": "1", "GOLDENPATH_ENVIRONMENT": "testing"}, "testing", "variable GOLDENPATH_ENVIRONMENT"),
    ({"ENVIRONMENT": "staging", "GOLDENPATH_ENVIRONMENT": "testing"}, "testing", "variable GOLDENPATH_ENVIRONMENT"),
]


@pytest.mark.parametrize(("environ", "environment", "by"), WHICH)
def test_it_is_documented_which_variable_says_the_environment(
    environ: dict[str, str], environment: str, by: str
) -> None:
    found = configure({**environ, "GOLDENPATH_SECRET": SECRET})
    assert (found.settings.environment, origin(found, "environment")) == (environment, by)


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize("variable", ["ENVIRONMENT", "GOLDENPATH_ENVIRONMENT"])
def test_nobody_makes_production_local_by_a_forgotten_variable(environment: str, variable: str) -> None:
    with pytest.raises(SettingsError, match=f"LOCAL_DEVELOPMENT is 'true', but {variable} is '{environment}': unset"):
        load({"LOCAL_DEVELOPMENT": "true", variable: environment, "GOLDENPATH_SECRET": SECRET})


def test_the_file_may_say_the_environment(file: Callable[[str], str]) -> None:
    path = file(f'environment = "production"\nsecret = "{SECRET}"\n')
    assert load({}, config=path).factory_timeout == 30
    assert load({"ENVIRONMENT": "testing"}, config=path).factory_timeout == 10
    with pytest.raises(SettingsError, match="LOCAL_DEVELOPMENT"):
        load({"LOCAL_DEVELOPMENT": "yes"}, config=path)
    testing = file('environment = "testing"')
    assert load({"LOCAL_DEVELOPMENT": "yes"}, config=testing).environment == "local"


# --- layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_later_layer_wins_and_each_value_says_where_it_came_from(
    environment: str, file: Callable[[str], str]
) -> None:
    path = file("factory_timeout = 21\nheartbeat = 22\nport = 23\nmax_engines = 24\n")
    environ = {
        "ENVIRONMENT": environment,
        "GOLDENPATH_SECRET": SECRET,
        "GOLDENPATH_CONFIG": path,
        "GOLDENPATH_HEARTBEAT": "32",
        "GOLDENPATH_PORT": "33",
        "GOLDENPATH_MAX_ENGINES": "34",
    }
    found = configure(environ, assignments=["max_engines=44"], port=43)
    settings = found.settings
    assert (settings.factory_timeout, settings.heartbeat, settings.port, settings.max_engines) == (21, 32, 43, 44)
    assert [origin(found, name) for name in ("factory_timeout", "heartbeat", "port", "max_engines")] == [
        f"file {path}: factory_timeout", "variable GOLDENPATH_HEARTBEAT", "option --port", "option --set max_engines",
    ]  # fmt: skip
    assert origin(found, "write_timeout") == "default"
    assert origin(found, "tool_timeout") == f"profile {environment}"
    assert found.origins.keys() == set(Settings.__struct_fields__)


def test_an_option_names_another_file_than_the_variable(file: Callable[[str], str], tmp_path: Path) -> None:
    path = file("port = 1")
    assert load({"GOLDENPATH_CONFIG": str(tmp_path / "nowhere")}, config=path).port == 1


def test_structured_values_are_tables_of_the_file(file: Callable[[str], str]) -> None:
    settings = load({}, config=file('allowed_origins = ["https://a"]\n[tiers.free]\nmax_running = 3\n'))
    assert settings.tiers["free"].max_running == 3
    assert settings.allowed_origins == ("https://a",)


WRONG: dict[str, tuple[str, str]] = {
    "no TOML": ("port =", " is no TOML: "),
    "unknown": ("prot = 1", ": prot is not a setting of goldenpath; did you mean port?"),
    "no number": ('port = "1"', ": port is '1': Expected `int`"),
    "out of range": ("port = 70000", ": port must be at most 65535"),
    "no choice": ('durability = "powr"', ": durability is 'powr'; allowed are process, power; did you mean power?"),
    "no switch": ("registration = 1", ": registration is 1: Expected `bool`"),
    "unknown within": ("[tiers.free]\nmax_runing = 1", ": tiers is {'free': {'max_runing': 1}}: "),
    "nested deeply": (f"port = {'[' * 5000}", " is no TOML: it is nested too deeply"),
    "long number": (f"port = {'9' * 5000}", " is no TOML: Exceeds the limit (4300 digits)"),
    "large number": (f"port = {'9' * 400}", ": port must be at most "),
    "larger number": (f"heartbeat = 0x{'f' * 5000}", ": heartbeat is too large to be shown: "),
    "secret": ('openai_api_key = ["mellon"]', ": openai_api_key is ***: Expected `str | null`, got `array`"),
    "wrong together": ('tls_cert = "x"', ": tls_cert and GOLDENPATH_TLS_KEY must be set together"),
    "hierarchy": ("tool_timeout = 9\nagent_execution_timeout = 8", ": tool_timeout is 9 s; it must be below"),
}
"""Written down once more: the defaults of each environment must not change by accident."""


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_the_file_is_named_by_file_and_key(file: Callable[[str], str], case: str) -> None:
    text, said = WRONG[case]
    path = file(text)
    with pytest.raises(SettingsError) as caught:
        load({}, config=path)
    assert str(caught.value).startswith(path + said)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^cannot read .*nowhere.toml: No such file or directory$"):
        load({}, config=str(tmp_path / "nowhere.toml"))
    with pytest.raises(SettingsError, match=r"^cannot read .*: Is a directory$"):
        load({"GOLDENPATH_CONFIG": str(tmp_path)})


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("port", "--set 'port' is not of the form NAME=VALUE"),
        ("prot=1", "--set prot is not a setting of goldenpath; did you mean port?"),
        ("port=http", "--set port is 'http': "),
        ("port=-1", "--set port must be 0 or above"),
        ("log_format=jsno", "--set log_format is 'jsno'; allowed are auto, console, json; did you mean json?"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_named_by_the_option(assignment: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({}, assignments=[assignment])
    assert str(caught.value).startswith(said)


def test_what_is_repeated_of_a_wrong_value_holds_no_password() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"GOLDENPATH_ISSUERS": '[{"jwks_url":"https://a:mellon@b"}]'})
    assert "mellon" not in str(caught.value)


def test_an_app_with_settings_of_its_own_reads_no_file_and_takes_options(file: Callable[[str], str]) -> None:
    app = App(Settings(database=":memory:"))
    with pytest.raises(SettingsError, match="made with settings of its own"):
        app.build(config=file("port = 1"))
    assert app.build(assignments=["port=5"], host="::1").settings == Settings(database=":memory:", port=5, host="::1")


def test_settings_that_contradict_themselves_are_refused_in_code_too() -> None:
    app = App(Settings(database=":memory:", tool_timeout=5.0, agent_execution_timeout=4.0))
    with pytest.raises(SettingsError, match=r"it must be below agent_execution_timeout, 4 s \(code\)"):
        app.build()


def test_threads_that_look_up_at_once_all_see_the_same() -> None:
    settings, seen, ready = load({}), set(), threading.Barrier(8)

    def look() -> None:
        ready.wait()
        for _ in range(50):
            seen.add((settings.port, settings.factory_timeout, settings.tier("free").max_running, load({}).port))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {(8700, 5.0, 2, 8700)}


def test_a_list_that_is_no_json_is_written_as_one() -> None:
    with pytest.raises(SettingsError, match="GOLDENPATH_OPERATORS is") as caught:
        load({"GOLDENPATH_OPERATORS": "ann@example.com, bob@example.com"})
    assert str(caught.value).endswith('; did you mean ["ann@example.com", "bob@example.com"]?')
