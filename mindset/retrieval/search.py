"""One search: both rankings at the same time, fused, made visible."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from mindset.catalog.connection import Catalog
from mindset.catalog.embeddings import visible_embeddings
from mindset.catalog.lexical import LexicalSearch
from mindset.catalog.passages import Shown, visible_passages
from mindset.catalog.releases import Served, served
from mindset.embedding.protocol import Embedder, ModelId
from mindset.embedding.registry import dense_weight_of, embedding_of, open_embedder
from mindset.errors import (
    DimensionMismatch,
    IndexDamaged,
    NothingReleased,
    ProviderError,
    ServiceUnavailable,
    UnknownVersion,
)
from mindset.guardrails.questions import checked_question
from mindset.index.chroma import ChromaIndex
from mindset.knowledge_base import KnowledgeBase
from mindset.retrieval.fusion import reciprocal_rank_fusion
from mindset.retrieval.passage import Passage
from mindset.retrieval.passages import to_passages
from mindset.settings import Settings

_log = structlog.get_logger()

# How many vectors are held at a time where a question is compared with all that the caller may see.
EXACT_BATCH = 2_000


@dataclass(frozen=True)
class Found:
    """What a search found, where it looked, and what it had to leave out (`dense`, `lexical`)."""

    kb: str
    version: int
    release: int | None
    passages: tuple[Passage, ...]
    degraded: tuple[str, ...]
    milliseconds: dict[str, float]
    failures: Mapping[str, str]
    """Why, for each step in `degraded`."""


_Ranking = tuple[list[str], float]
"""Chunks, best first, and the milliseconds it took."""


class Searcher:
    """Searches the versions of all knowledge bases of an installation; thread-safe. Close it by `close`."""

    def __init__(self, catalog: Catalog, index: ChromaIndex, settings: Settings, threads: int = 16) -> None:
        self._catalog, self._index, self._settings = catalog, index, settings
        # A late step keeps its thread until it is over. Each kind has its own, so that a provider that hangs leaves
        # the full text alone.
        self._dense_steps = ThreadPoolExecutor(threads, thread_name_prefix="dense")
        self._lexical_steps = ThreadPoolExecutor(threads, thread_name_prefix="lexical")
        # Of their own: a search step that waited for threads of its own pool could wait forever.
        self._segments = ThreadPoolExecutor(threads, thread_name_prefix="segment")
        self._full_text = LexicalSearch()
        self._embedders: dict[ModelId, Embedder] = {}
        self._opening = threading.Lock()

    def close(self) -> None:
        """End the threads and the embedders."""
        self._dense_steps.shutdown(cancel_futures=True)
        self._lexical_steps.shutdown(cancel_futures=True)
        self._segments.shutdown(cancel_futures=True)
        for embedder in self._embedders.values():
            embedder.close()

    def search(
        self,
        kb: KnowledgeBase,
        question: str,
        principals: Sequence[str],
        limit: int | None = None,
        version: int | None = None,
        *,
        view: Served | None = None,
        join: bool = True,
    ) -> Found:
        """At most `limit` chunks that answer the question, from the live release or from the version given, as passages.

        `view` is what `self.view` told of it, where that was asked before. Neighbouring chunks become one passage unless
        `join` is False.
        Raises QuestionRejected, NothingReleased, UnknownVersion, ServiceUnavailable (when neither ranking could be had)."""
        started = time.perf_counter()
        question = checked_question(question)
        limit = limit or kb.retrieval.passages
        view = view or self.view(kb.name, version)
        deadline = started + kb.retrieval.deadline_s
        callers = sorted({"*", *principals})
        candidates = max(kb.retrieval.candidates, limit)

        dense_weight = _dense_weight(kb, view)
        dense = (
            self._dense_steps.submit(self._dense, kb.name, view, question, candidates, deadline)
            if dense_weight
            else None
        )
        lexical = (
            self._lexical_steps.submit(self._lexical, kb, view, callers, question, candidates)
            if kb.retrieval.lexical_weight
            else None
        )
        rankings: list[tuple[float, Sequence[str]]] = []
        failures: dict[str, str] = {}
        milliseconds: dict[str, float] = {}
        for name, weight, step in (
            ("dense", dense_weight, dense),
            ("lexical", kb.retrieval.lexical_weight, lexical),
        ):
            if not step:
                continue
            match _result(step, deadline):
                case str(failure):
                    failures[name] = failure
                case ranking, took:
                    rankings.append((weight, ranking))
                    milliseconds[name] = took
        if not rankings:
            raise ServiceUnavailable(
                "Neither the vectors nor the full text could be searched in time. Try again shortly."
            )

        fused = reciprocal_rank_fusion(rankings)
        shown = self._visible(kb, view, callers, fused, limit)
        if dense and "dense" not in failures and len({row.chunk for row in shown}) < min(limit, len(fused)):
            exact = self._exactly(kb, view, callers, question, rankings, limit, deadline)
            if isinstance(exact, str):
                failures["dense"] = exact
            else:
                shown = exact
        milliseconds["total"] = (time.perf_counter() - started) * 1000
        return Found(
            kb.name, view.version, view.release, tuple(to_passages(shown, join=join)), tuple(failures),
            {name: round(value, 2) for name, value in milliseconds.items()}, failures,
        )  # fmt: skip

    def warm_up(self, kb: KnowledgeBase, version: int) -> None:
        """Open what a version's dense search needs, without a deadline: the first question is not to wait for that.

        Raises UnknownVersion, ServiceUnavailable, ProviderError."""
        view = self.view(kb.name, version)
        if _dense_weight(kb, view):
            self._index.ping()
            self.embedder(ModelId(view.model)).embed_query("warm up")

    def embedder(self, model: ModelId) -> Embedder:
        """The embedder of a version's model, opened at its first use."""
        with self._opening:
            if model not in self._embedders:
                self._embedders[model] = open_embedder(embedding_of(model), self._settings)
            return self._embedders[model]

    def view(self, kb: str, version: int | None) -> Served:
        """What is searched: the live release, or the version given. Raises NothingReleased, UnknownVersion."""
        with self._catalog.glancing() as connection:
            view = served(connection, kb, version)
        if view:
            return view
        if version is None:
            raise NothingReleased(f"No version of {kb} is live yet. Run `mindset night {kb}` first.")
        raise UnknownVersion(
            f"{kb} has no version {version}, or it is retired. `mindset releases {kb}` lists those to choose from."
        )

    def _dense(self, kb: str, view: Served, question: str, candidates: int, deadline: float) -> _Ranking:
        started = time.perf_counter()
        vector = self.embedder(ModelId(view.model)).embed_query(question)
        try:
            nearest = self._nearest(view, vector, candidates, deadline)
        except IndexDamaged:
            # Perhaps not damaged: maintenance puts others in the place of segments, and drops these at once.
            now = self.view(kb, view.version)
            if now.segments == view.segments:
                raise
            nearest = self._nearest(now, vector, candidates, deadline)
        return nearest, (time.perf_counter() - started) * 1000

    def _nearest(self, view: Served, vector: NDArray[np.float32], candidates: int, deadline: float) -> list[str]:
        """The nearest chunks over all segments: a chunk is in one of them only, so merging is sorting."""
        for segment in view.segments:
            if segment.dimension != len(vector):
                raise DimensionMismatch(
                    f"Segment {segment.collection} has {segment.dimension} dimensions and the question's vector {len(vector)}. "
                    "Rebuild the version, or configure the model it was built with."
                )
        left = deadline - time.perf_counter()
        if left <= 0:
            raise ServiceUnavailable("Embedding the question took all the time there was. Raise retrieval.deadline_s.")
        searches = [(segment.collection, vector, min(candidates, segment.count), left) for segment in view.segments]
        if len(searches) == 1:
            return [hit.chunk for hit in self._index.search(*searches[0])]
        hits = [hit for found in self._segments.map(lambda each: self._index.search(*each), searches) for hit in found]
        return [hit.chunk for hit in sorted(hits, key=lambda hit: (hit.distance, hit.chunk))[:candidates]]

    def _lexical(
        self, kb: KnowledgeBase, view: Served, principals: Sequence[str], question: str, candidates: int
    ) -> _Ranking:
        started = time.perf_counter()
        with self._catalog.glancing() as connection:
            found = self._full_text.candidates(
                connection, kb.name, view.version, principals, question, kb.chunking.language, candidates
            )
        return found, (time.perf_counter() - started) * 1000

    def _visible(
        self, kb: KnowledgeBase, view: Served, principals: Sequence[str], proposed: Sequence[str], limit: int
    ) -> list[Shown]:
        with self._catalog.glancing() as connection:
            return visible_passages(connection, kb.name, view.version, principals, proposed, limit)

    def _exactly(
        self,
        kb: KnowledgeBase,
        view: Served,
        principals: Sequence[str],
        question: str,
        rankings: list[tuple[float, Sequence[str]]],
        limit: int,
        deadline: float,
    ) -> list[Shown] | str:
        """For a caller who may see little: too few proposals were visible, so compare with all that is.

        The reason where that cannot be done by the deadline: what the segments proposed must do then."""
        candidates = max(kb.retrieval.candidates, limit)
        compared = _result(
            self._dense_steps.submit(self._compare, kb.name, view, principals, question, candidates, deadline), deadline
        )
        if isinstance(compared, str):
            return compared
        fused = reciprocal_rank_fusion([(rankings[0][0], compared[0]), *rankings[1:]])
        return self._visible(kb, view, principals, fused, limit)

    def _compare(
        self, kb: str, view: Served, principals: Sequence[str], question: str, candidates: int, deadline: float
    ) -> _Ranking:
        started = time.perf_counter()
        vector = self.embedder(ModelId(view.model)).embed_query(question)
        nearest: list[tuple[float, str]] = []
        left = deadline - time.perf_counter()
        with (
            self._catalog.reading() as connection,
            closing(
                visible_embeddings(
                    connection, kb, view.version, view.model, principals, seconds=left, batch=EXACT_BATCH
                )
            ) as batches,
        ):
            for chunks, vectors in batches:
                distances = (-(vectors @ vector)).tolist()
                nearest = heapq.nsmallest(candidates, [*nearest, *zip(distances, chunks, strict=True)])
                if time.perf_counter() > deadline:
                    raise ServiceUnavailable(
                        "More is visible than can be compared in time. Raise retrieval.deadline_s."
                    )
        return [chunk for _, chunk in nearest], (time.perf_counter() - started) * 1000


def _dense_weight(kb: KnowledgeBase, view: Served) -> float:
    """The definition's, else that of the model which the version was built with: the definition may name another by now."""
    configured = kb.retrieval.dense_weight
    return dense_weight_of(embedding_of(ModelId(view.model))) if configured is None else configured


def _result(step: Future[_Ranking], deadline: float) -> _Ranking | str:
    """What a step found, or why not: when it failed or is late, the answer reports it as degraded."""
    try:
        return step.result(timeout=max(0.0, deadline - time.perf_counter()))
    except Late:
        why = "It was not over within retrieval.deadline_s."
        _log.warning("search step late")
    except (ServiceUnavailable, IndexDamaged, ProviderError, UnknownVersion) as failed:
        why = str(failed)
        _log.warning("search step failed", error=why)
    step.cancel()
    return why
