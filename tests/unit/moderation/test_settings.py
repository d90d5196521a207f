"""Settings come from the environment alone, and what is wrong there is named."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from moderation.errors import SetupError
from moderation.settings import Settings, load_settings

SECRETS = [name for name, field in Settings.model_fields.items() if "Secret" in str(field)]


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CAPTIONGUARD_"):
            monkeypatch.delenv(name)


def test_defaults_need_no_environment() -> None:
    """With nothing set, the settings are their defaults."""
    settings = load_settings()
    for name, field in Settings.model_fields.items():
        assert getattr(settings, name) == field.default


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("data_dir", "/srv/captionguard", Path("/srv/captionguard")),
        ("database_url", "postgresql://u:p@db/x", SecretStr("postgresql://u:p@db/x")),
        ("api_port", "0", 0),
        ("api_port", "65535", 65535),
        ("log_format", "console", "console"),
        ("model", "ViT-B-32:laion2b_s34b_b79k", "ViT-B-32:laion2b_s34b_b79k"),
        ("calibration_file", "c.json", Path("c.json")),
        ("device", "cpu", "cpu"),
        ("fetch_timeout_s", "2.5", 2.5),
        ("fetch_redirects", "0", 0),
        ("fetch_allow_private", "true", True),
        ("fetch_allow_private", "0", False),
        ("decode_processes", "0", 0),
    ],
)
def test_a_variable_sets_the_field_of_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: Any
) -> None:
    """`CAPTIONGUARD_` and the field's name in capitals set that field and no other."""
    monkeypatch.setenv(f"CAPTIONGUARD_{name.upper()}", text)
    assert load_settings() == Settings.model_construct(**{name: value})


def test_only_our_prefix_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of other programs change nothing, nor do unknown ones of ours."""
    before = load_settings()
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere")
    monkeypatch.setenv("MODEL", "other")
    monkeypatch.setenv("CAPTIONGUARD_NO_SUCH_SETTING", "x")
    assert load_settings() == before


def test_an_empty_variable_is_as_good_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that a compose file sets to nothing leaves the default."""
    for name in Settings.model_fields:
        monkeypatch.setenv(f"CAPTIONGUARD_{name.upper()}", "")
    assert load_settings() == Settings.model_construct()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("api_port", "http"),
        ("api_port", "-1"),
        ("api_port", "65536"),
        ("log_format", "xml"),
        ("device", "tpu"),
        ("max_batch_items", "0"),
        ("max_batch_items", "1.5"),
        ("message_threads", "many"),
        ("decode_processes", "-1"),
        ("max_image_bytes", "20MB"),
        ("fetch_timeout_s", "0"),
        ("fetch_timeout_s", "-1"),
        ("fetch_timeout_s", "nan"),
        ("fetch_allow_private", "perhaps"),
        ("lease_s", "soon"),
        ("max_attempts", "0"),
    ],
)
def test_a_wrong_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    """What an operator has to mend is said by the name that the operator wrote."""
    variable = f"CAPTIONGUARD_{name.upper()}"
    monkeypatch.setenv(variable, text)
    with pytest.raises(SetupError, match=rf"{variable}: \w+"):
        load_settings()


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody mends one variable only to be told of the next."""
    monkeypatch.setenv("CAPTIONGUARD_API_PORT", "x")
    monkeypatch.setenv("CAPTIONGUARD_DEVICE", "x")
    with pytest.raises(SetupError, match=r"(?s)CAPTIONGUARD_API_PORT.*CAPTIONGUARD_DEVICE"):
        load_settings()


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """URLs with passwords and keys stay out of everything that is printed."""
    assert {"database_url", "redis_url", "api_key"} <= set(SECRETS)
    for name in SECRETS:
        monkeypatch.setenv(f"CAPTIONGUARD_{name.upper()}", f"redis://:hunter2@{name}")
    settings = load_settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hunter2" not in shown
    assert all(
        getattr(settings, name).get_secret_value() == f"redis://:hunter2@{name}" for name in SECRETS
    )


def test_secrets_do_not_show_beside_a_wrong_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message about another variable gives no secret away."""
    monkeypatch.setenv("CAPTIONGUARD_API_KEY", "hunter2")
    monkeypatch.setenv("CAPTIONGUARD_API_PORT", "x")
    with pytest.raises(SetupError) as caught:
        load_settings()
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


def test_settings_are_frozen() -> None:
    """Nothing changes a setting while the program runs."""
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.model = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"), [("LEASE_S", "1.5"), ("LOST_AFTER_S", "1"), ("BEAT_S", "10")]
)
def test_leases_outlast_beats(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Times that would take work under way for lost are refused, with the rule they break."""
    monkeypatch.setenv(f"CAPTIONGUARD_{name}", value)
    with pytest.raises(SetupError, match="CAPTIONGUARD_BEAT_S must be at most half"):
        load_settings()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:6379", "must look like redis://"),
        ("redis://:other@queue:6379/1", "must be another Redis"),
    ],
)
def test_the_cache_is_another_redis(monkeypatch: pytest.MonkeyPatch, url: str, said: str) -> None:
    """A cache in the queue's own server, whatever its database, is refused at the start."""
    monkeypatch.setenv("CAPTIONGUARD_REDIS_URL", "redis://:secret@queue:6379/0")
    monkeypatch.setenv("CAPTIONGUARD_EMBEDDING_CACHE_URL", url)
    with pytest.raises(SetupError, match=said):
        load_settings()


def test_a_cache_on_another_server_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers are two memories, also with one host."""
    monkeypatch.setenv("CAPTIONGUARD_REDIS_URL", "redis://:secret@queue:6379/0")
    monkeypatch.setenv("CAPTIONGUARD_EMBEDDING_CACHE_URL", "redis://queue:6380/0")
    assert load_settings().embedding_cache_url is not None
