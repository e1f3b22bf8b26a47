"""A night's report in Prefect's UI: one page to read in the morning, and tables for the details."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from mindset.application import Installation
from mindset.catalog.quarantine import quarantined_documents
from mindset.catalog.versions import Difference, difference
from mindset.config.knowledge_base import KnowledgeBase
from mindset.evaluation.evaluate import Evaluation
from mindset.evaluation.golden_set import load_golden_set
from mindset.evaluation.metrics import METRICS

# The page lists at most this many names; the tables list all of them.
_MAX_LISTED = 15


@dataclass
class NightReport:
    """The results of a night's stages; None for a stage that did not run."""

    kb: str
    ingested: dict[str, Any] | None = None
    chunked: dict[str, Any] | None = None
    embedded: int | None = None
    indexed: dict[str, Any] | None = None
    evaluated: dict[str, Any] | None = None
    decision: dict[str, Any] | None = None
    restored: tuple[str, ...] = ()
    started_at: datetime | None = None
    quality_run: str | None = None
    """Name of the run that checks the documents' quality."""
    quality_failure: str | None = None
    failed: bool = True
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The night in one line."""
        if self.ingested is None:
            return f"{self.kb}: the night stopped while ingesting. The live version is unchanged; rights read so far apply."
        if self.decision is None:
            if self.failed:
                return f"{self.kb}: the night stopped before its release. The live version is unchanged."
            if self.ingested["changed"]:
                return f"{self.kb}: {self.ingested['changed']} documents changed in rights or metadata only; no new version."
            return f"{self.kb}: nothing changed in {self.ingested['listed']} documents; no new version."
        version, replaces = self.decision["version"], self.decision["replaces"]
        if self.decision["released"]:
            return f"{self.kb}: version {version} is live" + (f", instead of {replaces}." if replaces else ".")
        return f"{self.kb}: version {version} was rejected: {'; '.join(self.decision['reasons'])}."


def publish_night(installation: Installation, report: NightReport) -> None:
    """Publish the night's page and its table of quarantined documents."""
    changes = _changes(installation, report.kb, report.decision) if report.decision else None
    with installation.catalog.reading() as connection:
        quarantined = quarantined_documents(connection, report.kb)
    create_markdown_artifact(_page(report, changes, quarantined), key=f"night-{report.kb}", description=report.summary)
    if report.ingested is not None:  # also an empty table: otherwise the previous one would still be shown
        create_table_artifact(
            [{"document": uri, "reason": reason} for uri, reason in quarantined],
            key=f"quarantined-{report.kb}",
            description=f"{len(quarantined)} quarantined documents of {report.kb}, with reasons",
        )


def publish_evaluation(kb: KnowledgeBase, evaluation: Evaluation) -> None:
    """Publish the table of questions, worst first."""
    golden = load_golden_set(kb)
    texts = {question.id: question.question for question in golden.questions} if golden else {}
    rows = [
        {
            "question": texts.get(result.question, ""),
            "id": result.question,
            "slice": result.slice,
            **{metric: round(result.metrics[metric], 3) for metric in METRICS},
            **{f"{metric} live": round(value, 3) for metric, value in result.baseline_metrics.items()},
        }
        for result in sorted(evaluation.questions, key=lambda result: (result.metrics["ndcg@10"], result.question))
    ]
    if rows:
        create_table_artifact(
            rows,
            key=f"evaluation-{kb.name}",
            description=f"Version {evaluation.record.version} of {kb.name}, question by question, worst first",
        )


def _changes(installation: Installation, kb: str, decision: dict[str, Any]) -> Difference:
    version, previous = decision["version"], decision["replaces"]
    with installation.catalog.reading() as connection:
        return difference(connection, kb, previous if previous != version else None, version)


