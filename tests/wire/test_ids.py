from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.wire.ids import EPOCH_PATTERN, NAME_PATTERN, is_epoch, is_name, new_epoch, new_id


@given(st.from_regex(f"\\A{NAME_PATTERN}\\Z"))
def test_what_matches_the_pattern_is_a_name(name: str) -> None:
    assert is_name(name)


@given(st.text(max_size=140))
def test_a_name_has_allowed_characters_and_length_only(name: str) -> None:
    allowed = all(character.isascii() and (character.isalnum() or character in "._:-") for character in name)
    assert is_name(name) == (allowed and 1 <= len(name) <= 128)


@pytest.mark.parametrize("name", ["", "a b", "a\n", "\na", "a/b", "ä", "x" * 129, "a\x00", "..%2f", "\u0661"])
def test_what_could_be_mistaken_elsewhere_is_no_name(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize(
    ("epoch", "valid"),
    [("a-_Z9", True), ("x" * 64, True), ("x" * 65, False), ("a.b", False), ("", False), ("a\n", False)],
)
def test_an_epoch_is_shorter_and_has_no_dots(epoch: str, valid: bool) -> None:
    assert is_epoch(epoch) is valid


def test_new_ids_are_names_and_differ() -> None:
    made = {new_id("run") for _ in range(1000)}
    assert len(made) == 1000
    assert all(is_name(one) and re.fullmatch("run_.{24}", one) for one in made)


def test_new_epochs_are_epochs_and_differ() -> None:
    made = {new_epoch(0.0) for _ in range(1000)}
    assert len(made) == 1000
    assert all(is_epoch(epoch) and re.fullmatch(EPOCH_PATTERN, epoch) for epoch in made)
