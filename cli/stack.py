"""`up`, `down`, `status`: the local stack."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer
from rich.markup import escape

from cli.bootstrap import PROJECT, command
from cli.output import AsJson, Exit, err, out, print_json, print_table
from local_stack.addresses import Addresses, configured_addresses
from local_stack.stack import OnEvent, Stack, State
from local_stack.state import running
from local_stack.status import status as look
from local_stack.supervision import detach, supervise
from local_stack.supervision import down as stop_stack
from mindset.config.settings import Settings, load_settings


def up(
    detached: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything answers.")] = False,
) -> None:
    """Start the local stack: Postgres, Valkey, Chroma, Prefect with its workers, and the API.

    [dim]Examples:[/]  mindset up            (Ctrl-C stops everything)
                       mindset up --detach   (mindset down stops it)

    A server that has an address in the settings (MINDSET_POSTGRES_URL, ...) is not started."""
    settings = load_settings()
    if detached:
        with err.status("Starting the local stack"):
            state = detach(settings.directory, [sys.executable, "-m", "cli.app", "up"])
        show_addresses(state.addresses)
        return
    events, external = announcer(), configured_addresses(settings)
    try:
        supervise(
            Stack(
                settings.directory,
                external=external,
                project=PROJECT,
                knowledge_bases=settings.knowledge_bases,
                prepare=command(external),
                on_event=_then_addresses(settings, events),
            )
        )
    finally:
        out.print("Stopped.")


def down() -> None:
    """Stop the local stack."""
    settings = load_settings()
    with err.status("Stopping the local stack"):
        stopped = stop_stack(settings.directory)
    out.print("Stopped." if stopped else f"Nothing runs in {settings.directory}.")


def status(as_json: AsJson = False) -> None:
    """Show the servers of the local stack; exit code 4 unless all of them answer."""
    settings = load_settings()
    servers = look(settings.directory)
    if as_json:
        print_json(servers)
    elif not servers:
        out.print(f"Nothing runs in {settings.directory}. `mindset up` starts the local stack.")
    else:
        print_table(
            ("server", "state", "pid", "port", "up for", "log"),
            (
                (
                    each.name,
                    "ok" if each.healthy else "not answering",
                    each.pid,
                    each.port,
                    f"{each.uptime_s:.0f} s",
                    each.log,
                )
                for each in servers
            ),
        )
        state = running(settings.directory)
        if state:
            show_addresses(state.addresses)
    if not servers or not all(each.healthy for each in servers):
        raise typer.Exit(Exit.UNAVAILABLE)


def announcer() -> OnEvent:
    """Prints what the stack's servers do, a line each."""
    started = time.monotonic()

    def announce(service: str, state: State, detail: str) -> None:
        colour = {"ready": "green", "died": "red", "given": "cyan"}.get(state, "dim")
        if state in ("ready", "died", "restarting", "given", "preparing"):
            out.print(
                f"  {time.monotonic() - started:5.1f} s  {service:<11} [{colour}]{state}[/] {escape(detail)}",
                highlight=False,
            )

    return announce


def show_addresses(addresses: Addresses) -> None:
    """What to open next."""
    prefect = (addresses.prefect_api_url or "").removesuffix("/api")
    out.print(f"\n  Prefect   {prefect}\n  API       {addresses.api_url}/docs\n", highlight=False)


def _then_addresses(settings: Settings, events: OnEvent) -> OnEvent:
    def announce(service: str, state: State, detail: str) -> None:
        events(service, state, detail)
        found = running(settings.directory) if (service, state) == ("stack", "ready") else None
        if found:
            show_addresses(found.addresses)
            out.print("Ctrl-C stops everything.")

    return announce


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
