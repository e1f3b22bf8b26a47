"""`night` and `maintain`: run a deployment through Prefect and watch it."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.markdown import Markdown
from rich.table import Table

from cli.context import connected_settings
from cli.output import AsJson, Exit, err, out, print_json
from local_stack.credentials import page_link
from mindset.application import require_setting
from mindset.config.loader import load_knowledge_base
from mindset.pipeline.prefect_client import FlowRun, PrefectClient

_COLOUR = {"COMPLETED": "green", "FAILED": "red", "CRASHED": "red", "CANCELLED": "red", "RUNNING": "cyan"}


def night(
    kb: Annotated[str, typer.Argument(help="Name of the knowledge base.")],
    allow_deletions: Annotated[
        bool, typer.Option(help="Continue even if most documents were removed from the source.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Watch the night until it ends.")] = True,
    as_json: AsJson = False,
) -> None:
    """Run a night now: ingest and index changes, evaluate the new version, and release it if it passes the gate.

    [dim]Examples:[/]  mindset night docs
                       mindset night docs --no-wait"""
    run_deployment("nightly/nightly", kb, {"kb": kb, "allow_deletions": allow_deletions}, wait=wait, as_json=as_json)


def maintain(kb: Annotated[str, typer.Argument(help="Name of the knowledge base.")], as_json: AsJson = False) -> None:
    """Retire old versions, delete what only they use, compact segments, rebuild damaged ones.

    [dim]Example:[/]  mindset maintain docs"""
    run_deployment("maintain/maintain", kb, {"kb": kb}, wait=True, as_json=as_json)


def run_deployment(deployment: str, kb: str, parameters: dict[str, Any], *, wait: bool, as_json: bool) -> None:
    """Run a deployment for a knowledge base. Exit code 1 if it does not complete."""
    settings = connected_settings()
    load_knowledge_base(kb, settings.knowledge_bases)  # reports a misspelt name now instead of minutes later in a log
    prefect = require_setting(settings.prefect_api_url, "prefect_api_url")
    with PrefectClient(prefect) as client:
        run = client.start(deployment, {"parameters": parameters})
        page = page_link(prefect, f"/runs/flow-run/{run.id}")
        if wait:
            run = _watch(client, run)
        report = client.report(run.id) if wait else None
    if as_json:
        print_json(
            {"id": run.id, "name": run.name, "state": run.state, "message": run.message, "page": page, "report": report}
        )
    else:
        if report:
            out.print(Markdown(report))
        out.print(f"\n{run.name}: [{_COLOUR.get(run.state, 'default')}]{run.state.lower()}[/]", highlight=False)
        out.print(page, highlight=False, soft_wrap=True)  # a link that is broken into lines cannot be opened
        if wait and not run.succeeded:
            err.print(run.message, markup=False)
    if wait and not run.succeeded:
        raise typer.Exit(Exit.FAILED)


def _watch(client: PrefectClient, run: FlowRun) -> FlowRun:
    started = time.monotonic()
    with Live(console=err, transient=True, refresh_per_second=4) as live:
        while not run.ended:
            stages = client.stages(run.id)
            progress = client.progress([stage.id for stage in stages])
            live.update(_progress_table(run, stages, progress, time.monotonic() - started))
            time.sleep(0.5)
            run = client.get(run.id)
    return run


def _progress_table(run: FlowRun, stages: list[FlowRun], progress: dict[str, float], seconds: float) -> Table:
    table = Table(
        box=None, pad_edge=False, show_header=False, title=f"{run.name}  {seconds:.0f} s", title_justify="left"
    )
    for stage in stages:
        percent = f"{progress[stage.id]:.0f} %" if stage.id in progress else ""
        table.add_row(f"  {stage.name}", f"[{_COLOUR.get(stage.state, 'dim')}]{stage.state.lower()}[/]", percent)
    if not stages:
        table.add_row(f"  {run.state.lower()}", "", "")
    return table


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(night)
    app.command()(maintain)
