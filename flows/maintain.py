"""Maintain: retire and forget old versions, compact the current ones, rebuild what is damaged."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from flows.parameters import Stage, stage_name
from flows.stage import DELAYS_S, RETRIES, can_help, installation, keep_lock, shown_progress
from mindset import maintenance
from mindset.catalog.connection import BuildLock
from mindset.installation import Installation


@flow(name="maintain", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def maintain(parameters: Stage) -> dict[str, Any]:
    """Bring a knowledge base's versions and segments in order."""
    with installation(parameters.connections) as opened, opened.catalog.build_lock(parameters.kb) as lock:
        done = tidy(opened, lock, parameters)
    create_markdown_artifact(_page(parameters.kb, done), key=f"maintenance-{parameters.kb}")
    return done


@task(name="tidy", persist_result=False, retries=RETRIES, retry_delay_seconds=DELAYS_S, retry_condition_fn=can_help)
def tidy(opened: Installation, lock: BuildLock, parameters: Stage) -> dict[str, Any]:
    keep_lock(lock)  # a second attempt may follow a restart of Postgres
    kb = opened.knowledge_base(parameters.kb)
    written = shown_progress(f"compact-{kb.name}", "Vectors copied")
    checked = shown_progress(f"maintain-{kb.name}", "Segments checked")
    report = maintenance.maintain(opened.catalog, kb, opened.vectors, compacting=written, checking=checked)
    return asdict(report)


def _page(kb: str, done: dict[str, Any]) -> str:
    forgotten = ", ".join(f"{count:,} {table}" for table, count in done["forgotten"].items() if count)
    lines = [
        f"- versions retired: {', '.join(map(str, done['retired'])) or 'none'}",
        f"- forgotten, since no retained version needs it: {forgotten or 'nothing'}",
        f"- vectors forgotten, of all knowledge bases: {done['embeddings']:,}",
        f"- segments compacted: {_compacted(done['compacted'])}",
        f"- collections dropped: {done['dropped']}",
        f"- segments compared with Postgres, vector by vector: {done['checked']}",
        f"- segments rebuilt: {', '.join(done['rebuilt']) or 'none'}",
        *(f"- **put off**, since somebody reads it for long, such as a backup: {each}" for each in done["put_off"]),
    ]
    return f"# Maintenance of {kb}\n\n" + "\n".join(lines) + "\n"


def _compacted(compactions: list[dict[str, Any]]) -> str:
    return (
        "; ".join(
            f"{each['segments']} of version {each['version']} into one of {each['copied']:,} chunks, "
            f"{each['left_behind']:,} dead ones left behind"
            for each in compactions
        )
        or "none"
    )
