"""`keys`: API keys."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli.context import current_user, open_cli_installation
from cli.output import AsJson, err, format_time, out, print_json, print_table
from mindset.application import Installation
from mindset.auth.api_keys import create_key
from mindset.auth.authentication import check_pepper
from mindset.catalog.api_keys import list_keys, revoke_key
from mindset.catalog.audit import record_audit
from mindset.config.scopes import Scope
from mindset.config.secrets import Secret
from mindset.errors import ConfigurationError, RequestRejected

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, such as the name of an app.")],
    scope: Annotated[list[Scope], typer.Option("--scope", "-s", help="Scope of the key; may be repeated.")],
    principal: Annotated[
        list[str] | None,
        typer.Option("--principal", "-p", help="Principal that it reads as, besides `*`; may be repeated."),
    ] = None,
    expires: Annotated[str | None, typer.Option(help="Lifetime, such as 12h or 90d.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key and show it once.

    [dim]Example:[/]  mindset keys create helpdesk --scope ask --scope search --principal staff --expires 90d"""
    expires_at = datetime.now(UTC) + _duration(expires) if expires else None
    with open_cli_installation() as opened, opened.catalog.writing() as connection:
        key, stored = create_key(connection, _pepper(opened), name, scope, principal or [], expires_at)
        record_audit(
            connection, "", current_user(), "create key", {"id": stored.id, "name": name, "scopes": stored.scopes}
        )
    if as_json:
        print_json({"key": key, "id": stored.id, "name": stored.name, "expires_at": stored.expires_at})
        return
    out.print(key, markup=False, highlight=False, soft_wrap=True)
    err.print(f"Store it now: it is not shown again. `mindset keys revoke {stored.id}` revokes it.", highlight=False)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show all keys, without their secrets."""
    with open_cli_installation() as opened, opened.catalog.reading() as connection:
        keys = list_keys(connection)
    if as_json:
        print_json(keys)
        return
    print_table(
        ("id", "name", "scopes", "principals", "last used", "expires", "revoked"),
        (
            (
                key.id,
                key.name,
                " ".join(key.scopes),
                " ".join(key.principals),
                format_time(key.last_used_at),
                format_time(key.expires_at),
                format_time(key.revoked_at),
            )
            for key in keys
        ),
    )


@app.command()
def revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `mindset keys list` shows it.")],
) -> None:
    """Revoke a key, with immediate effect."""
    with open_cli_installation() as opened, opened.catalog.writing() as connection:
        if not revoke_key(connection, id_):
            raise RequestRejected(f"There is no key {id_!r}. `mindset keys list` shows all keys.")
        record_audit(connection, "", current_user(), "revoke key", {"id": id_})
    out.print(f"{id_} is revoked.", highlight=False)


def _pepper(opened: Installation) -> str:
    configured = opened.settings.api_key_pepper
    if configured is None:
        raise ConfigurationError(
            "MINDSET_API_KEY_PEPPER is not set, but keys are hashed with it. Set it to at least 32 random characters, here "
            "and where the API runs: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    pepper = Secret("MINDSET_API_KEY_PEPPER", configured).value()
    check_pepper(pepper)
    return pepper


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,5})([mhd])", text)
    if match is None:
        raise RequestRejected(f"--expires {text!r} is not a duration. Write one such as 30m, 12h or 90d.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
