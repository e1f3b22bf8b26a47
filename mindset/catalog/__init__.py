"""Postgres, the truth: tables, statements and migrations."""
