"""What of secrets is kept: nothing that was written out, and how the environment was asked for them."""

from __future__ import annotations

import pytest

from goldenpath.lab.targets.secrets import (
    command_to_show,
    header_to_show,
    target_to_show,
    without_parameters,
)


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("Authorization: Bearer open-sesame", "Authorization: Bearer ***"),
        ("Authorization: open-sesame", "Authorization: ***"),
        ("Authorization: Basic", "Authorization: ***"),
        ("Authorization: Bearer ${TOKEN}", "Authorization: Bearer ${TOKEN}"),
        ("Authorization: Bearer open-${HALF}", "Authorization: Bearer ***"),
        ("authorization: user-{user}", "authorization: ***"),
        ("X-Api-Key:open sesame", "X-Api-Key: *** ***"),
        ("Cookie: session=${SESSION}; theme=dark", "Cookie: session=${SESSION}; ***"),
        ("X-User: user-{user}", "X-User: user-{user}"),
        ("X-Tenant: acme", "X-Tenant: ***"),
        ("Accept-Language: de", "Accept-Language: de"),
        ("no header", "***"),
    ],
)
def test_headers(header: str, shown: str) -> None:
    assert header_to_show(header) == shown


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("http://127.0.0.1:8700", "http://127.0.0.1:8700"),
        ("agui+https://me:open-sesame@example.com/run", "agui+https://***@example.com/run"),
        ("agui+https://h/run?agent=echo&api_key=open-sesame#x", "agui+https://h/run?agent=echo&api_key=***#x"),
        ("agui+https://h/run?token=${TOKEN}", "agui+https://h/run?token=${TOKEN}"),
        ("ws+chat.toml", "ws+chat.toml"),
    ],
)
def test_targets(target: str, shown: str) -> None:
    assert target_to_show(target) == shown


def test_a_command_line_however_its_options_are_written() -> None:
    header, target = "Authorization: Bearer open-sesame", "agui+http://h/?key=open-sesame"
    words = ["lab", "run", f"--header={header}", "--header", header, "--target", target]
    assert command_to_show(words, headers=[header], target=target) == [
        "lab",
        "run",
        "--header=Authorization: Bearer ***",
        "--header",
        "Authorization: Bearer ***",
        "--target",
        "agui+http://h/?key=***",
    ]


def test_an_error_names_a_place_without_what_lets_in() -> None:
    said = "GET ws://me:open-sesame@h:1/chat?t=open-sesame cannot be reached (url='http://h/?a=open-sesame')"
    assert without_parameters(said) == "GET ws://h:1/chat cannot be reached (url='http://h/')"
