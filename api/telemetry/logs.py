"""Logging as JSON lines, each with the ids of its request and span."""

from __future__ import annotations

import logging
import sys

import structlog

from mindset.tracing import span_ids

# At debug level these libraries log questions, passages and answers, or headers with signatures.
_VERBOSE_LIBRARIES = ("boto3", "botocore", "urllib3", "httpcore", "sse_starlette", "mcp", "chromadb")


def configure_logs(level: str) -> None:
    """Write the records of structlog and of the standard library to standard output as JSON."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_span_ids,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)  # the same stream as structlog, to keep the order of lines
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
    # A line for every call to Chroma is noise.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for name in _VERBOSE_LIBRARIES:
        logging.getLogger(name).setLevel(max(logging.getLevelNamesMapping()[level], logging.INFO))


def _add_span_ids(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event.update(span_ids())
    return event
