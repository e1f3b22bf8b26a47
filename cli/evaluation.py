"""`evaluate`: a version against its golden set, here and now."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from cli.context import open_cli_installation
from cli.output import AsJson, Exit, err, out, print_json, print_table
from mindset.catalog.releases import live_version
from mindset.evaluation.evaluate import evaluate as measure
from mindset.evaluation.metrics import METRICS
from mindset.pipeline.plan import version_to_evaluate


def evaluate(
    kb: Annotated[str, typer.Argument(help="Name of the knowledge base.")],
    version: Annotated[
        int | None, typer.Option(min=1, help="Which version; the one that is live, or waits to be.")
    ] = None,
    questions: Annotated[bool, typer.Option(help="Show every question, the worst first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a version on its golden set and compare it with what is live; exit code 1 when the gate would hold it back.

    [dim]Examples:[/]  mindset evaluate docs
                       mindset evaluate docs --version 3 --questions"""
    with open_cli_installation() as opened, err.status("Asking the golden set"):
        definition = opened.knowledge_base(kb)
        with opened.catalog.reading() as connection:
            live = live_version(connection, definition.name)
        number = version or live or version_to_evaluate(opened.catalog, definition.name)
        found = measure(opened.catalog, definition, opened.searcher, number)
    record = found.record
    if as_json:
        print_json(found)
    else:
        against = f", against version {record.baseline}" if record.baseline else ""
        rows = [(name, *(f"{values[metric]:.3f}" for metric in METRICS)) for name, values in record.metrics.items()]
        print_table(
            ("slice", *METRICS), rows, title=f"Version {record.version} of {kb}{against}, {record.questions} questions"
        )
        if questions:
            out.print()
            worst = sorted(found.questions, key=lambda each: (each.metrics["ndcg@10"], each.question))
            print_table(
                ("question", "slice", *METRICS),
                ((e.question, e.slice, *(f"{e.metrics[m]:.2f}" for m in METRICS)) for e in worst),
            )
        for question, uri in found.stale_evidence:
            told = escape(f"question {question} quotes what {uri} does not hold. Correct the golden set.")
            err.print(f"[yellow]stale[/]: {told}")
        out.print(
            "The gate lets it through." if record.passed else f"The gate holds it back: {'; '.join(record.reasons)}."
        )
    if not record.passed:
        raise typer.Exit(Exit.FAILED)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(evaluate)
