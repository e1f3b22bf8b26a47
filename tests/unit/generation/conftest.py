"""Fixtures: a fake provider."""

from tests.providers.fixtures import provider

__all__ = ["provider"]
