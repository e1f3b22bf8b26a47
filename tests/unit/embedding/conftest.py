"""Providers to talk to."""

from tests.providers.fixtures import provider

__all__ = ["provider"]
