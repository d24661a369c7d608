from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.auth.emails import is_email, normalize


@pytest.mark.parametrize("text", ["ann@example.com", "  Ann@Example.COM\n", "ANN@EXAMPLE.COM"])
def test_spellings_of_one_address_are_one(text: str) -> None:
    assert normalize(text) == "ann@example.com"


@pytest.mark.parametrize("text", ["ΟΔΟΣ@example.com", "οδος@example.com", "οδοσ@example.com"])
def test_case_is_that_of_every_script(text: str) -> None:
    assert normalize(text) == "οδοσ@example.com"


def test_composed_and_decomposed_letters_are_one() -> None:
    assert normalize("Ren\u00e9@example.com") == normalize("Rene\u0301@example.com")


@pytest.mark.parametrize(
    "address",
    ["a@b", "me@localhost", "first.last+tag@sub.example.co.uk", "o'neil_1@x-y.example", "user@b\u00fccher.example"],
)
def test_addresses_that_people_have_are_accepted(address: str) -> None:
    assert is_email(normalize(address))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nobody",
        "@example.com",
        "ann@",
        "ann@@example.com",
        "ann@exa mple.com",
        "ann lee@example.com",
        ".ann@example.com",
        "ann..lee@example.com",
        "ann@-example.com",
        "ann@example-.com",
        "ann@example..com",
        "ann@example.com.",
        "ann\x00@example.com",
        "ann\u200b@example.com",
        "ann@example.com\ud800",
        "Ann <ann@example.com>",
        "a" * 65 + "@example.com",
        "ann@" + "example." * 40 + "com",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert not is_email(normalize(text))


@given(st.text())
def test_normalizing_twice_changes_nothing(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


@given(st.emails())
def test_ordinary_addresses_are_accepted_in_any_case(address: str) -> None:
    local = address.rpartition("@")[0]
    if '"' not in local and not local.startswith(".") and len(address) <= 254:
        assert is_email(normalize(address)) == is_email(normalize(address.upper()))
        assert is_email(normalize(address))
