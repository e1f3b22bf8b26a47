"""What all flows share: the installation, the build lock, retries, progress in the UI."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import State, TaskRun
from prefect.client.schemas.sorting import ArtifactSort
from prefect.runtime import flow_run
from prefect.tasks import Task
from tenacity import retry, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_exponential, wait_random

from flows.parameters import Connections, StageParameters
from mindset.application import Installation, open_installation
from mindset.catalog.build import Build
from mindset.catalog.build_lock import BuildLock
from mindset.config.settings import Settings, load_settings
from mindset.errors import BuildInProgress, ConfigurationError, IndexDamaged, ProviderUnavailable, ServiceUnavailable
from mindset.pipeline.progress import Progress

# After a failure, the stage must not wait for Prefect's own retries at every step.
_PROGRESS_PAUSE_S = 60.0

T = TypeVar("T")
B = TypeVar("B", bound=Block)

# Errors that a retry may fix: a server that is restarting, a throttled provider, a segment that failed verification.
TRANSIENT = (ServiceUnavailable, ProviderUnavailable, IndexDamaged)
RETRIES = 4
DELAYS_S: list[float] = [2, 5, 15, 60]

_night_installation: ContextVar[Installation | None] = ContextVar("night_installation", default=None)


def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return whether a failed task is worth retrying."""
    return isinstance(state.result(raise_on_failure=False), TRANSIENT)


@contextmanager
def open_flow_installation(connections: Connections) -> Iterator[Installation]:
    """Open the installation of the settings, with the values that blocks override."""
    settings = _connected(load_settings()).model_copy(update=_block_settings(connections))
    with open_installation(settings) as installation:
        yield installation


@contextmanager
def inline_stages_use(installation: Installation) -> Iterator[None]:
    """Let stages that run inline in this process use a night's installation instead of opening their own."""
    token = _night_installation.set(installation)
    try:
        yield
    finally:
        _night_installation.reset(token)


@contextmanager
def building(stage: StageParameters) -> Iterator[tuple[Installation, Build]]:
    """Yield the installation and the build that the stage belongs to: its night's, or its own if it runs alone."""
    night_installation = _night_installation.get()
    if night_installation is not None and stage.build is not None:
        yield night_installation, Build(night_installation.catalog, stage.kb, stage.build)
        return
    with open_flow_installation(stage.connections) as installation:
        if stage.build is not None:
            yield installation, Build(installation.catalog, stage.kb, stage.build)
            return
        with installation.catalog.build_lock(stage.kb, str(flow_run.id)) as lock:
            yield installation, lock.build


def report_progress(key: str, description: str) -> Progress:
    """Report progress as an artifact of the running flow, which goes on after a retry.

    It is updated at the start and the end, at most every three seconds in between, and every ten seconds after half a
    minute, because the stage waits for Prefect meanwhile. A failure is logged, and never fails the work."""
    artifact: UUID | None = None
    started, next_at = time.monotonic(), 0.0
    logger = get_run_logger()

    def report(done: int, total: int) -> None:
        nonlocal artifact, next_at
        now = time.monotonic()
        if now < next_at and (done < total or artifact is None):
            return
        percent = 100 * done / max(total, 1)
        try:
            artifact = artifact or _find_progress(key)
            if artifact is None:
                artifact = create_progress_artifact(percent, key=key, description=description)  # type: ignore[assignment]
            else:
                update_progress_artifact(artifact, progress=percent)
            next_at = now + (3 if now - started < 30 else 10)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with Prefect, the work goes on
            artifact, next_at = None, time.monotonic() + _PROGRESS_PAUSE_S
            logger.warning("Progress could not be reported: %s: %s", type(error).__name__, error)
        logger.info("%s: %d of %d", description, done, total)

    return report


def _find_progress(key: str) -> UUID | None:
    """Return the artifact that an earlier attempt of this flow run has created."""
    run = flow_run.id
    if not run:
        return None
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(str(run))]), key=ArtifactFilterKey(any_=[key])
            ),
            sort=ArtifactSort.CREATED_DESC,
            limit=1,
        )
    return found[0].id if found else None


# Postgres holds the lock of a connection that only this side has lost for a minute: BuildInProgress then means this build.
@retry(
    retry=retry_if_exception_type((ServiceUnavailable, BuildInProgress)),
    stop=stop_after_attempt(20) | stop_after_delay(120),
    wait=wait_exponential(multiplier=0.1, max=15) + wait_random(0, 1),
    reraise=True,
)
def keep_lock(lock: BuildLock) -> None:
    """Make sure that the build lock is held; Postgres may have restarted."""
    lock.ensure()


def timed(durations: dict[str, float], name: str, work: Callable[[], T]) -> T:
    """Return the result of `work` and store its duration in seconds under `name`."""
    started = time.monotonic()
    try:
        return work()
    finally:
        durations[name] = time.monotonic() - started


def _connected(settings: Settings) -> Settings:
    """Fill unset addresses from the local stack, where that is installed: images do not contain it."""
    try:
        from local_stack.state import connect
    except ModuleNotFoundError:
        return settings
    return connect(settings)


def _block_settings(connections: Connections) -> dict[str, Any]:
    """Return the settings that the named blocks override. Vendor SDKs are imported only for those blocks."""
    overrides: dict[str, Any] = {}
    if connections.postgres:
        from blocks.postgres import PostgresCatalog

        overrides |= _load(PostgresCatalog, connections.postgres).settings()
    if connections.chroma:
        from blocks.chroma import ChromaStore

        overrides |= _load(ChromaStore, connections.chroma).settings()
    if connections.redis:
        from blocks.redis import RedisStore

        overrides |= _load(RedisStore, connections.redis).settings()
    if connections.nim:
        from blocks.nim import NimService

        overrides |= _load(NimService, connections.nim).settings()
    if connections.bedrock:
        from blocks.bedrock import BedrockService

        overrides |= _load(BedrockService, connections.bedrock).settings()
    return overrides


def _load(block_type: type[B], name: str) -> B:
    """Load a saved block. Raises ConfigurationError if there is none of that name."""
    try:
        return cast("B", block_type.load(name))  # synchronous within a synchronous flow
    except ValueError as missing:
        raise ConfigurationError(f"{missing} Save it in the Prefect UI, or leave the field empty.") from None
