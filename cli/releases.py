"""`releases`, `promote`, `rollback`, `take-down`: change what is live."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.context import current_user, open_cli_installation
from cli.output import AsJson, format_time, out, print_json, print_table
from mindset.catalog.audit import record_audit
from mindset.catalog.documents import take_down as take_down_document
from mindset.catalog.releases import list_releases, live_version
from mindset.catalog.versions import list_versions
from mindset.releases import promotion

KnowledgeBaseName = Annotated[str, typer.Argument(help="Name of the knowledge base.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="The reason, stored with the release.")]


def releases(kb: KnowledgeBaseName, as_json: AsJson = False) -> None:
    """Show the versions of a knowledge base and its releases.

    [dim]Example:[/]  mindset releases docs"""
    with open_cli_installation() as opened, opened.catalog.reading() as connection:
        name = opened.knowledge_base(kb).name
        history, versions = list_releases(connection, name), list_versions(connection, name)
        live = live_version(connection, name)
    if as_json:
        print_json({"releases": history, "versions": versions})
        return
    print_table(
        ("version", "state", "documents", "chunks", "built"),
        (
            (
                f"{version.number}{' (live)' if version.number == live else ''}",
                version.state,
                version.documents,
                version.chunks,
                format_time(version.ready_at),
            )
            for version in versions
        ),
        title=f"Versions of {name}",
    )
    out.print()
    print_table(
        ("released", "version", "replaces", "by", "reason"),
        (
            (format_time(release.released_at), release.version, release.replaces, release.released_by, release.reason)
            for release in history
        ),
        title="Releases, newest first",
    )


def promote(
    kb: KnowledgeBaseName,
    version: Annotated[int, typer.Argument(min=1, help="Number of the version.")],
    reason: Reason = "promoted by hand",
    as_json: AsJson = False,
) -> None:
    """Make a version live, whatever the result of its evaluation.

    [dim]Example:[/]  mindset promote docs 3 --reason "the golden set was wrong" """
    with open_cli_installation() as opened:
        decision = promotion.promote(opened.catalog, opened.knowledge_base(kb).name, version, current_user(), reason)
        opened.publish_release(kb, decision.version)
    _show_decision(kb, decision, as_json)


def rollback(kb: KnowledgeBaseName, reason: Reason = "rolled back by hand", as_json: AsJson = False) -> None:
    """Make the previous live version live again. The current one is rejected, so that no night promotes it again.

    [dim]Example:[/]  mindset rollback docs --reason "answers about prices are wrong" """
    with open_cli_installation() as opened:
        decision = promotion.roll_back(opened.catalog, opened.knowledge_base(kb).name, current_user(), reason)
        opened.publish_release(kb, decision.version)
    _show_decision(kb, decision, as_json)


def take_down(
    kb: KnowledgeBaseName,
    uri: Annotated[str, typer.Argument(help="URI of the document, as search results show it.")],
    reason: Reason = "taken down by hand",
) -> None:
    """Hide a document immediately, in every version.

    [dim]Example:[/]  mindset take-down docs getting-started.md --reason "names a customer" """
    with open_cli_installation() as opened, opened.catalog.writing() as connection:
        name = opened.knowledge_base(kb).name
        take_down_document(connection, name, uri, reason)
        record_audit(connection, name, current_user(), "take down", {"uri": uri, "reason": reason})
    out.print(f"{uri} is hidden in every version of {kb}.", markup=False)


def _show_decision(kb: str, decision: promotion.Decision, as_json: bool) -> None:
    if as_json:
        print_json(decision)
    else:
        instead = f", replacing {decision.replaces}" if decision.replaces not in (None, decision.version) else ""
        out.print(f"{kb}: version {decision.version} is live{instead}.")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(releases)
    app.command()(promote)
    app.command()(rollback)
    app.command("take-down")(take_down)
