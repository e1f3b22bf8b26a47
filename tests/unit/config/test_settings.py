"""Tests of settings from the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mindset.config.settings import RENAMED, Settings, load_settings
from mindset.errors import ConfigurationError


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove all variables, and run in a folder without `.env`."""
    for name in os.environ:
        if name.upper().startswith(("MINDSET_", "PREFECT_API_URL")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_all_settings_have_defaults() -> None:
    settings = load_settings()
    assert (settings.api_port, settings.stages) == (8080, "inline")
    assert settings.knowledge_bases == Path.cwd() / "knowledge_bases"
    assert (settings.postgres_url, settings.nim_api_key, settings.prefect_api_url) == (None, None, None)


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("MINDSET_API_PORT", "http", "integer"),
        ("MINDSET_API_PORT", "70000", "less than or equal to 65535"),
        ("MINDSET_API_PORT", "", "integer"),
        ("MINDSET_POSTGRES_POOL_SIZE", "3", "greater than or equal to 4"),
        ("MINDSET_ANSWER_LOG", "maybe", "boolean"),
        ("MINDSET_STAGES", "elsewhere", "'inline' or 'deployments'"),
        ("MINDSET_LOG_LEVEL", "loud", "'DEBUG', 'INFO'"),
    ],
)
def test_invalid_value_is_reported_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, fault: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(
        ConfigurationError, match=rf"Invalid settings: {variable}: .*{fault}.*Correct the variable or unset it\."
    ):
        load_settings()


def test_all_invalid_values_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINDSET_API_PORT", "http")
    monkeypatch.setenv("MINDSET_STAGES", "elsewhere")
    with pytest.raises(ConfigurationError, match=r"MINDSET_API_PORT: [^;]+; MINDSET_STAGES: [^;]+$"):
        load_settings()


def test_environment_overrides_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MINDSET_API_PORT=9000\nMINDSET_API_HOST=0.0.0.0\nSOMEBODY_ELSES=1\n")
    monkeypatch.setenv("MINDSET_API_PORT", "9001")
    settings = load_settings()
    assert (settings.api_host, settings.api_port) == ("0.0.0.0", 9001)


def test_invalid_value_in_the_env_file_is_reported() -> None:
    Path(".env").write_text("MINDSET_API_PORT=http\n")
    with pytest.raises(ConfigurationError, match="MINDSET_API_PORT"):
        load_settings()


def test_prefect_api_url_defaults_to_prefects_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://theirs/api")
    assert load_settings().prefect_api_url == "http://theirs/api"
    monkeypatch.setenv("MINDSET_PREFECT_API_URL", "http://ours/api")
    assert load_settings().prefect_api_url == "http://ours/api"


def test_relative_folders_are_resolved_when_settings_are_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MINDSET_KNOWLEDGE_BASES", "definitions")
    settings = load_settings()
    monkeypatch.chdir("/")
    assert (settings.directory, settings.knowledge_bases) == (tmp_path / ".mindset", tmp_path / "definitions")


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POSTGRES_URL", "REDIS_URL", "NIM_API_KEY"):
        monkeypatch.setenv(f"MINDSET_{name}", f"hush-{name}")
    settings = load_settings()
    assert settings.nim_api_key
    assert settings.nim_api_key.get_secret_value() == "hush-NIM_API_KEY"
    assert "hush" not in repr(settings) + str(settings) + settings.model_dump_json() + str(settings.model_dump())


@pytest.mark.parametrize(
    "name", [name for name in Settings.model_fields if name.endswith(("_key", "token", "password"))]
)
def test_every_secret_setting_has_a_secret_type(name: str) -> None:
    assert "SecretStr" in str(Settings.model_fields[name].annotation)


def test_settings_are_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().api_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_renamed_variable_is_rejected_with_its_new_name(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    monkeypatch.setenv(old, "1")
    with pytest.raises(ConfigurationError, match=f"{old} is now {new}"):
        load_settings()


def test_renamed_variable_in_the_env_file_is_rejected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("MINDSET_TRACE_SHARE=0.5\n")
    with pytest.raises(ConfigurationError, match="MINDSET_TRACE_SHARE is now MINDSET_TRACE_SAMPLE_RATE"):
        load_settings()


def test_new_names_of_renamed_variables_are_settings() -> None:
    assert {new.removeprefix("MINDSET_").lower() for new in RENAMED.values()} <= Settings.model_fields.keys()
