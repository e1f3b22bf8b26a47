"""`migrate`: the catalog's schema, where no local stack sees to it."""

from __future__ import annotations

import typer

from cli.context import connected_settings
from cli.output import AsJson, out, print_json
from mindset.application import require_setting


def migrate(as_json: AsJson = False) -> None:
    """Bring the schema of Postgres to this release's; without harm where it is there already.

    [dim]Example:[/]  mindset migrate

    `mindset up` does the same at every start."""
    from mindset.catalog import migrations  # SQLAlchemy and Alembic: only here

    done = migrations.migrate(require_setting(connected_settings().postgres_url, "postgres_url"))
    if as_json:
        print_json(done)
    elif done.before == done.after:
        out.print(f"The schema is at {done.after} already.")
    else:
        out.print(f"The schema went from {done.before or 'nothing'} to {done.after}.")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(migrate)
