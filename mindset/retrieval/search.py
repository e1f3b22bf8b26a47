"""One search: both rankings at the same time, fused, made visible."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from mindset.catalog.connection import Catalog
from mindset.catalog.embeddings import visible_embeddings
from mindset.catalog.filters import Filter
from mindset.catalog.lexical import LexicalSearch
from mindset.catalog.passages import Shown, visible_passages
from mindset.catalog.releases import Served, served
from mindset.deadline import Deadline
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
from mindset.index.chroma import ChromaIndex, NearestAsked
from mindset.knowledge_base import KnowledgeBase, Reranking
from mindset.retrieval.fusion import reciprocal_rank_fusion
from mindset.retrieval.passage import Passage
from mindset.retrieval.passages import to_passages
from mindset.retrieval.reranking import Reranker, open_reranker
from mindset.settings import Settings
from mindset.tracing import span

_log = structlog.get_logger()

T = TypeVar("T")

# How many vectors are held at a time where a question is compared with all that the caller may see.
EXACT_BATCH = 2_000

# An answer that is there is read even where the other half of the search has taken all the time.
_READ_S = 0.05


@dataclass(frozen=True)
class Found:
    """What a search found, where it looked, and what it had to leave out (`dense`, `lexical`, `rerank`)."""

    kb: str
    version: int
    release: int | None
    passages: tuple[Passage, ...]
    degraded: tuple[str, ...]
    milliseconds: dict[str, float]
    failures: Mapping[str, str]
    """Why, for each step in `degraded`."""
    cached: bool = False


_Ranking = tuple[list[str], float]
"""Chunks, best first, and the milliseconds it took."""

_UnderWay = Callable[[], _Ranking]
"""A ranking that is being made elsewhere: to be called once, for what it became."""


@dataclass
class _Search:
    """What every step of a search needs to know."""

    kb: KnowledgeBase
    view: Served
    question: str
    principals: Sequence[str]
    where: Filter | None
    candidates: int
    """Chunks that each ranking proposes."""
    deadline: float
    vector: NDArray[np.float32] | None = None
    """The question's, once it is embedded."""

    def left(self) -> float:
        return self.deadline - time.perf_counter()


