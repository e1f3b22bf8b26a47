"""Alembic's environment: it uses the connection of `migrate` or `check`."""

from __future__ import annotations

from typing import Any

from alembic import context

from mindset.catalog.schema import metadata


def is_designed(_obj: Any, name: str | None, kind: str, reflected: bool, compared: Any) -> bool:
    """Exclude partitions: the program creates one per model or day, so the schema does not list them."""
    return not (kind == "table" and reflected and compared is None and "_p_" in (name or ""))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_object=is_designed,
    transaction_per_migration=True,  # short transactions, and a migration that was applied need not be repeated
)
with context.begin_transaction():
    context.run_migrations()
