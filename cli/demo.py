"""`demo`: from nothing to an answer with citations, on real servers."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cli.ask import ask
from cli.bootstrap import command
from cli.output import out
from cli.registration import PROJECT
from cli.runs import run_deployment
from cli.stack import announcer, show_addresses
from local_stack.addresses import configured_addresses
from local_stack.supervision import local_stack
from mindset.config.settings import load_settings

QUESTION = "How do I roll back a release?"


def demo(keep: Annotated[bool, typer.Option(help="Leave the stack running until Ctrl-C.")] = True) -> None:
    """Start the local stack, run a night over this project's documentation, and ask it a question.

    [dim]Examples:[/]  mindset demo
                       mindset demo --no-keep"""
    settings = load_settings()
    started = time.monotonic()
    out.rule("[bold]1. The servers[/]: Postgres, Valkey, Chroma, Prefect, the API", align="left")
    external = configured_addresses(settings)
    running = local_stack(
        settings.directory,
        external=external,
        project=PROJECT,
        knowledge_bases=settings.knowledge_bases,
        prepare=command(external),
        on_event=announcer(),
    )
    with running as addresses:
        out.rule("[bold]2. A night[/]: ingest, chunk, embed, index, evaluate, deploy", align="left")
        run_deployment("nightly/nightly", "docs", {"kb": "docs"}, wait=True, as_json=False)
        out.rule("[bold]3. An answer[/] from the live release", align="left")
        out.print(f'$ mindset ask docs "{QUESTION}"\n', highlight=False)
        ask("docs", QUESTION)
        out.rule(f"[bold green]Done in {time.monotonic() - started:.0f} s.[/] What to open next", align="left")
        show_addresses(addresses)
        if keep:
            out.print('  Ask more in another terminal:  mindset ask docs "..."      Ctrl-C stops everything.')
            _until_interrupted()


def _until_interrupted() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        out.print("Stopping.")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(demo)