@dataclass
class _Ranked:
    """Rankings with their weights, why those that are missing are, and how long each took."""

    rankings: dict[str, tuple[float, Sequence[str]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    milliseconds: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, weight: float, made: _Ranking | str) -> None:
        if isinstance(made, str):
            self.failures[name] = made
        else:
            ranking, self.milliseconds[name] = made
            self.rankings[name] = (weight, ranking)


class Searcher:
    """Searches the versions of all knowledge bases of an installation; thread-safe. Close it by `close`."""

    def __init__(self, catalog: Catalog, index: ChromaIndex, settings: Settings, threads: int = 16) -> None:
        self._catalog, self._index, self._settings = catalog, index, settings
        # For models that are waited for. A late step keeps its thread until it is over: the full text does without any.
        self._dense_steps = ThreadPoolExecutor(threads, thread_name_prefix="dense")
        self._full_text = LexicalSearch()
        self._embedders: dict[ModelId, Embedder] = {}
        self._rerankers: dict[Reranking, Reranker] = {}
        self._opening = threading.Lock()

    def close(self) -> None:
        """End the threads and the models."""
        self._dense_steps.shutdown(cancel_futures=True)
        for embedder in self._embedders.values():
            embedder.close()
        for reranker in self._rerankers.values():
            reranker.close()

    def search(
        self,
        kb: KnowledgeBase,
        question: str,
        principals: Sequence[str],
        limit: int | None = None,
        version: int | None = None,
        *,
        where: Filter | None = None,
        view: Served | None = None,
        join: bool = True,
        rerank: bool = True,
    ) -> Found:
        """At most `limit` chunks that answer the question, from the live release or from the version given, as passages.

        `where` keeps those of documents that it holds for. `view` is what `self.view` told of the version, where that was
        asked before. Neighbouring chunks become one passage unless `join` is False. Where the definition names a reranker it is
        asked, unless `rerank` is False.
        Raises QuestionRejected, NothingReleased, UnknownVersion, ServiceUnavailable (when neither ranking could be had)."""
        started = time.perf_counter()
        question = checked_question(question)
        limit = limit or kb.retrieval.passages
        view = view or self.view(kb.name, version)
        search = _Search(
            kb, view, question, sorted({"*", *principals}), where,
            candidates=max(kb.retrieval.candidates, limit), deadline=started + kb.retrieval.deadline_s,
        )  # fmt: skip

        ranked = self._rank(search)
        rankings, failures, milliseconds = ranked.rankings, ranked.failures, ranked.milliseconds
        if not rankings:
            raise ServiceUnavailable(
                "Neither the vectors nor the full text could be searched in time. Try again shortly."
            )

        looked = time.perf_counter()
        fused = reciprocal_rank_fusion(list(rankings.values()))
        reranking = kb.retrieval.rerank if rerank else None
        wanted = max(limit, reranking.candidates) if reranking else limit
        shown = self._visible(search, fused, wanted)
        if "dense" in rankings and self._sees_too_little(search, shown, rankings["dense"][1], len(fused), limit):
            match _result(lambda: self._compare(search)):
                case str(failure):
                    failures["dense"] = failure
                case ranking, took:
                    rankings["dense"] = (rankings["dense"][0], ranking)
                    milliseconds["exact"] = took
                    shown = self._visible(search, reciprocal_rank_fusion(list(rankings.values())), wanted)
        now = time.perf_counter()
        milliseconds["visible"] = (now - looked) * 1000
        if reranking:
            match _result(lambda: self._rerank(search, reranking, shown)):
                case str(failure):
                    failures["rerank"] = failure
                case ordered:
                    shown = ordered
                    milliseconds["rerank"] = (time.perf_counter() - now) * 1000
            shown = [row for rows in _by_chunk(shown)[:limit] for row in rows]
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
        view = self._catalog.glance(lambda connection: served(connection, kb, version))
        if view:
            return view
        if version is None:
            raise NothingReleased(f"No version of {kb} is live yet. Run `mindset night {kb}` first.")
        raise UnknownVersion(
            f"{kb} has no version {version}, or it is retired. `mindset releases {kb}` lists those to choose from."
        )

    def _rank(self, search: _Search) -> _Ranked:
        """Both rankings: the full text is searched here, while the vectors are searched by their server."""
        ranked = _Ranked()
        dense_weight, lexical_weight = _dense_weight(search.kb, search.view), search.kb.retrieval.lexical_weight
        with ExitStack() as leaving:
            dense = _result(lambda: self._begin_dense(search, leaving)) if dense_weight else None
            lexical = _result(lambda: self._lexical(search)) if lexical_weight else None
            if dense:
                ranked.add("dense", dense_weight, dense if isinstance(dense, str) else _result(dense))
            if lexical:
                ranked.add("lexical", lexical_weight, lexical)
        return ranked

    def _begin_dense(self, search: _Search, leaving: ExitStack) -> _UnderWay:
        """Embed the question and ask all segments; what is not read in the end is left by `leaving`.

        A model that only looks into its tables, and a server to which connections are open, are asked here: nothing of
        that waits. Anything else is waited for by a thread, which the full text and the deadline do not wait for."""
        started = time.perf_counter()
        embedder = self._embedders.get(ModelId(search.view.model))
        if embedder and not getattr(embedder, "waits", True):
            vector = embedder.embed_query(search.question)
            search.vector = vector
            asked = self._ask(search.view, vector, search.candidates, search.deadline, at_once=True)
            if asked is not None:
                for each in asked:
                    leaving.callback(each.leave)
                return lambda: (self._read(search, vector, lambda: asked), (time.perf_counter() - started) * 1000)
        step = self._dense_steps.submit(self._dense, search)
        leaving.callback(step.cancel)
        return lambda: step.result(timeout=max(0.0, search.left()))

    def _dense(self, search: _Search) -> _Ranking:
        started = time.perf_counter()
        vector = self.embedder(ModelId(search.view.model)).embed_query(search.question)
        search.vector = vector

        def ask() -> Sequence[NearestAsked]:
            asked = self._ask(search.view, vector, search.candidates, search.deadline)
            assert asked is not None
            return asked

        return self._read(search, vector, ask), (time.perf_counter() - started) * 1000

    @span("retrieval.dense")
    def _read(
        self, search: _Search, vector: NDArray[np.float32], ask: Callable[[], Sequence[NearestAsked]]
    ) -> list[str]:
        """What the segments answer; where maintenance has put others in their place meanwhile, what these do."""
        try:
            return _nearest(ask(), search.candidates, search.deadline)
        except IndexDamaged:
            # Perhaps not damaged: the segments whose place is taken are dropped at once.
            now = self.view(search.kb.name, search.view.version)
            if now.segments == search.view.segments:
                raise
            return self.nearest(now, vector, search.candidates, search.deadline)

    def nearest(self, view: Served, vector: NDArray[np.float32], candidates: int, deadline: float) -> list[str]:
        """The nearest chunks over all segments, by the moment `deadline` of `time.perf_counter`.

        Raises ServiceUnavailable, IndexDamaged, DimensionMismatch."""
        asked = self._ask(view, vector, candidates, deadline)
        assert asked is not None
        return _nearest(asked, candidates, deadline)

    def _ask(
        self, view: Served, vector: NDArray[np.float32], candidates: int, deadline: float, *, at_once: bool = False
    ) -> list[NearestAsked] | None:
        """All segments, which their server searches side by side; None where that would wait and is to be `at_once`."""
        for segment in view.segments:
            if segment.dimension != len(vector):
                raise DimensionMismatch(
                    f"Segment {segment.collection} has {segment.dimension} dimensions and the question's vector {len(vector)}. "
                    "Rebuild the version, or configure the model it was built with."
                )
        left = deadline - time.perf_counter()
        if left <= 0:
            raise ServiceUnavailable("Embedding the question took all the time there was. Raise retrieval.deadline_s.")
        with ExitStack() as leaving:
            asked = []
            for segment in view.segments:
                wanted = min(candidates, segment.count)
                each = self._index.ask(segment.collection, vector, wanted, left, at_once=at_once)
                if each is None:
                    return None
                asked.append(each)
                leaving.callback(each.leave)
            leaving.pop_all()
        return asked

    @span("retrieval.lexical")
    def _lexical(self, search: _Search) -> _Ranking:
        started = time.perf_counter()
        found = self._catalog.glance(
            lambda connection: self._full_text.candidates(
                connection, search.kb.name, search.view.version, search.principals, search.question,
                search.kb.chunking.language, search.candidates, search.where,
            ),
            search.kb.retrieval.deadline_s,
        )  # fmt: skip
        return found, (time.perf_counter() - started) * 1000

    @span("retrieval.visible")
    def _visible(self, search: _Search, proposed: Sequence[str], limit: int) -> list[Shown]:
        return self._catalog.glance(
            lambda connection: visible_passages(
                connection, search.kb.name, search.view.version, search.principals, proposed, limit, search.where
            ),
            search.kb.retrieval.deadline_s,
        )

    def _sees_too_little(
        self, search: _Search, shown: Sequence[Shown], dense: Sequence[str], proposed: int, limit: int
    ) -> bool:
        """Whether to compare with all that is visible, since of what was proposed too little is.

        The full text looks at the filter itself and may fill the limit alone; then those of the nearest are counted."""
        if len({row.chunk for row in shown}) < min(limit, proposed):
            return True
        if search.where is None:
            return False
        return len({row.chunk for row in self._visible(search, dense, limit)}) < min(limit, len(dense))

    @span("retrieval.rerank")
    def _rerank(self, search: _Search, reranking: Reranking, shown: Sequence[Shown]) -> list[Shown]:
        """What may be seen, as the reranker orders it: no other text is sent to anybody."""
        chunks = _by_chunk(shown)
        if len(chunks) < 2:
            return list(shown)
        with self._opening:
            if reranking not in self._rerankers:
                self._rerankers[reranking] = open_reranker(reranking, self._settings)
            reranker = self._rerankers[reranking]
        left = search.left()
        if left <= 0:
            raise ServiceUnavailable("The other steps took all the time there was. Raise retrieval.deadline_s.")
        order = reranker.order(search.question, [rows[0].text for rows in chunks], Deadline(left))
        return [row for at in order for row in chunks[at]]

    @span("retrieval.exact")
    def _compare(self, search: _Search) -> _Ranking:
        """The nearest of all that the caller may see, without an index. Raises ServiceUnavailable at the deadline."""
        started = time.perf_counter()
        view = search.view
        vector = search.vector
        assert vector is not None, "the ranking that this one stands in for was made with it"
        nearest: list[tuple[float, str]] = []
        with (
            self._catalog.reading() as connection,
            closing(
                visible_embeddings(
                    connection, search.kb.name, view.version, view.model, search.principals, search.where,
                    seconds=search.left(), batch=EXACT_BATCH,
                )
            ) as batches,
        ):  # fmt: skip
            for chunks, vectors in batches:
                distances = (-(vectors @ vector)).tolist()
                nearest = heapq.nsmallest(search.candidates, [*nearest, *zip(distances, chunks, strict=True)])
                if search.left() < 0:
                    raise ServiceUnavailable(
                        "More is visible than can be compared in time. Raise retrieval.deadline_s."
                    )
        return [chunk for _, chunk in nearest], (time.perf_counter() - started) * 1000


def _dense_weight(kb: KnowledgeBase, view: Served) -> float:
    """The definition's, else that of the model which the version was built with: the definition may name another by now."""
    configured = kb.retrieval.dense_weight
    return dense_weight_of(embedding_of(ModelId(view.model))) if configured is None else configured


def _nearest(asked: Sequence[NearestAsked], candidates: int, deadline: float) -> list[str]:
    """Of what the segments answer, the nearest: a chunk is in one of them only, so merging is sorting."""
    with ExitStack() as leaving:
        for each in asked:
            leaving.callback(each.leave)
        hits = [hit for each in asked for hit in each.hits(max(deadline - time.perf_counter(), _READ_S))]
    if len(asked) > 1:
        hits.sort(key=lambda hit: (hit.distance, hit.chunk))
    return [hit.chunk for hit in hits[:candidates]]


def _by_chunk(shown: Sequence[Shown]) -> list[list[Shown]]:
    """The places of each chunk, in the order in which the chunks come."""
    return [list(rows) for _, rows in groupby(shown, key=lambda row: row.chunk)]


def _result(step: Callable[[], T]) -> T | str:
    """What a step made, or why not: when it failed or is late, the answer reports it as degraded."""
    try:
        return step()
    except Late:
        why = "It was not over within retrieval.deadline_s."
        _log.warning("search step late")
    except (ServiceUnavailable, IndexDamaged, ProviderError, UnknownVersion) as failed:
        why = str(failed)
        _log.warning("search step failed", error=why)
    return why
