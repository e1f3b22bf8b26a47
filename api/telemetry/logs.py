"""Logs as JSON lines, every line with the ids of the request and of the span that it belongs to."""

from __future__ import annotations

import logging
import sys

import structlog

from mindset.tracing import span_ids

# What these say when asked for everything holds questions, passages and answers, or the headers that sign them.
_TALKATIVE = ("boto3", "botocore", "urllib3", "httpcore", "sse_starlette", "mcp", "chromadb")


def configure_logs(level: str) -> None:
    """Send structlog's and the standard library's records to standard output as JSON."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _traced,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)  # structlog's stream: two of them are collected in any order
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # One line for every call to Chroma tells nobody anything.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.getLevelNamesMapping()[level], logging.INFO))


def _traced(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event.update(span_ids())
    return event
