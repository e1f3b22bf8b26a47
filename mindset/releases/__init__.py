"""Releases: promotion, rollback and notification."""
