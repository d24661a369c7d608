"""The file of the flags' rules."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.flags import file
from goldenpath.runtime.flags.rule import Rule

texts = st.text(st.characters(codec="utf-8"), max_size=20)
rules = st.builds(
    Rule,
    stage=st.sampled_from(["off", "internal", "canary", "staged", "full"]),
    percent=st.none() | st.floats(0, 100),
    variant=st.none() | texts,
    tiers=st.lists(texts, max_size=3).map(tuple),
    environments=st.lists(st.sampled_from(["local", "staging"]), max_size=2).map(tuple),
    why=texts,
    by=texts,
)


@given(st.dictionaries(texts, rules, max_size=5))
def test_what_is_written_is_what_is_read(given_rules: dict[str, Rule]) -> None:
    assert file.decode(file.encode(given_rules)) == given_rules


def test_a_file_as_a_person_writes_it() -> None:
    text = """
    [new_runs]
    stage = "off"
    why = "incident 7"

    ["agent.weather"]
    percent = 25
    tiers = ["enterprise"]
    environments = ["staging", "production"]
    """
    assert file.decode(text) == {
        "new_runs": Rule(stage="off", why="incident 7"),
        "agent.weather": Rule(percent=25, tiers=("enterprise",), environments=("staging", "production")),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[new_runs", "end of document"),
        ("new_runs = false", "flag new_runs"),
        ('[new_runs]\nstage = "of"', "flag new_runs: 'of' is none of canary, full, internal, off, staged"),
        ("[new_runs]\nenabled = false", "flag new_runs: Object contains unknown field `enabled`"),
        ("[unknown]\npercent = nan", "flag unknown: percent is from 0 to 100"),
        ("[unknown]\npercent = inf", "flag unknown: percent is from 0 to 100"),
        (f"[unknown]\npercent = {'9' * 5000}", "4300 digits"),
        (f"[new_runs]\npercent = 0x{'f' * 5000}", "flag new_runs: "),
        (f"[unknown]\ntiers = ['{'x' * 129}']", "flag unknown: the name of a tier has at most 128 characters"),
        (f"x = {'[' * 5000}{']' * 5000}", "nested too deeply"),
    ],
)
def test_what_makes_no_sense_is_told_with_the_file_and_the_flag(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "flags.toml"
    path.write_text(text)
    with pytest.raises(file.FlagsFileError) as caught:
        file.read(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


def test_no_file_is_no_rules_and_one_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flags.toml"
    assert file.read(path) == {}
    assert file.signature(path) is None
    path.write_text("#" * (file.MAX_BYTES + 1))
    with pytest.raises(file.FlagsFileError, match="more than"):
        file.read(path)


def test_nobody_waits_for_what_is_no_file_to_say_something(tmp_path: Path) -> None:
    path = tmp_path / "flags.toml"
    os.mkfifo(path)
    with pytest.raises(file.FlagsFileError, match="not a regular file"):
        file.read(path)


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "flags.toml"
    held = file.edit(path, lambda rules: {**rules, "a": Rule(stage="off")})
    large = {f"f{number}": Rule(why="x" * 500, by="y" * 500) for number in range(600)}
    with pytest.raises(file.FlagsFileError, match=f"more than {file.MAX_BYTES} bytes"):
        file.edit(path, lambda _: large)
    assert file.read(path) == held


def test_an_edit_keeps_what_others_wrote_and_changes_the_signature(tmp_path: Path) -> None:
    path = tmp_path / "new" / "flags.toml"
    file.edit(path, lambda rules: {**rules, "a": Rule(stage="off")})
    first = file.signature(path)
    held = file.edit(path, lambda rules: {**rules, "b": Rule(percent=5)})
    assert held == file.read(path) == {"a": Rule(stage="off"), "b": Rule(percent=5)}
    assert file.signature(path) != first
    assert path.stat().st_mode & 0o777 == 0o600
    assert {each.name for each in path.parent.iterdir()} == {"flags.toml", ".flags.toml.lock"}


def test_edits_of_many_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "flags.toml"

    def add(number: int) -> None:
        file.edit(path, lambda rules: {**rules, f"f{number}": Rule()})

    threads = [threading.Thread(target=add, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(file.read(path)) == {f"f{number}" for number in range(20)}


def test_whoever_does_not_want_to_wait_is_told_that_the_file_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "flags.toml"
    file.edit(path, lambda rules: rules)
    lock = os.open(tmp_path / ".flags.toml.lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(file.FlagsFileBusy):
            file.edit(path, lambda rules: rules, wait=False)
    finally:
        os.close(lock)


def test_a_broken_file_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "flags.toml"
    path.write_text("[half")
    with pytest.raises(file.FlagsFileError):
        file.edit(path, lambda rules: {**rules, "a": Rule()})
    assert path.read_text() == "[half"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(file.FlagsFileError, match="cannot write"):
        file.edit(tmp_path / "taken" / "flags.toml", lambda rules: rules)
