"""What all stages share: the installation they work on, the build lock, retries that can help, progress in the UI."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar, cast
from uuid import UUID

import stamina
from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.blocks.core import Block
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from flows.parameters import Connections, Stage
from mindset.builds.progress import Progress
from mindset.catalog.connection import BuildLock
from mindset.errors import BuildInProgress, ConfigurationError, IndexDamaged, ProviderUnavailable, ServiceUnavailable
from mindset.installation import Installation, open_installation
from mindset.local.state import connect
from mindset.settings import load_settings

T = TypeVar("T")
B = TypeVar("B", bound=Block)

# What another attempt can mend: a server on its way back, a throttled provider, a half-written segment.
TRANSIENT = (ServiceUnavailable, ProviderUnavailable, IndexDamaged)
RETRIES = 4
DELAYS_S: list[float] = [2, 5, 15, 60]


def can_help(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether retrying a failed task is worth it."""
    return isinstance(state.result(raise_on_failure=False), TRANSIENT)


@contextmanager
def installation(connections: Connections) -> Iterator[Installation]:
    """The installation that the settings name, with what the blocks replace."""
    settings = connect(load_settings())
    settings = settings.model_copy(update=_replaced(connections))
    with open_installation(settings) as opened:
        yield opened


def _replaced(connections: Connections) -> dict[str, Any]:
    """The settings that the named blocks replace; vendors' SDKs are imported only for blocks that are named."""
    found: dict[str, Any] = {}
    if connections.postgres:
        from blocks.postgres import PostgresCatalog

        found |= _loaded(PostgresCatalog, connections.postgres).settings()
    if connections.chroma:
        from blocks.chroma import ChromaStore

        found |= _loaded(ChromaStore, connections.chroma).settings()
    if connections.nim:
        from blocks.nim import NimService

        found |= _loaded(NimService, connections.nim).settings()
    if connections.bedrock:
        from blocks.bedrock import BedrockService

        found |= _loaded(BedrockService, connections.bedrock).settings()
    return found


def _loaded(kind: type[B], name: str) -> B:
    """A saved block. Raises ConfigurationError where there is none of that name."""
    try:
        return cast("B", kind.load(name))  # in a sync flow the call is sync
    except ValueError as missing:
        raise ConfigurationError(f"{missing} Save it in the Prefect UI, or leave the field empty.") from None


@contextmanager
def building(stage: Stage) -> Iterator[Installation]:
    """The installation, with the build lock held: by the night that this stage is part of, or else by the stage."""
    with ExitStack() as stack:
        opened = stack.enter_context(installation(stage.connections))
        if not stage.night:
            stack.enter_context(opened.catalog.build_lock(stage.kb))
        yield opened


def shown_progress(key: str, description: str) -> Progress:
    """Progress as an artifact of the running flow: at once and at the end, between at most every three seconds, and every ten
    once it takes long: the stage waits for Prefect meanwhile."""
    artifact: UUID | None = None
    began, last = time.monotonic(), 0.0
    logger = get_run_logger()

    def show(done: int, total: int) -> None:
        nonlocal artifact, last
        now = time.monotonic()
        if done < total and now - last < (3 if now - began < 30 else 10):
            return
        last, percent = now, 100 * done / max(total, 1)
        if artifact is None:
            artifact = create_progress_artifact(percent, key=key, description=description)  # type: ignore[assignment]
        else:
            update_progress_artifact(artifact, progress=percent)
        logger.info("%s: %d of %d", description, done, total)

    return show


# Postgres keeps the lock of a connection that only this side has lost for a minute: that build in progress is this one.
@stamina.retry(on=(ServiceUnavailable, BuildInProgress), attempts=20, timeout=120, wait_max=15)
def keep_lock(lock: BuildLock) -> None:
    """Hold the build lock still, or again: Postgres may have restarted since."""
    lock.ensure()


def timed(durations: dict[str, float], name: str, work: Callable[[], T]) -> T:
    """What `work` returns, its seconds noted under `name`."""
    started = time.monotonic()
    try:
        return work()
    finally:
        durations[name] = time.monotonic() - started
