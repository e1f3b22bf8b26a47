"""`kb validate`: definitions and golden sets, before a night trips over them."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.output import AsJson, out, print_json, print_table
from mindset.builds.ingest import list_sources
from mindset.embedding.registry import check_model
from mindset.evaluation.golden import load_golden_set
from mindset.knowledge_base import KnowledgeBase, load_knowledge_base, load_knowledge_bases
from mindset.settings import load_settings

app = typer.Typer(help="Definitions of knowledge bases.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `validate` a command of its own."""


@app.command()
def validate(
    kb: Annotated[str | None, typer.Argument(help="Name of one knowledge base; all of them without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check definitions, sources and golden sets; the first fault is named and the exit code is not 0.

    [dim]Examples:[/]  mindset kb validate
                       mindset kb validate docs"""
    folder = load_settings().knowledge_bases
    definitions = [load_knowledge_base(kb, folder)] if kb else list(load_knowledge_bases(folder))
    found = [_check(each) for each in definitions]
    if as_json:
        print_json(found)
        return
    print_table(("knowledge base", "documents", "questions", "embedding"), (each.values() for each in found))
    out.print("All is well." if found else f"No definitions in {folder}.")


def _check(kb: KnowledgeBase) -> dict[str, object]:
    check_model(kb.embedding)
    golden = load_golden_set(kb)
    return {
        "name": kb.name,
        "documents": len(list_sources(kb)),
        "questions": len(golden.questions) if golden else 0,
        "embedding": f"{kb.embedding.provider} {kb.embedding.model}",
    }
