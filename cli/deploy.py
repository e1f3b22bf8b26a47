"""`mindset deploy`."""

from __future__ import annotations

import os

import typer

from cli.context import connected_settings
from cli.output import out
from local_stack.addresses import Addresses, environment
from mindset.application import require_setting


def deploy() -> None:
    """Register the deployments, schedules and block types of this project in Prefect.

    Deployments and schedules that are no longer in prefect.yaml are removed. Schedules and deployments paused by hand stay
    paused.

    [dim]Example:[/]  mindset deploy"""
    settings = connected_settings()
    require_setting(settings.prefect_api_url, "prefect_api_url")
    # Prefect reads its address and password when it is imported.
    os.environ |= environment(Addresses(prefect_api_url=settings.prefect_api_url))
    from cli.registration import register

    for change in register():
        out.print(f"- {change}", markup=False, highlight=False)
    out.print("Registered the deployments and block types.")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(deploy)
