"""The application: its parts, opened once, and its routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI

from api import answers, catalog, problems
from api.metrics import Metrics
from api.middleware import Requests
from mindset.errors import MindsetError
from mindset.installation import open_installation
from mindset.settings import Settings

# Threads that work on requests; each holds at most one connection at a time, so more than the pool would only wait.
_THREADS = 40


def create_app(settings: Settings) -> FastAPI:
    """The API of the installation that the settings name. It starts also while its stores are down."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = _THREADS
        with ExitStack() as stack:
            app.state.installation = await to_thread.run_sync(stack.enter_context, open_installation(settings))
            app.state.metrics = metrics
            await to_thread.run_sync(_warm_up, app)
            yield

    app = FastAPI(
        title="Product Mindset",
        version="0.1.0",
        summary="Search and answers from the live release of a knowledge base.",
        lifespan=lifespan,
        responses={"4XX": {"model": problems.Problem}, "5XX": {"model": problems.Problem}},
        separate_input_output_schemas=False,
    )
    problems.install(app)
    app.add_middleware(Requests, metrics=metrics)
    app.include_router(answers.router)
    app.include_router(catalog.router)
    return app


def _warm_up(app: FastAPI) -> None:
    """Import Chroma's client and load the model before the first question waits for them."""
    installation = app.state.installation
    try:
        for kb in installation.knowledge_bases():
            installation.searcher.search(kb, "warm up", [])
    except MindsetError:
        return  # nothing released yet, or a store is down: /readyz says so
