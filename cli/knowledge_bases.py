"""`kb validate`: check definitions and golden sets before a night uses them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cli.output import AsJson, err, exit_code, out, print_json, print_table
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.loader import load_knowledge_base, parse_knowledge_base, unset_variables
from mindset.config.settings import load_settings
from mindset.embedding.registry import check_model
from mindset.errors import MindsetError, SourceUnavailable
from mindset.evaluation.golden_set import load_golden_set
from mindset.pipeline.ingest import list_sources

app = typer.Typer(help="Definitions of knowledge bases.", no_args_is_help=True)


@dataclass(frozen=True)
class _Checked:
    """A valid definition; `warning` if its source cannot be read from here."""

    name: str
    documents: int | None
    questions: int
    embedding: str
    warning: str | None = None


@dataclass(frozen=True)
class _Invalid:
    """An invalid definition."""

    name: str
    error: str
    exit_code: int


@app.callback()
def _group() -> None:
    """Make `validate` a subcommand."""


@app.command()
def validate(
    kb: Annotated[str | None, typer.Argument(help="Name of one knowledge base; default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check definitions, sources and golden sets. The exit code is not 0 if a definition is invalid.

    [dim]Examples:[/]  mindset kb validate
                       mindset kb validate docs

    Without a name, a source that cannot be read from here is a warning: it may be mounted only where nights run."""
    folder = load_settings().knowledge_bases
    if kb is None:
        results = [_try(file) for file in sorted(folder.glob("*.yaml"))]
    else:
        results = [_check(load_knowledge_base(kb, folder), folder / f"{kb}.yaml")]
    checked = [result for result in results if isinstance(result, _Checked)]
    invalid = [result for result in results if isinstance(result, _Invalid)]
    if kb and checked[0].warning:
        raise SourceUnavailable(checked[0].warning)
    if as_json:
        print_json(results)
    else:
        _show(checked, invalid, folder)
    if invalid:
        raise typer.Exit(invalid[0].exit_code)


def _try(file: Path) -> _Checked | _Invalid:
    """Check one of several definitions; an invalid one must not hide the others."""
    try:
        return _check(parse_knowledge_base(file), file)
    except MindsetError as error:
        return _Invalid(file.stem, str(error), exit_code(error))


def _check(kb: KnowledgeBase, file: Path) -> _Checked:
    check_model(kb.embedding)
    golden_set = load_golden_set(kb)
    documents = warning = None
    try:
        documents = len(list_sources(kb))
    except SourceUnavailable as error:
        warning = f"{error}{_remedy(kb, file)}"
    questions = len(golden_set.questions) if golden_set else 0
    return _Checked(kb.name, documents, questions, f"{kb.embedding.provider} {kb.embedding.model}", warning)


def _remedy(kb: KnowledgeBase, file: Path) -> str:
    """Suggest setting the variables whose defaults lead to the sources."""
    defaults = {name: (file.parent / default).resolve() for name, default in unset_variables(file).items() if default}
    variables = [
        name for name, path in defaults.items() if any(source.path.is_relative_to(path) for source in kb.sources)
    ]
    return f" Or set {' and '.join(variables)}, from which {file.name} takes the path." if variables else ""


def _show(checked: list[_Checked], invalid: list[_Invalid], folder: Path) -> None:
    columns = ("knowledge base", "documents", "questions", "embedding")
    print_table(columns, ((result.name, result.documents, result.questions, result.embedding) for result in checked))
    warnings = [(result.name, result.warning) for result in checked if result.warning]
    for name, warning in warnings:
        err.print("[bold yellow]Warning[/]: ", end="")
        err.print(f"{name}: {warning}", markup=False, highlight=False)
    for result in invalid:
        err.print("[bold red]Invalid[/]: ", end="")
        err.print(f"{result.name}: {result.error}", markup=False, highlight=False)
    if not checked and not invalid:
        out.print(f"No definitions in {folder}.")
    elif not invalid:
        out.print(
            "All definitions are valid; see the warnings about sources." if warnings else "All definitions are valid."
        )
