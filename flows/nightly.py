"""A night: what changed, from source to release."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.chunk import chunk
from flows.deploy import deploy
from flows.dispatch import run_shards, run_stage
from flows.embed import embed
from flows.evaluate import evaluate
from flows.index import index
from flows.ingest import ingest
from flows.parameters import Deploy, Embed, Evaluate, Ingest, Night, Stage, night_name
from flows.report import NightReport, publish_night
from flows.stage import installation, timed
from mindset.builds.index import restore_live
from mindset.builds.plan import plan_build


@flow(name="nightly", flow_run_name=night_name, persist_result=False)
def nightly(parameters: Night) -> None:
    """Ingest, chunk, embed, index, evaluate, deploy. Nothing changed makes no version; a killed night is resumed."""
    common: dict[str, Any] = {"kb": parameters.kb, "connections": parameters.connections, "night": str(flow_run.id)}
    report = NightReport(parameters.kb)
    with installation(parameters.connections) as opened, opened.catalog.build_lock(parameters.kb) as lock:
        kb = opened.knowledge_base(parameters.kb)
        inline = opened.settings.stages == "inline"
        try:
            report.ingested = timed(
                report.seconds, "ingest",
                lambda: run_stage(ingest, Ingest(**common, allow_loss=parameters.allow_loss), inline=inline),
            )  # fmt: skip
            plan = plan_build(opened.catalog, kb)
            if plan.builds:
                report.chunked = timed(
                    report.seconds, "chunk", lambda: run_stage(chunk, Stage(**common), inline=inline)
                )
                lock.ensure()
                shards = [
                    Embed(**common, shard=each, shards=kb.embedding.shards) for each in range(kb.embedding.shards)
                ]
                report.embedded = sum(timed(report.seconds, "embed", lambda: run_shards(embed, shards, inline=inline)))
                lock.ensure()
                report.indexed = timed(
                    report.seconds, "index", lambda: run_stage(index, Stage(**common), inline=inline)
                )
            else:
                report.restored = restore_live(opened.catalog, kb.name, opened.vectors)
            if plan.builds or plan.pending:
                lock.ensure()
                report.evaluated = timed(
                    report.seconds, "evaluate", lambda: run_stage(evaluate, Evaluate(**common), inline=inline)
                )
                judged = Deploy(**common, evaluation=report.evaluated["id"])
                report.decided = timed(report.seconds, "deploy", lambda: run_stage(deploy, judged, inline=inline))
        finally:
            publish_night(opened, report)
    get_run_logger().info(report.summary)
