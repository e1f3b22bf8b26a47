"""The `provider` fixture, for test modules to import."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.providers.server import ProviderServer


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    """A running provider server. boto3 gets dummy credentials and searches for no others."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with ProviderServer() as server:
        yield server
