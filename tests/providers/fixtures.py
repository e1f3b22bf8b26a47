"""The `provider` fixture, for the conftest of whoever needs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.providers.server import ProviderServer


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    """A running stand-in; boto3 has dummy credentials and looks for no others."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with ProviderServer() as server:
        yield server
