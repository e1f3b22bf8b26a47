"""The use case of retrieval: rank, fuse, authorize, rerank."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from mindset.catalog.filters import Filter
from mindset.catalog.full_text import LexicalSearch
from mindset.catalog.passages import VisibleChunk, visible_passages
from mindset.catalog.pool import Catalog
from mindset.catalog.releases import VersionSnapshot, version_snapshot
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.retrieval_options import Reranking
from mindset.config.settings import Settings
from mindset.embedding.protocol import Embedder, ModelId
from mindset.embedding.registry import EmbedderRegistry
from mindset.errors import NothingReleased, ServiceUnavailable, UnknownVersion
from mindset.reranking.registry import RerankerRegistry
from mindset.retrieval.dense import DenseSearch
from mindset.retrieval.exact import exact_search, has_too_few
from mindset.retrieval.passages import to_passages
from mindset.retrieval.query import validate_question
from mindset.retrieval.rankings import Rankings
from mindset.retrieval.rerank import best_chunks, rerank
from mindset.retrieval.search_request import Ranking, SearchRequest, SearchResult, attempt, dense_weight
from mindset.tracing import span
from mindset.vector_index.chroma import ChromaIndex


class Searcher:
    """Searches the versions of all knowledge bases of an installation. Thread-safe. Close it with `close`."""

    def __init__(self, catalog: Catalog, index: ChromaIndex, settings: Settings, threads: int = 16) -> None:
        self._catalog, self._index = catalog, index
        self._embedders, self._rerankers = EmbedderRegistry(settings), RerankerRegistry(settings)
        self._full_text = LexicalSearch()
        self.dense = DenseSearch(index, self._embedders, self.snapshot, threads)

    def close(self) -> None:
        """Stop the threads and close the models."""
        self.dense.close()
        self._embedders.close()
        self._rerankers.close()

    def snapshot(self, kb: str, version: int | None = None) -> VersionSnapshot:
        """Return what a search reads: the live release, or the given version. Raises NothingReleased, UnknownVersion."""
        snapshot = self._catalog.read_once(lambda connection: version_snapshot(connection, kb, version))
        if snapshot:
            return snapshot
        if version is None:
            raise NothingReleased(f"No version of {kb} is live yet. Run `mindset night {kb}` first.")
        raise UnknownVersion(
            f"{kb} has no version {version}, or it is retired. `mindset releases {kb}` lists the available ones."
        )

    def embedder(self, model: ModelId) -> Embedder:
        """Return the embedder of a version's model; it is opened at its first use."""
        return self._embedders.get(model)

    def warm_up(self, kb: KnowledgeBase, version: int) -> None:
        """Open what dense search needs for a version, so that the first question does not wait for it.

        Has no deadline. Raises UnknownVersion, ServiceUnavailable, ProviderError."""
        snapshot = self.snapshot(kb.name, version)
        if dense_weight(kb, snapshot):
            self._index.ping()
            self.embedder(ModelId(snapshot.model)).embed_query("warm up")

    def search(
        self,
        kb: KnowledgeBase,
        question: str,
        principals: Sequence[str],
        limit: int | None = None,
        version: int | None = None,
        *,
        where: Filter | None = None,
        snapshot: VersionSnapshot | None = None,
        join: bool = True,
        reranked: bool = True,
    ) -> SearchResult:
        """Return the best `limit` chunks of the live release, or of the given version, as passages.

        `where` restricts the search to matching documents. Pass `snapshot` if it has been read already. Adjacent chunks
        become one passage unless `join` is False. The definition's reranker is used unless `reranked` is False.
        Raises QuestionRejected, NothingReleased, UnknownVersion; ServiceUnavailable if no ranking is available."""
        started = time.perf_counter()
        question = validate_question(question)
        limit = limit or kb.retrieval.passages
        snapshot = snapshot or self.snapshot(kb.name, version)
        request = SearchRequest(
            kb, snapshot, question, sorted({"*", *principals}), where,
            candidates=max(kb.retrieval.candidates, limit), deadline=started + kb.retrieval.deadline_s,
        )  # fmt: skip
        rankings = self._rank(request)
        if not rankings.weighted:
            raise ServiceUnavailable("Neither dense nor full-text search finished in time. Try again shortly.")
        reranking = kb.retrieval.rerank if reranked else None
        chunks = self._authorize(request, rankings, limit, max(limit, reranking.candidates) if reranking else limit)
        if reranking:
            chunks = self._rerank(request, reranking, rankings, chunks, limit)
        milliseconds = rankings.milliseconds | {"total": (time.perf_counter() - started) * 1000}
        return SearchResult(
            kb.name, snapshot.version, snapshot.release, tuple(to_passages(chunks, join=join)), tuple(rankings.failures),
            {step: round(value, 2) for step, value in milliseconds.items()}, rankings.failures,
        )  # fmt: skip

    def _rank(self, request: SearchRequest) -> Rankings:
        """Run both searches; full-text search runs in this thread while Chroma searches the vectors."""
        rankings = Rankings()
        lexical_weight = request.kb.retrieval.lexical_weight
        with ExitStack() as cleanup:
            dense = attempt(lambda: self.dense.start(request, cleanup)) if request.dense_weight else None
            lexical = attempt(lambda: self._lexical(request)) if lexical_weight else None
            if dense:
                outcome = dense if isinstance(dense, str) else attempt(dense.ranking)
                rankings.add("dense", request.dense_weight, outcome)
                rankings.vector = None if isinstance(dense, str) else dense.vector
            if lexical:
                rankings.add("lexical", lexical_weight, lexical)
        return rankings

    @span("retrieval.lexical")
    def _lexical(self, request: SearchRequest) -> Ranking:
        started = time.perf_counter()
        chunk_ids = self._catalog.read_once(
            lambda connection: self._full_text.candidates(
                connection, request.kb.name, request.snapshot.version, request.principals, request.question,
                request.kb.chunking.language, request.candidates, request.where,
            ),
            request.kb.retrieval.deadline_s,
        )  # fmt: skip
        return Ranking(chunk_ids, (time.perf_counter() - started) * 1000)

    def _authorize(self, request: SearchRequest, rankings: Rankings, limit: int, wanted: int) -> list[VisibleChunk]:
        """Return the best `wanted` chunks that the caller may read.

        If the caller may read too few of the nearest chunks, exact search replaces the dense ranking."""
        started = time.perf_counter()
        candidates = rankings.fused()
        chunks = self._visible(request, candidates, wanted)
        if "dense" in rankings.weighted and rankings.vector is not None:
            _, nearest = rankings.weighted["dense"]
            if self._too_few_visible(request, chunks, nearest, len(candidates), limit):
                vector = rankings.vector
                if rankings.replace_dense(attempt(lambda: exact_search(self._catalog, request, vector))):
                    chunks = self._visible(request, rankings.fused(), wanted)
        rankings.milliseconds["visible"] = (time.perf_counter() - started) * 1000
        return chunks

    @span("retrieval.visible")
    def _visible(self, request: SearchRequest, candidates: Sequence[str], limit: int) -> list[VisibleChunk]:
        return self._catalog.read_once(
            lambda connection: visible_passages(
                connection, request.kb.name, request.snapshot.version, request.principals, candidates, limit, request.where
            ),
            request.kb.retrieval.deadline_s,
        )  # fmt: skip

    def _too_few_visible(
        self,
        request: SearchRequest,
        chunks: Sequence[VisibleChunk],
        nearest: Sequence[str],
        candidates: int,
        limit: int,
    ) -> bool:
        """Return whether the caller may read fewer of the candidates than were asked for.

        Full-text search applies the filter itself and may fill the limit alone, so with a filter the nearest chunks are
        counted separately."""
        if has_too_few(chunks, limit, candidates):
            return True
        return request.where is not None and has_too_few(self._visible(request, nearest, limit), limit, len(nearest))

    def _rerank(
        self,
        request: SearchRequest,
        reranking: Reranking,
        rankings: Rankings,
        chunks: list[VisibleChunk],
        limit: int,
    ) -> list[VisibleChunk]:
        """Return the best `limit` chunks in the reranker's order, or in the given order if it fails."""
        started = time.perf_counter()
        outcome = attempt(lambda: rerank(request, lambda: self._rerankers.get(reranking), chunks))
        if isinstance(outcome, str):
            rankings.failures["rerank"] = outcome
        else:
            chunks = outcome
            rankings.milliseconds["rerank"] = (time.perf_counter() - started) * 1000
        return best_chunks(chunks, limit)
