"""`up`, `down`, `status`: the local stack."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer
from rich.markup import escape

from cli.bootstrap import command
from cli.output import AsJson, Exit, err, out, print_json, print_table
from cli.registration import PROJECT
from local_stack.addresses import Addresses, configured_addresses
from local_stack.credentials import page_link
from local_stack.stack import OnEvent, Stack, State
from local_stack.state import running
from local_stack.status import status as server_status
from local_stack.supervision import detach, supervise
from local_stack.supervision import down as stop_stack
from mindset.config.settings import Settings, load_settings


def up(
    detached: Annotated[bool, typer.Option("--detach", "-d", help="Return once all servers respond.")] = False,
) -> None:
    """Start the local stack: Postgres, Valkey, Chroma, Prefect with its workers, and the API.

    [dim]Examples:[/]  mindset up            (Ctrl-C stops everything)
                       mindset up --detach   (mindset down stops it)

    A server with an address in the settings (MINDSET_POSTGRES_URL, ...) is not started."""
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
    out.print("Stopped." if stopped else f"Nothing is running in {settings.directory}.")


def status(as_json: AsJson = False) -> None:
    """Show the servers of the local stack. Exit code 4 unless all of them respond."""
    settings = load_settings()
    servers = server_status(settings.directory)
    if as_json:
        print_json(servers)
    elif not servers:
        out.print(f"Nothing is running in {settings.directory}. `mindset up` starts the local stack.")
    else:
        print_table(
            ("server", "state", "pid", "port", "up for", "log"),
            (
                (
                    server.name,
                    "ok" if server.healthy else "not responding",
                    server.pid,
                    server.port,
                    f"{server.uptime_s:.0f} s",
                    server.log,
                )
                for server in servers
            ),
        )
        state = running(settings.directory)
        if state:
            show_addresses(state.addresses)
    if not servers or not all(server.healthy for server in servers):
        raise typer.Exit(Exit.UNAVAILABLE)


def announcer() -> OnEvent:
    """Return a callback that prints one line per event of the stack."""
    started = time.monotonic()

    def announce(service: str, state: State, detail: str) -> None:
        colour = {"ready": "green", "died": "red", "external": "cyan"}.get(state, "dim")
        if state in ("ready", "died", "restarting", "external", "preparing"):
            out.print(
                f"  {time.monotonic() - started:5.1f} s  {service:<11} [{colour}]{state}[/] {escape(detail)}",
                highlight=False,
            )

    return announce


def show_addresses(addresses: Addresses) -> None:
    """Print the addresses to open."""
    prefect = page_link(addresses.prefect_api_url or "")
    text = f"\n  Prefect   {prefect}\n  API       {addresses.api_url}/docs\n"
    out.print(text, highlight=False, soft_wrap=True)  # a link that is broken into lines cannot be opened


def _then_addresses(settings: Settings, events: OnEvent) -> OnEvent:
    def announce(service: str, state: State, detail: str) -> None:
        events(service, state, detail)
        running_stack = running(settings.directory) if (service, state) == ("stack", "ready") else None
        if running_stack:
            show_addresses(running_stack.addresses)
            out.print("Ctrl-C stops everything.")

    return announce


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
