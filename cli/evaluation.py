"""`evaluate`: measure a version with its golden set."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from cli.context import open_cli_installation
from cli.output import AsJson, Exit, err, out, print_json, print_table
from cli.overrides import Overrides, trial_ranking
from mindset.catalog.releases import live_version
from mindset.config.overrides import with_overrides
from mindset.evaluation.evaluate import measure
from mindset.evaluation.metrics import METRICS
from mindset.pipeline.plan import version_to_evaluate


def evaluate(
    kb: Annotated[str, typer.Argument(help="Name of the knowledge base.")],
    version: Annotated[
        int | None,
        typer.Option(min=1, help="Number of the version; default: the live one, or the one whose release is due."),
    ] = None,
    set_: Overrides = None,
    questions: Annotated[bool, typer.Option(help="Show every question, worst first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a version and compare it with the live one. Exit code 1 if the gate rejects it. Nothing is stored.

    [dim]Examples:[/]  mindset evaluate docs
                       mindset evaluate docs --version 3 --questions
                       mindset evaluate docs --set retrieval.dense_weight=0.8"""
    with open_cli_installation() as opened, err.status("Evaluating the golden set"):
        definition = opened.knowledge_base(kb)
        with opened.catalog.reading() as connection:
            live = live_version(connection, definition.name)
        number = version or live or version_to_evaluate(opened.catalog, definition.name)
        tried = with_overrides(definition, set_ or [])
        ranking = trial_ranking(opened.searcher, tried, number) if set_ else None
        evaluation = measure(opened.catalog, tried, opened.searcher, number, ranking)
    record = evaluation.record
    if as_json:
        print_json(evaluation)
    else:
        against = f", compared with version {record.baseline}" if record.baseline else ""
        rows = [(name, *(f"{values[metric]:.3f}" for metric in METRICS)) for name, values in record.metrics.items()]
        print_table(
            ("slice", *METRICS), rows, title=f"Version {record.version} of {kb}{against}, {record.questions} questions"
        )
        if questions:
            out.print()
            worst_first = sorted(evaluation.questions, key=lambda result: (result.metrics["ndcg@10"], result.question))
            print_table(
                ("question", "slice", *METRICS),
                (
                    (result.question, result.slice, *(f"{result.metrics[metric]:.2f}" for metric in METRICS))
                    for result in worst_first
                ),
            )
        for question, uri in evaluation.stale_evidence:
            message = escape(f"{uri} does not contain the quotation of question {question}. Correct the golden set.")
            err.print(f"[yellow]stale[/]: {message}")
        out.print("It passes the gate." if record.passed else f"The gate rejects it: {'; '.join(record.reasons)}.")
    if not record.passed:
        raise typer.Exit(Exit.FAILED)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(evaluate)
