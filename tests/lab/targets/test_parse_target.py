"""What `--target` says, and a mapping file: the file's name, the key and what is expected, in one line."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from goldenpath.lab.targets import TargetSpec, parse_target

MAPPING = """
url = "ws://127.0.0.1:1/chat?as={user}"
[send]
say = "{text}"
[read]
kind = "kind"
delta = ["word"]
end = ["done"]
text = "text"
"""


def parsed(text: str, **options: object) -> TargetSpec:
    spec = parse_target(text, **options)  # type: ignore[arg-type]
    assert spec is not None
    return spec


def test_nothing_is_a_server_of_our_own() -> None:
    assert parse_target(None) is None


def test_a_url_is_a_goldenpath_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDENPATH_SIMULATION_KEY", "k")
    spec = parsed("http://127.0.0.1:8700")
    assert spec == TargetSpec("goldenpath", {"url": "http://127.0.0.1:8700", "simulation_key": "k"}, {"k": "***"})


def test_the_simulation_key_has_the_server_s_other_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOLDENPATH_SIMULATION_KEY", raising=False)
    monkeypatch.setenv("E2E_OAUTH_SIMULATION_KEY", "k")
    assert parsed("http://127.0.0.1:8700").options["simulation_key"] == "k"


def test_an_agui_server_has_headers_and_may_be_an_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    headers = ["Authorization: Bearer ${TOKEN}", "X-User:u{user}"]
    assert parsed("agui+https://example.com/run", headers=headers, echo=True).options == {
        "url": "https://example.com/run",
        "headers": {"Authorization": "Bearer secret", "X-User": "u{user}"},
        "echo": True,
    }


def test_a_url_may_have_variables_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "secret")
    assert parsed("agui+https://example.com/run?key=${KEY}").options["url"] == "https://example.com/run?key=secret"
    with pytest.raises(ValueError, match="--target: there is no variable NOKEY in the environment"):
        parsed("https://${NOKEY}@example.com")


def test_what_is_wrong_is_told_without_secrets() -> None:
    with pytest.raises(ValueError, match=r"--target: 'http://\*\*\*@:0/' is no http:// or https:// URL with a host"):
        parsed("agui+http://me:open-sesame@:0/")
    with pytest.raises(ValueError, match=r"--header '\*\*\*': expected 'Name: value'"):
        parsed("agui+http://localhost/", headers=["Bearer open-sesame"])


def test_a_mapping_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "chat.toml"
    path.write_text(MAPPING)
    spec = parsed(f"ws+{path}")
    assert spec.kind == "websocket"
    assert spec.options["send"] == {"say": "{text}"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is no target; there are http://HOST"),
        ("localhost:8000", "'localhost:8000' is no target"),
        ("http://", "no http:// or https:// URL with a host"),
        ("http://host:port", "no http:// or https:// URL with a host"),
        ("agui+localhost:8000", "'localhost:8000' is no http://"),
        ("agui+", "'' is no http://"),
        ("ws://localhost/chat", "described by a mapping file, as in ws+chat.toml"),
        ("ws+ws://localhost/chat", "described by a mapping file"),
        ("ws+", "described by a mapping file"),
        ("ws+missing.toml", "missing.toml: No such file or directory"),
        ("ftp+http://localhost", "is no target"),
    ],
)
def test_what_is_no_target_is_told(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        parse_target(text)
    assert why in str(raised.value)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("Authorization", "expected 'Name: value'"),
        (": x", "expected 'Name: value'"),
        ("X-User: {usr}", "--header X-User: {usr} cannot be filled in here; {user} can"),
        ("X-User: ${NO_SUCH}", "--header X-User: there is no variable NO_SUCH"),
    ],
)
def test_a_header_that_is_none_is_told(header: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        parse_target("agui+http://localhost", headers=[header])
    assert why in str(raised.value)


@pytest.mark.parametrize("text", [None, "http://localhost", "ws+chat.toml"])
def test_headers_are_for_agui_servers(text: str | None) -> None:
    with pytest.raises(ValueError, match="are for agui"):
        parse_target(text, headers=["X: y"])


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('kind = "kind"', "", "read: Object missing required field `kind`"),
        ('delta = ["word"]', 'delta = "word"', "read.delta: Expected `array`, got `str`"),
        ('delta = ["word"]', "delta = []", "read.delta: expected at least one, got none"),
        ('text = "text"', 'text = "text"\ncolour = 1', "read: Object contains unknown field `colour`"),
        ("[read]", "[raed]", "the file: Object contains unknown field `raed`"),
        ("ws://", "http://", "url: expected ws://... or wss://..., got 'http://127.0.0.1:1/chat'"),
        ("{user}", "{token}", "url: {token} cannot be filled in here; {user} can"),
        ("{text}", "{txt}", "send.say: {txt} cannot be filled in here; {run}, {text}, {thread}, {user} can"),
        ("{text}", "hello", "send: expected {text} somewhere: nothing would be asked"),
        ("{text}", "${NO_SUCH} {text}", "send.say: there is no variable NO_SUCH in the environment"),
        ('text = "text"', 'text = "text"\nrun = "id"', "send: expected {run} somewhere: read.run expects it back"),
        ('text = "text"', 'text = "text"\nignore = ["done"]', "read.ignore: 'done' stands in read.end, too"),
        ("[send]", "[send", "no TOML: "),
        ("[send]", "[heartbeat]\nkinds = []\nanswer = {}\n[send]", "heartbeat.kinds: expected at least one, got none"),
        (
            "[send]",
            '[heartbeat]\nkinds = ["done"]\nanswer = {}\n[send]',
            "heartbeat.kinds: 'done' stands in read.end, too",
        ),
        ("[send]", '[heartbeat]\nkinds = ["ping"]\n[send]', "heartbeat: Object missing required field `answer`"),
        (
            "[send]",
            '[heartbeat]\nkinds = ["ping"]\nanswer = { to = "{text}" }\n[send]',
            "heartbeat.answer.to: {text} cannot be filled in here; {user} can",
        ),
        ("[send]", '[login]\nurl = "chat"\n[send]', "login.url: expected http://... or https://..., got 'chat'"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_told_with_its_place(old: str, new: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "chat.toml"
    path.write_text(MAPPING.replace(old, new))
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        parse_target(f"ws+{path}")
    assert str(raised.value).startswith(f"{path}: {why}")


def test_a_target_travels_to_a_worker_as_json(tmp_path: Path) -> None:
    path = tmp_path / "chat.toml"
    path.write_text(MAPPING)
    spec = parsed(f"ws+{path}")
    assert msgspec.json.decode(msgspec.json.encode(spec), type=TargetSpec) == spec
