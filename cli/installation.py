"""`installation`: the id that distinguishes this installation from others on the same Chroma and Redis servers."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import Progress

from cli.context import current_user, open_cli_installation
from cli.output import AsJson, err, format_time, out, print_json
from mindset.catalog.audit import record_audit
from mindset.catalog.installation import keep_id, read_installation
from mindset.errors import RequestRejected
from mindset.pipeline import renewal

app = typer.Typer(help="Show the installation's id, and decide what a copy of its database is.", no_args_is_help=True)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


@app.command()
def show(as_json: AsJson = False) -> None:
    """Show the installation's id, and whether the database is a copy that needs a decision."""
    with open_cli_installation() as opened, opened.catalog.reading() as connection:
        installation = read_installation(connection)
    if as_json:
        print_json(installation)
        return
    out.print(f"{installation.id}, since {format_time(installation.created_at)}", highlight=False)
    if installation.is_copy:
        out.print(
            "This database is a copy: nights and maintenance are refused until you run `mindset installation renew` "
            "(an additional installation) or `mindset installation keep` (it replaces the original).",
            highlight=False,
        )


@app.command()
def renew(yes: Yes = False, as_json: AsJson = False) -> None:
    """Give a copy of a database an id of its own, and write its segments to collections of its own.

    [dim]Example:[/]  mindset installation renew --yes

    Run it once after copying the database of an installation that stays in use. Nothing is dropped in Chroma, no model is
    called, and questions are answered meanwhile. If it is interrupted, run it again: it continues."""
    _confirm(
        yes,
        "The installation gets a new id. Every segment in use is written to a new collection, which needs that much more "
        "space in Chroma. The present collections remain: they belong to the original. Cached answers, conversations and "
        "rate limits start empty. Only run this in the copy. Continue?",
    )
    with open_cli_installation() as opened:
        with Progress(console=err, transient=True) as bar:
            task = bar.add_task("Segments", total=None)
            report = renewal.renew(
                opened.catalog,
                opened.vectors,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        with opened.catalog.writing() as connection:
            record_audit(connection, "", current_user(), "renew installation", {"id": report.installation})
    if as_json:
        print_json(report)
        return
    resumed = ", continuing an interrupted renewal" if report.resumed else ""
    out.print(
        f"This is now installation {report.installation}{resumed}. Segments written to collections of their own: "
        f"{report.segments}. Unused segments left to the original: {report.abandoned}.",
        highlight=False,
    )


@app.command()
def keep(yes: Yes = False) -> None:
    """Confirm that this database replaces the original, for example after moving or restoring it to another server."""
    _confirm(
        yes,
        "This database keeps the id and the collections of the original, and its maintenance drops what it does not know. "
        "Only continue if the original is not used any more. Continue?",
    )
    with open_cli_installation() as opened, opened.catalog.writing() as connection:
        was_copy = keep_id(connection)
        installation = read_installation(connection)
        if was_copy:
            record_audit(connection, "", current_user(), "keep installation", {"id": installation.id})
    state = "is now confirmed" if was_copy else "was not a copy, nothing changed"
    out.print(f"The database of installation {installation.id} {state}.", highlight=False)


def _confirm(yes: bool, question: str) -> None:
    """Ask unless `yes` is set. Raises RequestRejected if the answer is no, or if nobody can be asked."""
    if yes:
        return
    try:
        confirmed = typer.confirm(question, err=True)
    except typer.Abort:
        confirmed = False
    if not confirmed:
        raise RequestRejected("Nothing was changed. Use --yes to confirm without being asked.")
