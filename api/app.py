"""The FastAPI application: its parts, opened once, and its routes."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api import errors, openapi
from api.middleware.rate_limits import RateLimits, check_limits
from api.middleware.request_context import AllowedHosts, RequestContext, allowed_hosts
from api.routes import answers, chat, documents, feedback, health, knowledge_bases, runs
from api.streaming import Streams
from api.telemetry.metrics import Metrics
from api.telemetry.tracing import start_tracing
from mindset.answering.answer_log import AnswerLog
from mindset.answering.feature_flags import use_settings
from mindset.application import Installation, open_installation
from mindset.auth.authentication import check_access
from mindset.config.settings import Settings
from mindset.embedding.protocol import Embedder
from mindset.embedding.registry import model_id
from mindset.errors import MindsetError
from mindset.generation.model_check import check_models
from mindset.releases.notifications import Listener

_log = structlog.get_logger()

# Worker threads for requests. Each uses at most one Postgres connection at a time.
_THREADS = 40

# Separate threads for `/readyz`, so that forty slow requests do not look like an unavailable service.
_PROBE_THREADS = 2


def create_app(settings: Settings) -> FastAPI:
    """Create the API for the installation of the settings. It starts even if its stores are unavailable.

    Raises ConfigurationError if access would be open to a network, if no client could get access, or if a limit is
    invalid."""
    from api.mcp import server as mcp_server  # its SDK takes two seconds to import

    check_access(settings)
    check_limits(settings)
    use_settings(settings.flags)
    metrics = Metrics(settings.prices)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = _THREADS
        with ExitStack() as stack:
            stack.callback(lambda: stop_tracing())  # noqa: PLW0108  # assigned below
            app.state.installation = await to_thread.run_sync(stack.enter_context, open_installation(settings))
            app.state.metrics = metrics
            app.state.limits = RateLimits(settings, app.state.installation.redis)
            if redis := app.state.installation.redis:
                stack.callback(Listener(redis, partial(_on_release, app)).close)
            app.state.streams = Streams(settings.api_max_answers)
            stack.callback(app.state.streams.close)
            app.state.answer_log = _open_answer_log(app.state.installation, stack)
            metrics.watch(
                lambda: app.state.streams.in_progress,
                lambda: app.state.answer_log.dropped if app.state.answer_log else 0,
                lambda: app.state.installation.generators.states,
            )
            app.state.probes = CapacityLimiter(_PROBE_THREADS)
            if app.state.installation.authentication.is_open:
                _log.warning(
                    "access is open: every client that reaches this address has every scope",
                    address=settings.api_host,
                    remedy="set MINDSET_API_ACCESS=required",
                )
            await to_thread.run_sync(_warm_up, app)
            async with mcp_server.serving(settings) as app.state.mcp:
                yield

    app = FastAPIOffline(  # its /docs loads nothing from other servers
        title="Product Mindset",
        version="0.1.0",
        summary="Search and answers from the live release of a knowledge base.",
        lifespan=lifespan,
        openapi_tags=openapi.TAGS,
        generate_unique_id_function=lambda route: route.name,
        separate_input_output_schemas=False,
    )
    errors.install(app)
    openapi.install(app)
    if names := allowed_hosts(settings):
        app.add_middleware(AllowedHosts, names=names, exempt_paths=frozenset({mcp_server.Mcp.path}))
    app.add_middleware(RequestContext, metrics=metrics)
    app.include_router(answers.router)
    for routes in (feedback, documents, knowledge_bases, runs, health):
        app.include_router(routes.router)
    app.include_router(chat.router)
    mcp_server.install(app)
    stop_tracing = start_tracing(app, settings)
    return app


def _on_release(app: FastAPI, name: str, version: int) -> None:
    """Open what a newly released version needs, so that the first question does not wait for it."""
    installation: Installation = app.state.installation
    try:
        installation.searcher.warm_up(installation.knowledge_base(name), version)
        _log.info("warmed up for new release", kb=name, version=version)
    except MindsetError as error:
        _log.info("not warmed up for new release", kb=name, version=version, error=str(error))


def _open_answer_log(installation: Installation, stack: ExitStack) -> AnswerLog | None:
    settings = installation.settings
    if not settings.answer_log:
        return None
    log = AnswerLog(installation.catalog, settings.answer_log_sample_rate, settings.answer_log_days)
    stack.callback(log.close)
    return log


def _warm_up(app: FastAPI) -> None:
    """Import Chroma's client and load the models, so that the first question does not wait for them."""
    installation: Installation = app.state.installation
    # In the background, so that an unresponsive provider does not delay the start.
    threading.Thread(target=_log_unusable_models, args=(installation,), name="model check", daemon=True).start()
    threading.Thread(target=_load_live_releases, args=(installation,), name="live releases", daemon=True).start()
    with _failures_logged():
        installation.vectors.ping()
    for kb in installation.knowledge_bases():
        with _failures_logged():
            embedder = installation.searcher.embedder(model_id(kb.embedding))
            if getattr(embedder, "is_instant", False):
                embedder.embed_query("warm up")
            else:
                threading.Thread(target=_embed_once, args=(embedder,), name="embedder", daemon=True).start()


def _load_live_releases(installation: Installation) -> None:
    """Load the words of the live releases, so that the first questions are not answered from the vectors alone."""
    for kb in installation.knowledge_bases():
        try:
            installation.searcher.warm_up(kb)
        except Exception as error:  # noqa: BLE001  # the API may have been closed meanwhile
            _log.info("live release not loaded", kb=kb.name, error=str(error))


def _embed_once(embedder: Embedder) -> None:
    try:
        embedder.embed_query("warm up")
    except Exception as error:  # noqa: BLE001  # the embedder may have been closed meanwhile
        _log.warning("not warmed up", error=str(error))


@contextmanager
def _failures_logged() -> Iterator[None]:
    """Log failures of warming up: the first question repeats the attempt, and /readyz reports what is down."""
    try:
        yield
    except MindsetError as error:
        _log.warning("not warmed up", error=str(error))


def _log_unusable_models(installation: Installation) -> None:
    """Log which models cannot be used and what to do about it."""
    for problem in check_models(installation.knowledge_bases(), installation.settings):
        _log.warning(
            "model cannot be used",
            model=problem.model,
            knowledge_bases=list(problem.knowledge_bases),
            error=problem.message,
        )
