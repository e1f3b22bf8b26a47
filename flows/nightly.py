"""The nightly flow: from changes at the sources to a release."""

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
from flows.parameters import (
    DeployParameters,
    EmbedParameters,
    EvaluateParameters,
    IngestParameters,
    NightlyParameters,
    QualityParameters,
    StageParameters,
    night_name,
)
from flows.quality import MIN_DOCUMENTS
from flows.report import NightReport, publish_night
from flows.runtime import (
    DELAYS_S,
    RETRIES,
    inline_stages_use,
    is_transient,
    keep_lock,
    open_flow_installation,
    timed,
)
from mindset.application import Installation
from mindset.catalog.build import Build
from mindset.catalog.build_lock import BuildLock
from mindset.catalog.transactions import scalar
from mindset.config.knowledge_base import KnowledgeBase
from mindset.pipeline.plan import WorkDue, work_due
from mindset.pipeline.segments import restore_live


@flow(name="nightly", flow_run_name=night_name, persist_result=False)
def nightly(parameters: NightlyParameters) -> None:
    """Ingest, chunk, embed, index, evaluate, deploy. If nothing changed, no version is built. A killed night resumes."""
    report = NightReport(parameters.kb)
    with (
        open_flow_installation(parameters.connections) as installation,
        installation.catalog.build_lock(parameters.kb, str(flow_run.id)) as lock,
        inline_stages_use(installation),
    ):
        try:
            report.started_at = database_time(installation)
            _run_stages(installation, lock, parameters, report)
            report.failed = False
        finally:  # also if the night was cancelled
            _start_quality_check(parameters, report)
            _publish(installation, report)
    get_run_logger().info(report.summary)


def _run_stages(
    installation: Installation, lock: BuildLock, parameters: NightlyParameters, report: NightReport
) -> None:
    kb = installation.knowledge_base(parameters.kb)
    common: dict[str, Any] = {
        "kb": kb.name,
        "connections": parameters.connections,
        "night": str(flow_run.id),
        "build": lock.build.token,
    }
    inline = installation.settings.stages == "inline"

    def run(stage: Flow[..., Any], stage_parameters: StageParameters) -> Any:
        keep_lock(lock)
        return timed(report.seconds, stage.name, lambda: run_stage(stage, stage_parameters, inline=inline))

    report.ingested = run(ingest, IngestParameters(**common, allow_deletions=parameters.allow_deletions))
    due = find_work(installation, kb)
    if due.build:
        report.chunked = run(chunk, StageParameters(**common))
        shards = kb.embedding.shards
        shard_parameters = [EmbedParameters(**common, shard=shard, shards=shards) for shard in range(shards)]
        keep_lock(lock)
        embedded = timed(report.seconds, "embed", lambda: run_shards(embed, shard_parameters, inline=inline))
        report.embedded = sum(shard["embedded"] for shard in embedded)
        report.indexed = run(index, StageParameters(**common))
    else:
        report.restored = check_live_segments(installation, lock.build)
    if due.build or due.release:
        report.evaluated = run(evaluate, EvaluateParameters(**common))
        report.decision = run(deploy, DeployParameters(**common, evaluation=report.evaluated["id"]))


def _start_quality_check(parameters: NightlyParameters, report: NightReport) -> None:
    """Start a separate run that checks the documents read by this night. It waits for the night, not the reverse.

    No release depends on it, so if it cannot be started, the night's page reports that and the night completes."""
    read = report.ingested["added"] + report.ingested["changed"] if report.ingested else 0
    if read < MIN_DOCUMENTS:
        return
    try:
        report.quality_run = start(
            "quality", QualityParameters(kb=parameters.kb, connections=parameters.connections, since=report.started_at)
        )
    except Exception as error:  # noqa: BLE001  # the night has done its work
        report.quality_failure = f"{type(error).__name__}: {error}"
        get_run_logger().warning("The documents' quality is not checked: %s", report.quality_failure)


def _publish(installation: Installation, report: NightReport) -> None:
    """Publish the report. A failure must neither hide why the night failed nor fail a night that has released."""
    try:
        publish_night(installation, report)
    except Exception:  # noqa: BLE001  # Prefect or Postgres may be what failed the night
        get_run_logger().exception("The report could not be written: %s", report.summary)


@task(
    name="find work",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def find_work(installation: Installation, kb: KnowledgeBase) -> WorkDue:
    """Return what is to be built or released."""
    return work_due(installation.catalog, kb)


@task(
    name="database time",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def database_time(installation: Installation) -> datetime:
    """Return the time of the clock that stamps documents."""
    with installation.catalog.reading() as connection:
        now: datetime = scalar(connection, "SELECT now()")
    return now


@task(
    name="check live segments",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def check_live_segments(installation: Installation, build: Build) -> tuple[str, ...]:
    """Rebuild damaged segments of the live version and of the one whose release is due, if nothing is built."""
    return restore_live(build, build.kb, installation.vectors)
