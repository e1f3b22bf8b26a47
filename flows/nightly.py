"""A night: what changed, from source to release."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import Flow, flow, get_run_logger, task
from prefect.runtime import flow_run

from flows.chunk import chunk
from flows.deploy import deploy
from flows.dispatch import run_shards, run_stage, start
from flows.embed import embed
from flows.evaluate import evaluate
from flows.index import index
from flows.ingest import ingest
from flows.parameters import Deploy, Embed, Evaluate, Ingest, Night, Quality, Stage, night_name
from flows.quality import LEAST_DOCUMENTS
from flows.report import NightReport, publish_night
from flows.stage import DELAYS_S, RETRIES, can_help, installation, keep_lock, timed
from mindset.builds.plan import BuildPlan, plan_build
from mindset.builds.segments import restore_live
from mindset.catalog.connection import BuildLock, scalar
from mindset.installation import Installation
from mindset.knowledge_base import KnowledgeBase


@flow(name="nightly", flow_run_name=night_name, persist_result=False)
def nightly(parameters: Night) -> None:
    """Ingest, chunk, embed, index, evaluate, deploy. Nothing changed makes no version; a killed night is resumed."""
    report = NightReport(parameters.kb)
    with installation(parameters.connections) as opened, opened.catalog.build_lock(parameters.kb) as lock:
        try:
            report.began = now(opened)
            _stages(opened, lock, parameters, report)
            report.failed = False
        finally:  # also of a night that was cancelled
            _ask_for_quality(parameters, report)
            _publish(opened, report)
    get_run_logger().info(report.summary)


def _publish(opened: Installation, report: NightReport) -> None:
    """A report that cannot be written must neither hide why a night failed nor fail one that has released."""
    try:
        publish_night(opened, report)
    except Exception:  # noqa: BLE001  # Prefect or Postgres may be what failed the night
        get_run_logger().exception("The report could not be written: %s", report.summary)


def _ask_for_quality(parameters: Night, report: NightReport) -> None:
    """Let a run of its own check the documents that this night read: nothing waits for it, so it waits for the night.

    What is released does not depend on it, so where it cannot be started the page says so."""
    read = report.ingested and [*report.ingested["added"], *report.ingested["changed"]]
    if not read or len(read) < LEAST_DOCUMENTS:
        return
    asked = Quality(kb=parameters.kb, connections=parameters.connections, since=report.began)
    try:
        report.quality_run = start("quality", asked)
    except Exception as broken:  # noqa: BLE001  # whatever breaks in it, the night has done its work
        report.quality_failure = f"{type(broken).__name__}: {broken}"
        get_run_logger().warning("The documents' quality is not checked: %s", report.quality_failure)


def _stages(opened: Installation, lock: BuildLock, parameters: Night, report: NightReport) -> None:
    kb = opened.knowledge_base(parameters.kb)
    common: dict[str, Any] = {"kb": kb.name, "connections": parameters.connections, "night": str(flow_run.id)}
    inline = opened.settings.stages == "inline"

    def run(stage: Flow[..., Any], stage_parameters: Stage) -> Any:
        keep_lock(lock)
        return timed(report.seconds, stage.name, lambda: run_stage(stage, stage_parameters, inline=inline))

    report.ingested = run(ingest, Ingest(**common, allow_loss=parameters.allow_loss))
    plan = plan_night(opened, kb)
    if plan.builds:
        report.chunked = run(chunk, Stage(**common))
        shards = [Embed(**common, shard=each, shards=kb.embedding.shards) for each in range(kb.embedding.shards)]
        keep_lock(lock)
        report.embedded = sum(timed(report.seconds, "embed", lambda: run_shards(embed, shards, inline=inline)))
        report.indexed = run(index, Stage(**common))
    else:
        report.restored = look_at_live(opened, kb.name)
    if plan.builds or plan.pending:
        report.evaluated = run(evaluate, Evaluate(**common))
        report.decided = run(deploy, Deploy(**common, evaluation=report.evaluated["id"]))


@task(
    name="plan build", persist_result=False, retries=RETRIES, retry_delay_seconds=DELAYS_S, retry_condition_fn=can_help
)
def plan_night(opened: Installation, kb: KnowledgeBase) -> BuildPlan:
    """What there is to build."""
    return plan_build(opened.catalog, kb)


@task(name="begin", persist_result=False, retries=RETRIES, retry_delay_seconds=DELAYS_S, retry_condition_fn=can_help)
def now(opened: Installation) -> datetime:
    """The moment, by the clock that documents are stamped with."""
    with opened.catalog.reading() as connection:
        moment: datetime = scalar(connection, "SELECT now()")
    return moment


@task(
    name="look at live",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=can_help,
)
def look_at_live(opened: Installation, kb: str) -> tuple[str, ...]:
    """Rebuild what is damaged of what is served or waits for its release, on nights that build nothing."""
    return restore_live(opened.catalog, kb, opened.vectors)
