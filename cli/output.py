"""Output of commands: tables for people, JSON for programs, and one exit code per kind of error."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from mindset import errors

out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class Exit(IntEnum):
    """Exit codes."""

    FAILED = 1
    WRONG_INPUT = 2
    NOT_FOUND = 3
    UNAVAILABLE = 4
    CONFLICT = 5


# Every error has an exit code; a test walks the tree of errors.
CODES: dict[type[errors.MindsetError], Exit] = {
    errors.ConfigurationError: Exit.WRONG_INPUT,
    errors.QuestionRejected: Exit.WRONG_INPUT,
    errors.RequestRejected: Exit.WRONG_INPUT,
    errors.NotAuthenticated: Exit.WRONG_INPUT,
    errors.NotAllowed: Exit.WRONG_INPUT,
    errors.TooManyRequests: Exit.UNAVAILABLE,
    errors.Overloaded: Exit.UNAVAILABLE,
    errors.ShuttingDown: Exit.UNAVAILABLE,
    errors.PreconditionFailed: Exit.CONFLICT,
    errors.UnknownAnswer: Exit.NOT_FOUND,
    errors.UnknownRun: Exit.NOT_FOUND,
    errors.DocumentRejected: Exit.WRONG_INPUT,
    errors.UnknownKnowledgeBase: Exit.NOT_FOUND,
    errors.UnknownVersion: Exit.NOT_FOUND,
    errors.UnknownDocument: Exit.NOT_FOUND,
    errors.NothingReleased: Exit.NOT_FOUND,
    errors.SourceUnavailable: Exit.UNAVAILABLE,
    errors.ServiceUnavailable: Exit.UNAVAILABLE,
    errors.ProviderRejected: Exit.WRONG_INPUT,
    errors.ProviderUnavailable: Exit.UNAVAILABLE,
    errors.StackError: Exit.UNAVAILABLE,
    errors.IndexDamaged: Exit.UNAVAILABLE,
    errors.DimensionMismatch: Exit.WRONG_INPUT,
    errors.BuildInProgress: Exit.CONFLICT,
    errors.BuildTakenOver: Exit.CONFLICT,
    errors.CopiedDatabase: Exit.CONFLICT,
    errors.LiveReleaseChanged: Exit.CONFLICT,
}


def exit_code(error: errors.MindsetError) -> Exit:
    """Return the exit code of an error."""
    return next(CODES[class_] for class_ in type(error).__mro__ if class_ in CODES)


def print_json(value: Any) -> None:
    """Print a JSON document to standard output; dataclasses become objects."""
    print(json.dumps(value, indent=2, default=_to_json, ensure_ascii=False))  # noqa: T201  # Rich would wrap it


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]], title: str | None = None) -> None:
    """Print a table. Cells are printed literally, without markup."""
    table = Table(*columns, title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell).replace("[", r"\[") for cell in row))
    out.print(table)


def format_time(value: datetime | None) -> str:
    """Format a time in the local time zone."""
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S") if value else ""


def _to_json(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
