"""The application: its parts, opened once, and its routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI

from api import answers, catalog, problems
from api.metrics import Metrics
from api.middleware import Requests
from mindset.embedding.registry import model_id
from mindset.errors import MindsetError
from mindset.installation import Installation, open_installation
from mindset.settings import Settings

_log = structlog.get_logger()

# Threads that work on requests; each holds at most one connection at a time, so more than the pool would only wait.
_THREADS = 40

# Threads of their own for `/readyz`: forty slow answers must not look like a service that is down.
_PROBES = 2


def create_app(settings: Settings) -> FastAPI:
    """The API of the installation that the settings name. It starts also while its stores are down."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = _THREADS
        with ExitStack() as stack:
            app.state.installation = await to_thread.run_sync(stack.enter_context, open_installation(settings))
            app.state.metrics = metrics
            app.state.probes = CapacityLimiter(_PROBES)
            await to_thread.run_sync(_warm_up, app)
            yield

    app = FastAPI(
        title="Product Mindset",
        version="0.1.0",
        summary="Search and answers from the live release of a knowledge base.",
        lifespan=lifespan,
        responses={"4XX": problems.DESCRIBED, "5XX": problems.DESCRIBED},
        separate_input_output_schemas=False,
    )
    problems.install(app)
    app.add_middleware(Requests, metrics=metrics)
    app.include_router(answers.router)
    app.include_router(catalog.router)
    return app


def _warm_up(app: FastAPI) -> None:
    """Import Chroma's client and load the model before the first question waits for them."""
    installation: Installation = app.state.installation
    try:
        installation.vectors.ping()
        for kb in installation.knowledge_bases():
            installation.searcher.embedder(model_id(kb.embedding)).embed_query("warm up")
    except MindsetError as cold:
        _log.warning("not warmed up", error=str(cold))  # the first question is slower; /readyz says what is down
