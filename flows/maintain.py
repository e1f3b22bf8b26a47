"""Maintenance as a flow: retire old versions, delete what only they use, compact, check and rebuild."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from flows.parameters import StageParameters, stage_name
from flows.runtime import DELAYS_S, RETRIES, is_transient, keep_lock, open_flow_installation, report_progress
from mindset.application import Installation
from mindset.catalog.build_lock import BuildLock
from mindset.catalog.retention import Retention
from mindset.config.settings import Settings
from mindset.pipeline import maintenance


@flow(name="maintain", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def maintain(parameters: StageParameters) -> dict[str, Any]:
    """Maintain a knowledge base's versions and segments."""
    with (
        open_flow_installation(parameters.connections) as installation,
        installation.catalog.build_lock(parameters.kb, str(flow_run.id)) as lock,
    ):
        report = run_maintenance(installation, lock, parameters)
    create_markdown_artifact(_page(parameters.kb, report), key=f"maintenance-{parameters.kb}")
    return report


@task(
    name="maintain",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def run_maintenance(installation: Installation, lock: BuildLock, parameters: StageParameters) -> dict[str, Any]:
    keep_lock(lock)  # a retry may follow a restart of Postgres
    kb = installation.knowledge_base(parameters.kb)
    compacting = report_progress(f"compact-{kb.name}", "Vectors copied")
    checking = report_progress(f"maintain-{kb.name}", "Segments checked")
    report = maintenance.maintain(
        lock.build,
        kb,
        installation.vectors,
        retention=_retention(installation.settings),
        compacting=compacting,
        checking=checking,
    )
    return asdict(report)


def _retention(settings: Settings) -> Retention:
    return Retention(settings.question_metrics_days, settings.history_days, settings.audit_days)


def _page(kb: str, report: dict[str, Any]) -> str:
    deleted = ", ".join(f"{count:,} {table}" for table, count in report["deleted"].items() if count)
    expired = ", ".join(f"{count:,} {table.replace('_', ' ')}" for table, count in report["expired"].items() if count)
    lines = [
        f"- versions retired: {', '.join(map(str, report['retired'])) or 'none'}",
        f"- deleted, because no retained version uses it: {deleted or 'nothing'}",
        f"- unused vectors deleted, of all knowledge bases: {report['embeddings_deleted']:,}",
        f"- deleted because of its age: {expired or 'nothing'}",
        f"- segments compacted: {_compactions(report['compacted'])}",
        f"- collections dropped: {report['dropped']}",
        f"- segments compared with Postgres, vector by vector: {report['checked']}",
        f"- segments rebuilt: {', '.join(report['rebuilt']) or 'none'}",
        *(
            f"- **postponed** because of a long-running reader, such as a backup: {work}"
            for work in report["postponed"]
        ),
    ]
    return f"# Maintenance of {kb}\n\n" + "\n".join(lines) + "\n"


def _compactions(compactions: list[dict[str, Any]]) -> str:
    return (
        "; ".join(
            f"{compaction['segments']} of version {compaction['version']} into one of {compaction['copied']:,} chunks, "
            f"{compaction['dead']:,} dead chunks dropped"
            for compaction in compactions
        )
        or "none"
    )
