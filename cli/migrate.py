"""`migrate`: migrate the catalog's schema."""

from __future__ import annotations

import typer

from cli.context import connected_settings
from cli.output import AsJson, out, print_json
from mindset.application import require_setting


def migrate(as_json: AsJson = False) -> None:
    """Migrate the schema in Postgres to this release. Does nothing if it is up to date.

    [dim]Example:[/]  mindset migrate

    `mindset up` does the same at every start."""
    from mindset.catalog import migrations  # SQLAlchemy and Alembic are slow to import

    result = migrations.migrate(require_setting(connected_settings().postgres_url, "postgres_url"))
    if as_json:
        print_json(result)
    elif result.before == result.after:
        out.print(f"The schema is already at {result.after}.")
    else:
        out.print(f"Migrated the schema from {result.before or 'nothing'} to {result.after}.")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(migrate)
