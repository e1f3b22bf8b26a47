"""The application: its parts, opened once, and its routes."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api import errors as problems
from api import openapi
from api.middleware.rate_limits import RateLimits, check_limits
from api.middleware.request_context import AllowedHosts, RequestContext, allowed_hosts
from api.routes import answers, chat, documents, feedback, health
from api.routes import knowledge_bases as catalog
from api.routes import runs as nights
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

# Threads that work on requests; each holds at most one connection at a time, so more than the pool would only wait.
_THREADS = 40

# Threads of their own for `/readyz`: forty slow answers must not look like a service that is down.
_PROBES = 2


def create_app(settings: Settings) -> FastAPI:
    """The API of the installation that the settings name. It starts also while its stores are down.

    Raises ConfigurationError where access would be open to a network, nobody could have any, or a limit is none."""
    from api.mcp import (
        server as mcp_endpoint,  # its SDK takes two seconds to load, which only who serves should wait for
    )

    check_access(settings)
    check_limits(settings)
    use_settings(settings.flags)
    metrics = Metrics(settings.prices)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = _THREADS
        with ExitStack() as stack:
            stack.callback(lambda: stop_tracing())  # noqa: PLW0108  # it is there by then
            app.state.installation = await to_thread.run_sync(stack.enter_context, open_installation(settings))
            app.state.metrics = metrics
            app.state.limits = RateLimits(settings, app.state.installation.redis)
            if valkey := app.state.installation.redis:
                stack.callback(Listener(valkey, partial(_heard, app)).close)
            app.state.streams = Streams(settings.api_max_answers)
            stack.callback(app.state.streams.close)
            app.state.answer_log = _open_answer_log(app.state.installation, stack)
            metrics.watch(
                lambda: app.state.streams.open,
                lambda: app.state.answer_log.dropped if app.state.answer_log else 0,
                lambda: app.state.installation.generators.states,
            )
            app.state.probes = CapacityLimiter(_PROBES)
            if app.state.installation.authentication.is_open:
                _log.warning(
                    "access is open: whoever reaches this address may do everything",
                    address=settings.api_host,
                    remedy="set MINDSET_API_ACCESS=required",
                )
            await to_thread.run_sync(_warm_up, app)
            async with mcp_endpoint.serving(settings) as app.state.mcp:
                yield

    app = FastAPIOffline(  # whose /docs loads nothing from elsewhere
        title="Product Mindset",
        version="0.1.0",
        summary="Search and answers from the live release of a knowledge base.",
        lifespan=lifespan,
        openapi_tags=openapi.TAGS,
        generate_unique_id_function=lambda route: route.name,
        separate_input_output_schemas=False,
    )
    problems.install(app)
    openapi.install(app)
    if names := allowed_hosts(settings):
        app.add_middleware(AllowedHosts, names=names, elsewhere=frozenset({mcp_endpoint.Mcp.path}))
    app.add_middleware(RequestContext, metrics=metrics)
    app.include_router(answers.router)
    for each in (feedback, documents, catalog, nights, health):
        app.include_router(each.router)
    app.include_router(chat.router)
    mcp_endpoint.install(app)
    stop_tracing = start_tracing(app, settings)
    return app


def _heard(app: FastAPI, name: str, version: int) -> None:
    """Open what a version that went live needs, before the first question waits for it."""
    installation: Installation = app.state.installation
    try:
        installation.searcher.warm_up(installation.knowledge_base(name), version)
        _log.info("release heard of", kb=name, version=version)
    except MindsetError as cold:
        _log.info("release heard of, not warmed up", kb=name, version=version, error=str(cold))


def _open_answer_log(installation: Installation, stack: ExitStack) -> AnswerLog | None:
    settings = installation.settings
    if not settings.answer_log:
        return None
    log = AnswerLog(installation.catalog, settings.answer_log_sample_rate, settings.answer_log_days)
    stack.callback(log.close)
    return log


def _warm_up(app: FastAPI) -> None:
    """Import Chroma's client and load the models before the first question waits for them."""
    installation: Installation = app.state.installation
    # Nobody waits for this one: a provider that hangs is no reason to start later.
    threading.Thread(target=_tell_of_models, args=(installation,), name="model check", daemon=True).start()
    with _cold():
        installation.vectors.ping()
    for kb in installation.knowledge_bases():
        with _cold():
            embedder = installation.searcher.embedder(model_id(kb.embedding))
            if getattr(embedder, "is_instant", False):
                embedder.embed_query("warm up")
            else:
                threading.Thread(target=_try_out, args=(embedder,), name="embedder", daemon=True).start()


def _try_out(embedder: Embedder) -> None:
    try:
        embedder.embed_query("warm up")
    except Exception as cold:  # noqa: BLE001  # also that it was closed meanwhile: nobody waits for this
        _log.warning("not warmed up", error=str(cold))


@contextmanager
def _cold() -> Iterator[None]:
    """What fails is met by the first question, which is slower; /readyz says what is down."""
    try:
        yield
    except MindsetError as cold:
        _log.warning("not warmed up", error=str(cold))


def _tell_of_models(installation: Installation) -> None:
    """Log which models cannot be used, and what to do about it."""
    for each in check_models(installation.knowledge_bases(), installation.settings):
        _log.warning(
            "model cannot be used", model=each.model, knowledge_bases=list(each.knowledge_bases), error=each.message
        )
