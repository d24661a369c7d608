from __future__ import annotations

import msgspec
import pytest

from goldenpath.runtime.settings import Issuer, Settings, TierLimits, data_path


def test_an_unknown_tier_has_the_limits_of_the_free_one() -> None:
    settings = Settings()
    assert settings.tier("enterprise") == TierLimits(16, 64)
    assert settings.tier("galactic") == settings.tier("free") == TierLimits(2, 16)
    assert Settings(tiers={}).tier("free") == TierLimits()
    assert Settings(tiers={"free": TierLimits(1, 1)}).tier("mid") == TierLimits(1, 1)


def test_no_setting_that_sounds_like_a_secret_is_shown() -> None:
    words = ("secret", "api_key", "simulation_key", "token")
    names = [field.name for field in msgspec.structs.fields(Settings) if any(word in field.name for word in words)]
    secrets = [name for name in names if not name.endswith("_ttl")]
    assert secrets
    settings = Settings(**dict.fromkeys(secrets, "mellon"))  # type: ignore[arg-type]
    shown = settings.redacted()
    for name in secrets:
        assert (getattr(settings, name), shown[name]) == ("mellon", "***")
    assert "mellon" not in str(shown)
    assert msgspec.convert(Settings().redacted(), Settings) == Settings()


def test_what_is_secret_in_a_url_is_not_shown() -> None:
    issuer = Issuer("https://me:mellon@id.example", "a", "https://id.example/keys?api_key=mellon&page=1")
    settings = Settings(
        issuers=(issuer,), openai_base_url="http://mellon@host/v1", allowed_origins=("https://a:mellon@b",)
    )
    shown = settings.redacted()
    assert "mellon" not in str(shown)
    assert shown["issuers"][0]["issuer"] == "https://***@id.example"
    assert shown["issuers"][0]["jwks_url"] == "https://id.example/keys?api_key=***&page=1"
    assert shown["openai_base_url"] == "http://***@host/v1"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]


def test_files_lie_in_the_data_directory() -> None:
    assert str(data_path(Settings(data_dir="/data"), "goldenpath.db")) == "/data/goldenpath.db"
