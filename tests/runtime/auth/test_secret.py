from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from goldenpath.runtime.auth.secret import load_secret
from goldenpath.runtime.settings import Settings, SettingsError


def test_the_secret_of_the_settings_is_used_and_not_written(tmp_path: Path) -> None:
    settings = Settings(secret="s" * 32, data_dir=str(tmp_path / "data"))
    assert load_secret(settings) == b"s" * 32
    assert not (tmp_path / "data").exists()


def test_without_one_it_is_made_once_and_kept_where_only_the_owner_reads_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "new" / "data"))
    secret = load_secret(settings)
    assert len(secret) >= 32
    assert load_secret(settings) == secret
    directory = tmp_path / "new" / "data"
    assert [path.name for path in directory.iterdir()] == ["secret"]
    assert stat.S_IMODE((directory / "secret").stat().st_mode) == 0o600
    assert load_secret(Settings(data_dir=str(tmp_path / "other"))) != secret


def test_servers_that_start_together_agree(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    together = threading.Barrier(8)
    found: list[bytes] = []

    def start() -> None:
        together.wait()
        found.append(load_secret(settings))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_damaged_file_is_an_error_that_names_it_and_not_its_content(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    with pytest.raises(SettingsError) as caught:
        load_secret(Settings(data_dir=str(tmp_path)))
    assert str(tmp_path / "secret") in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_server_in_memory_has_a_secret_of_its_own_and_writes_nothing(tmp_path: Path) -> None:
    settings = Settings(database=":memory:", data_dir=str(tmp_path / "data"))
    assert load_secret(settings) != load_secret(settings)
    assert len(load_secret(settings)) >= 32
    assert list(tmp_path.iterdir()) == []
    assert load_secret(Settings(database=":memory:", secret="s" * 32)) == b"s" * 32


def test_a_data_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError):
        load_secret(Settings(data_dir=str(tmp_path / "file" / "data")))
