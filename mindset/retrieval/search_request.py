"""A search: what it is asked, what it returns, and what all its steps share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import TypeVar

import structlog

from mindset.catalog.filters import Filter
from mindset.catalog.releases import VersionSnapshot
from mindset.config.knowledge_base import KnowledgeBase
from mindset.embedding.protocol import ModelId
from mindset.errors import ConfigurationError, IndexDamaged, ProviderError, ServiceUnavailable, UnknownVersion
from mindset.retrieval.passage import Passage

_log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True)
class SearchResult:
    """The passages found, the version searched, and the steps that were left out (`dense`, `lexical`, `rerank`)."""

    kb: str
    version: int
    release: int | None
    passages: tuple[Passage, ...]
    degraded: tuple[str, ...]
    milliseconds: dict[str, float]
    failures: Mapping[str, str]
    """The reason for each step in `degraded`."""
    cached: bool = False


@dataclass(frozen=True)
class SearchRequest:
    """What every step of a search needs."""

    kb: KnowledgeBase
    snapshot: VersionSnapshot
    question: str
    principals: Sequence[str]
    where: Filter | None
    candidates: int
    """Number of chunks that each ranking proposes."""
    deadline: float
    """In seconds of `time.perf_counter`."""

    def seconds_left(self) -> float:
        """Return the seconds until the deadline; negative once it has passed."""
        return self.deadline - time.perf_counter()

    def check_deadline(self) -> None:
        """Raise ServiceUnavailable once the deadline has passed."""
        if self.seconds_left() < 0:
            raise ServiceUnavailable("It did not finish within retrieval.deadline_s.")

    @property
    def model(self) -> ModelId:
        """The model that the version was built with."""
        return ModelId(self.snapshot.model)


@dataclass(frozen=True)
class Ranking:
    """The score of each chunk, best first, and how long ranking them took."""

    scores: Mapping[str, float]
    milliseconds: float


def cosine_scores(chunks: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the cosine similarities of chunks as scores, best first.

    They are rounded, because the index and an exact search add up in different orders."""
    rounded = ((chunk_id, round(similarity, 5)) for chunk_id, similarity in chunks)
    return dict(sorted(rounded, key=lambda chunk: (-chunk[1], chunk[0])))


def attempt(step: Callable[[], T]) -> T | str:
    """Return what a step returns, or the reason why it failed or was late: the result then reports it as degraded."""
    try:
        return step()
    except FutureTimeout:
        reason = "It did not finish within retrieval.deadline_s."
        _log.warning("search step late")
    except (ServiceUnavailable, IndexDamaged, ProviderError, UnknownVersion, ConfigurationError) as failure:
        reason = str(failure)
        _log.warning("search step failed", error=reason)
    return reason
