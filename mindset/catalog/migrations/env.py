"""How Alembic runs: inside the connection that `migrate` or `check` hands it."""

from __future__ import annotations

from typing import Any

from alembic import context

from mindset.catalog.schema import metadata


def ours(_obj: Any, name: str | None, kind: str, reflected: bool, compared: Any) -> bool:
    """Partitions are made by the program as models and days come; they are no part of the design."""
    return not (kind == "table" and reflected and compared is None and "_p_" in (name or ""))


context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, include_object=ours)
with context.begin_transaction():
    context.run_migrations()