def _page(report: NightReport, changes: Difference | None, quarantined: Sequence[tuple[str, str]] = ()) -> str:
    parts = [f"# {report.kb}\n\n**{report.summary}**"]
    if changes:
        parts.append(_changes_section(report, changes))
    if report.evaluated:
        parts.append(_metrics_section(report.evaluated))
    if quarantined:
        listed = [f"- `{uri}`: {reason}" for uri, reason in quarantined]
        parts.append(f"## Quarantined ({len(listed)})\n\n" + _abbreviated(listed))
    if report.ingested and (reachable := report.ingested.get("unconfined")):
        parts.append(
            f"## Not confined\n\nThe processes that parsed PDF and HTML could reach {' and '.join(reachable)}: the system of the "
            "worker has no means to deny it. A hostile file that takes a parser over could read or send data."
        )
    if report.quality_run or report.quality_failure:
        parts.append(_quality_section(report))
    rebuilt = [*(report.indexed["rebuilt"] if report.indexed else ()), *report.restored]
    if rebuilt:
        parts.append("## Repaired\n\nDamaged segments were rebuilt from Postgres: " + ", ".join(rebuilt))
    if report.seconds:
        rows = [f"| {stage} | {seconds:.1f} s |" for stage, seconds in report.seconds.items()]
        rows.append(f"| **all stages** | **{sum(report.seconds.values()):.1f} s** |")
        parts.append("## Durations\n\n| stage | time |\n| --- | ---: |\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _changes_section(report: NightReport, changes: Difference) -> str:
    embedded = "" if report.embedded is None else f", {report.embedded} texts embedded"
    lines = [f"## What changed\n\n{changes.chunks_added} chunks added, {changes.chunks_removed} removed{embedded}.\n"]
    for word, uris in (
        ("added", changes.documents_added),
        ("changed", changes.documents_changed),
        ("removed", changes.documents_removed),
    ):
        if uris:
            lines.append(f"**{len(uris)} documents {word}**\n\n" + _abbreviated([f"- `{uri}`" for uri in uris]) + "\n")
    return "\n".join(lines)


def _metrics_section(evaluated: dict[str, Any]) -> str:
    if not evaluated["questions"]:
        return "## Evaluation\n\nNo golden set, so nothing was measured. Set `evaluation.golden_set` to gate releases."
    metrics, live = evaluated["metrics"], evaluated["baseline_metrics"]

    def cell(name: str, metric: str) -> str:
        value = metrics[name][metric]
        change = f" ({value - live[name][metric]:+.3f})" if name in live else ""
        return f"{value:.3f}{change}"

    head = f"| slice | {' | '.join(METRICS)} |\n| --- |{' ---: |' * len(METRICS)}\n"
    rows = "\n".join(f"| {name} | {' | '.join(cell(name, metric) for metric in METRICS)} |" for name in metrics)
    against = f", compared with version {evaluated['baseline']}, which was live" if evaluated["baseline"] else ""
    part = f"## Evaluation\n\n{evaluated['questions']} questions{against}.\n\n{head}{rows}"
    if evaluated["reasons"]:
        part += "\n\n**Rejected by the gate:** " + "; ".join(evaluated["reasons"])
    stale = [
        f"- question `{question}`: `{uri}` does not contain its quotation"
        for question, uri in evaluated["stale_evidence"]
    ]
    if stale:
        part += (
            f"\n\n**Stale evidence ({len(stale)}).** Counted as not found. Correct the golden set.\n\n"
            + _abbreviated(stale)
        )
    return part


def _quality_section(report: NightReport) -> str:
    if report.quality_failure:
        text = f"**Not checked** (no release depends on it): {' '.join(report.quality_failure.split())}"
    else:
        text = f"The run `{report.quality_run}` checks them; its table is `quality-{report.kb}`."
    return f"## Quality of the new and changed documents\n\n{text}"


def _abbreviated(lines: list[str]) -> str:
    more = len(lines) - _MAX_LISTED
    return "\n".join(lines[:_MAX_LISTED]) + (f"\n- and {more} more" if more > 0 else "")
