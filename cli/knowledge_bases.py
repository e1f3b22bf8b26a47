"""`kb validate`: definitions and golden sets, before a night trips over them."""

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
    """What is right about a definition; `warning` where its source is not here, and so not counted."""

    name: str
    documents: int | None
    questions: int
    embedding: str
    warning: str | None = None


@dataclass(frozen=True)
class _Wrong:
    """A definition that no night can be run with."""

    name: str
    error: str
    exit_code: int


@app.callback()
def _group() -> None:
    """Keeps `validate` a command of its own."""


@app.command()
def validate(
    kb: Annotated[str | None, typer.Argument(help="Name of one knowledge base; all of them without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check definitions, sources and golden sets; the exit code is not 0 where a definition is wrong.

    [dim]Examples:[/]  mindset kb validate
                       mindset kb validate docs

    Without a name, a source that cannot be read from here is a warning: it may be mounted only where nights run."""
    folder = load_settings().knowledge_bases
    if kb is None:
        found = [_try(file) for file in sorted(folder.glob("*.yaml"))]
    else:
        found = [_check(load_knowledge_base(kb, folder), folder / f"{kb}.yaml")]
    checked = [each for each in found if isinstance(each, _Checked)]
    wrong = [each for each in found if isinstance(each, _Wrong)]
    if kb and checked[0].warning:
        raise SourceUnavailable(checked[0].warning)
    if as_json:
        print_json(found)
    else:
        _show(checked, wrong, folder)
    if wrong:
        raise typer.Exit(wrong[0].exit_code)


def _try(file: Path) -> _Checked | _Wrong:
    """One of many: a fault must not hide what is to be said of the others."""
    try:
        return _check(parse_knowledge_base(file), file)
    except MindsetError as fault:
        return _Wrong(file.stem, str(fault), exit_code(fault))


def _check(kb: KnowledgeBase, file: Path) -> _Checked:
    check_model(kb.embedding)
    golden = load_golden_set(kb)
    documents = warning = None
    try:
        documents = len(list_sources(kb))
    except SourceUnavailable as away:
        warning = f"{away}{_remedy(kb, file)}"
    questions = len(golden.questions) if golden else 0
    return _Checked(kb.name, documents, questions, f"{kb.embedding.provider} {kb.embedding.model}", warning)


def _remedy(kb: KnowledgeBase, file: Path) -> str:
    """The variables whose defaults lead to the sources."""
    defaults = {name: (file.parent / default).resolve() for name, default in unset_variables(file).items() if default}
    named = [name for name, path in defaults.items() if any(each.path.is_relative_to(path) for each in kb.sources)]
    return f" Or set {' and '.join(named)}, from which {file.name} takes the path." if named else ""


def _show(checked: list[_Checked], wrong: list[_Wrong], folder: Path) -> None:
    columns = ("knowledge base", "documents", "questions", "embedding")
    print_table(columns, ((each.name, each.documents, each.questions, each.embedding) for each in checked))
    warnings = [(each.name, each.warning) for each in checked if each.warning]
    for name, warning in warnings:
        err.print("[bold yellow]Warning[/]: ", end="")
        err.print(f"{name}: {warning}", markup=False, highlight=False)
    for each in wrong:
        err.print("[bold red]Wrong[/]: ", end="")
        err.print(f"{each.name}: {each.error}", markup=False, highlight=False)
    if not checked and not wrong:
        out.print(f"No definitions in {folder}.")
    elif not wrong:
        out.print("The definitions are right; see the warnings for their sources." if warnings else "All is well.")
