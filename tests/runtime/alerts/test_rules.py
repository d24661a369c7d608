"""The file of rules: what it changes, and what is said of one that cannot be taken."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from goldenpath.runtime.alerts.rules import AlertsError, default_rules, load_rules


def load(folder: Path, text: str, **environ: str) -> object:
    file = folder / "alerts.toml"
    file.write_text(text)
    return load_rules(file, environ)


def test_the_three_rules_of_the_plan_ship() -> None:
    rules = default_rules().rules
    assert [
        (name, rules[name].signal, rules[name].above, rules[name].actions)
        for name in ("websocket_timeout_regression", "factory_timeout_spike", "overall_performance_degradation")
    ] == [
        ("websocket_timeout_regression", "connect_avg_ms", 10_000, ("page",)),
        ("factory_timeout_spike", "factory_timeouts_1h", 10, ("chat",)),
        ("overall_performance_degradation", "connect_p95_ms", 15_000, ("rollback", "page")),
    ]
    assert default_rules().receivers == {}


def test_a_file_changes_a_rule_key_by_key_and_adds_others(tmp_path: Path) -> None:
    found = load_rules(_written(tmp_path / "alerts.toml", """
        [rules.connect_failures]
        above = 0.2
        for = 5
        [rules.loop_lag]
        signal = "loop_lag_p99_ms"
        above = 500
        [rules.agent_timeouts]
        off = true
        [receivers.on-call]
        takes = ["page"]
        webhook = "https://pager.example/${KEY}"
        headers = { Authorization = "Bearer ${TOKEN}" }
        [receivers.team]
        takes = ["chat"]
        apprise = "slack://${TOKEN}"
        """), {"KEY": "k1", "TOKEN": "t1"})  # fmt: skip
    changed, shipped = found.rules["connect_failures"], default_rules().rules["connect_failures"]
    assert (changed.above, changed.hold) == (0.2, 5)
    assert (changed.actions, changed.summary) == (shipped.actions, shipped.summary)
    assert found.rules["loop_lag"].bound == "> 500"
    assert found.rules["agent_timeouts"].off
    assert found.receivers["on-call"].webhook == "https://pager.example/k1"
    assert found.receivers["on-call"].headers == {"Authorization": "Bearer t1"}
    assert found.receivers["team"].apprise == "slack://t1"


def test_the_file_of_the_page_is_taken_and_its_table_is_that_of_the_rules(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/howto/alerts.md").read_text()
    blocks = "\n".join(re.findall(r"```toml\n(.*?)```", page, re.DOTALL))
    environ = {"PAGER_KEY": "k", "PAGER_TOKEN": "t", "SLACK_TOKEN": "s"}
    found = load_rules(_written(tmp_path / "alerts.toml", blocks), environ)
    assert found.receivers.keys() == {"on-call", "team"}
    assert found.rules["connect_failures"].above == 0.02
    assert found.rules["agent_timeouts"].off
    assert found.rules["slow_loop"].min_samples == 20
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (at once|60 s) \| ([^|]*) \|$", page, re.MULTILINE)
    shipped = default_rules().rules
    assert [name for name, _, _ in rows] == list(shipped)
    for name, hold, does in rows:
        rule = shipped[name]
        assert hold == ("at once" if rule.hold == 0 else f"{rule.hold:g} s")
        assert does.replace("roll-back", "rollback") == ", ".join(rule.actions)


def test_json_says_the_same(tmp_path: Path) -> None:
    file = _written(
        tmp_path / "alerts.json", json.dumps({"rules": {"loop": {"signal": "loop_lag_p99_ms", "above": 5}}})
    )
    assert load_rules(file, {}).rules["loop"].above == 5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[rules.x", "not TOML"),
        (f"rules = {'[' * 5000}", "not TOML: it is nested too deeply"),
        (f"rules = {'9' * 5000}", "not TOML: Exceeds the limit (4300 digits)"),
        ("[rule.x]\nabove = 1", "unknown key `rule`"),
        ("rules = 3", "`rules` has to be a table"),
        ("[rules]\nx = 3", "rules.x has to be a table"),
        ("[rules.X]\nabove = 1", "rules.X: a name has only lower-case letters"),
        ("[rules.x]\nabove = 1", "no rule of this name ships, and a new one needs a `signal`"),
        ("[rules.conect_failures]\nabove = 1", "needs a `signal`; did you mean `connect_failures`?"),
        (
            '[rules.x]\nsignal = "lop_lag_p99_ms"\nabove = 1',
            "no signal 'lop_lag_p99_ms'; docs/signals.md lists them; did you mean `loop_lag_p99_ms`?",
        ),
        ('[rules.x]\nsignal = "loop_lag_p99_ms"', "needs `above` or `below`"),
        ('[rules.x]\nsignal = "loop_lag_p99_ms"\nabove = nan', "have to be finite"),
        ("[rules.connect_failures]\nfor = -1", "`for` has to be 0 or more seconds"),
        ("[rules.connect_failures]\nkeep_firing_for = inf", "`keep_firing_for` has to be 0 or more seconds"),
        ("[rules.connect_failures]\nmin_samples = 0", "`min_samples` has to be 1 or more"),
        ("[rules.connect_failures]\nabvoe = 1", "unknown field `abvoe`"),
        ('[rules.connect_failures]\nactions = ["call"]', "'call' is none of chat, page, rollback"),
        ('[receivers.x]\ntakes = ["page"]', "needs either `webhook` or `apprise`"),
        ('[receivers.x]\ntakes = []\nwebhook = "http://x/"', "`takes` has to name what it is for"),
        ('[receivers.x]\ntakes = ["page"]\nwebhook = "ftp://x/"', "has to be an http or https URL"),
        ('[receivers.x]\ntakes = ["page"]\nwebhook = "http://x/${NO}"', "the environment variable NO is not set"),
        ('[receivers.x]\ntakes = ["page"]\nwebhook = "http://[x/"', "has to be an http or https URL"),
        ('[receivers.x]\ntakes = ["page"]\nwebhook = "http://x:99999/"', "has to be an http or https URL"),
        ('[receivers.x]\ntakes = ["page"]\nwebhook = "http://x/a\\u0000"', "has to be an http or https URL"),
        (
            '[receivers.x]\ntakes = ["page"]\nwebhook = "http://x/"\nheaders = { Key = "mellon\\n" }',
            "the header Key cannot be sent: it has to be printable ASCII",
        ),
        (
            '[receivers.x]\ntakes = ["page"]\nwebhook = "http://x/"\nheaders = { "a b" = "mellon" }',
            "`a b` is no name of a header",
        ),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(AlertsError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert why in message
    assert "mellon" not in message
    assert message.startswith(str(tmp_path / "alerts.toml"))
    assert "\n" not in message


def test_json_that_is_nested_too_deeply_is_told(tmp_path: Path) -> None:
    with pytest.raises(AlertsError, match="not JSON: it is nested too deeply"):
        load_rules(_written(tmp_path / "alerts.json", "[" * 5000), {})


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AlertsError, match=r"alerts\.toml: cannot be read: No such file"):
        load_rules(tmp_path / "alerts.toml", {})


def _written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file
