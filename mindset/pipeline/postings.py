"""Add postings to sealed segments that lack them: built by an earlier release, or with another language."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from mindset.catalog.build import Build
from mindset.catalog.postings import analyze_segment, has_postings, missing_postings, store_postings
from mindset.errors import ConfigurationError
from mindset.text.words import WordAnalyzer, analyzer_named

_log = structlog.get_logger()


def add_postings(build: Build, segments: Iterable[int], analyzer: WordAnalyzer) -> None:
    """Build and store the postings of those segments that have none of this analysis."""
    for segment in segments:
        with build.reading() as connection:
            if has_postings(connection, segment, analyzer.name):
                continue
        postings = analyze_segment(build.catalog, segment, analyzer)
        with build.writing() as connection:
            store_postings(connection, segment, analyzer.name, postings)


def add_missing_postings(build: Build, kb: str) -> None:
    """Build and store all postings that the retained versions of a knowledge base need."""
    with build.reading() as connection:
        missing = missing_postings(connection, kb)
    for segment, analysis in missing:
        try:
            analyzer = analyzer_named(analysis)
        except ConfigurationError as unknown:  # a version of a newer release; searching it reports the same
            _log.warning("postings not built", segment=segment, error=str(unknown))
        else:
            add_postings(build, [segment], analyzer)
