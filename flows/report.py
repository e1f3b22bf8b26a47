"""What a night leaves in Prefect's UI: one page to read in the morning, and tables for the details."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from mindset.catalog.releases import live_version
from mindset.catalog.versions import Difference, difference
from mindset.evaluation.evaluate import Evaluation
from mindset.evaluation.golden import load_golden_set
from mindset.evaluation.metrics import METRICS
from mindset.installation import Installation
from mindset.knowledge_base import KnowledgeBase

# More than this many names do not help anybody; the tables have them all.
_SHOWN = 15


@dataclass
class NightReport:
    """What the stages of a night returned; None where a stage did not run."""

    kb: str
    ingested: dict[str, Any] | None = None
    chunked: dict[str, Any] | None = None
    embedded: int | None = None
    indexed: dict[str, Any] | None = None
    evaluated: dict[str, Any] | None = None
    decided: dict[str, Any] | None = None
    restored: tuple[str, ...] = ()
    began: datetime | None = None
    quality_run: str | None = None
    """Name of the run that checks the documents' quality after the night."""
    quality_failure: str | None = None
    failed: bool = True
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def quarantined(self) -> list[tuple[str, str]]:
        """(URI, reason) of what could not be read, and of what could not be cut."""
        stages = (self.ingested, self.chunked)
        return [(uri, reason) for stage in stages if stage for uri, reason in stage["quarantined"]]

    @property
    def summary(self) -> str:
        """The night in one line."""
        if self.ingested is None:
            return (
                f"{self.kb}: the night stopped while ingesting; what is live stays live, with the rights read so far."
            )
        if self.decided is None:
            if self.failed:
                return f"{self.kb}: the night stopped before its release; what is live stays live."
            if self.ingested["changed"]:
                changed = len(self.ingested["changed"])
                return f"{self.kb}: {changed} documents changed in their rights or marks, none in its text; no new version."
            return f"{self.kb}: nothing changed in {self.ingested['listed']} documents; no new version."
        version, replaces = self.decided["version"], self.decided["replaces"]
        if self.decided["released"]:
            return f"{self.kb}: version {version} is live" + (f", instead of {replaces}." if replaces else ".")
        return f"{self.kb}: version {version} was rejected: {'; '.join(self.decided['reasons'])}."


def publish_night(installation: Installation, report: NightReport) -> None:
    """Write the night's page and its table of quarantined documents."""
    version = report.decided["version"] if report.decided else None
    changes = _changes(installation, report, version) if version else None
    create_markdown_artifact(_page(report, changes), key=f"night-{report.kb}", description=report.summary)
    aside = report.quarantined
    if report.ingested is not None:  # also an empty one: the last one would stand there as if it were of today
        create_table_artifact(
            [{"document": uri, "reason": reason} for uri, reason in aside],
            key=f"quarantined-{report.kb}",
            description=f"{len(aside)} documents of {report.kb} that could not be used, and why",
        )


def publish_evaluation(kb: KnowledgeBase, evaluation: Evaluation) -> None:
    """Write the table of questions, the worst first."""
    golden = load_golden_set(kb)
    texts = {each.id: each.question for each in golden.questions} if golden else {}
    rows = [
        {
            "question": texts.get(each.question, ""),
            "id": each.question,
            "slice": each.slice,
            **{metric: round(each.metrics[metric], 3) for metric in METRICS},
            **{f"{metric} live": round(value, 3) for metric, value in each.baseline_metrics.items()},
        }
        for each in sorted(evaluation.questions, key=lambda each: (each.metrics["ndcg@10"], each.question))
    ]
    if rows:
        create_table_artifact(
            rows,
            key=f"evaluation-{kb.name}",
            description=f"Version {evaluation.record.version} of {kb.name}, question by question, the worst first",
        )


def _changes(installation: Installation, report: NightReport, version: int) -> Difference:
    with installation.catalog.reading() as connection:
        before = report.decided["replaces"] if report.decided else live_version(connection, report.kb)
        return difference(connection, report.kb, before if before != version else None, version)


def _page(report: NightReport, changes: Difference | None) -> str:
    parts = [f"# {report.kb}\n\n**{report.summary}**"]
    if changes:
        parts.append(_changes_part(report, changes))
    if report.evaluated:
        parts.append(_metrics_part(report.evaluated))
    if report.quarantined:
        listed = [f"- `{uri}`: {reason}" for uri, reason in report.quarantined]
        parts.append(f"## Quarantined ({len(listed)})\n\n" + _shortened(listed))
    if report.quality_run or report.quality_failure:
        parts.append(_quality_part(report))
    rebuilt = [*(report.indexed["rebuilt"] if report.indexed else ()), *report.restored]
    if rebuilt:
        parts.append("## Repaired\n\nDamaged segments were rebuilt from Postgres: " + ", ".join(rebuilt))
    if report.seconds:
        rows = [f"| {stage} | {seconds:.1f} s |" for stage, seconds in report.seconds.items()]
        rows.append(f"| **all stages** | **{sum(report.seconds.values()):.1f} s** |")
        parts.append("## How long it took\n\n| stage | time |\n| --- | ---: |\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _changes_part(report: NightReport, changes: Difference) -> str:
    embedded = "" if report.embedded is None else f", {report.embedded} texts embedded"
    lines = [f"## What changed\n\n{changes.chunks_added} chunks added, {changes.chunks_removed} removed{embedded}.\n"]
    for word, uris in (
        ("added", changes.documents_added),
        ("changed", changes.documents_changed),
        ("removed", changes.documents_removed),
    ):
        if uris:
            lines.append(f"**{len(uris)} documents {word}**\n\n" + _shortened([f"- `{uri}`" for uri in uris]) + "\n")
    return "\n".join(lines)


def _metrics_part(evaluated: dict[str, Any]) -> str:
    if not evaluated["questions"]:
        return "## Evaluation\n\nNo golden set: nothing was measured. Set `evaluation.golden_set` to gate releases."
    metrics, live = evaluated["metrics"], evaluated["baseline_metrics"]

    def cell(name: str, metric: str) -> str:
        value = metrics[name][metric]
        change = f" ({value - live[name][metric]:+.3f})" if name in live else ""
        return f"{value:.3f}{change}"

    head = f"| slice | {' | '.join(METRICS)} |\n| --- |{' ---: |' * len(METRICS)}\n"
    rows = "\n".join(f"| {name} | {' | '.join(cell(name, metric) for metric in METRICS)} |" for name in metrics)
    against = f" against version {evaluated['baseline']}, which was live" if evaluated["baseline"] else ""
    part = f"## Evaluation\n\n{evaluated['questions']} questions{against}.\n\n{head}{rows}"
    if evaluated["reasons"]:
        part += "\n\n**The gate held it back:** " + "; ".join(evaluated["reasons"])
    stale = [
        f"- question `{question}`: `{uri}` does not hold its quotation" for question, uri in evaluated["stale_evidence"]
    ]
    if stale:
        part += (
            f"\n\n**Stale evidence ({len(stale)}).** Counted as not found; correct the golden set.\n\n"
            + _shortened(stale)
        )
    return part


def _quality_part(report: NightReport) -> str:
    if report.quality_failure:
        said = f"**Not checked**, and no release depends on it: {' '.join(report.quality_failure.split())}"
    else:
        said = f"The run `{report.quality_run}` checks them now; its table is `quality-{report.kb}`."
    return f"## Quality of the new and changed documents\n\n{said}"


def _shortened(lines: list[str]) -> str:
    more = len(lines) - _SHOWN
    return "\n".join(lines[:_SHOWN]) + (f"\n- and {more} more" if more > 0 else "")
