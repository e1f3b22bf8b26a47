"""The use case of retrieval: find out what the caller may read, rank it in two ways, fuse, authorize, rerank."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from mindset.catalog.filters import Filter
from mindset.catalog.passages import VisibleChunk, visible_passages
from mindset.catalog.pool import STATEMENT_TIMEOUT_S, Catalog
from mindset.catalog.releases import VersionSnapshot, version_snapshot
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.ranking import RankingOptions
from mindset.config.retrieval_options import Reranking
from mindset.config.settings import Settings
from mindset.embedding.protocol import Embedder, ModelId
from mindset.embedding.registry import EmbedderRegistry
from mindset.errors import IndexDamaged, NothingReleased, ServiceUnavailable, UnknownVersion
from mindset.full_text.bm25 import VisibleChunks, bm25
from mindset.reranking.registry import RerankerRegistry
from mindset.retrieval.dense import DenseSearch
from mindset.retrieval.near_duplicates import group_near_duplicates, merge_groups
from mindset.retrieval.passages import to_passages
from mindset.retrieval.query import validate_question
from mindset.retrieval.rankings import Rankings
from mindset.retrieval.rerank import best_chunks, rerank
from mindset.retrieval.search_request import Ranking, SearchRequest, SearchResult, attempt
from mindset.retrieval.version_index import VersionIndex, VersionIndexes
from mindset.tracing import span
from mindset.vector_index.chroma import ChromaIndex

_Visible = tuple[VersionIndex, VisibleChunks]

# A late ranking must leave time to authorize the chunks of the other one.
_RESERVED_S = 0.5


class Searcher:
    """Searches the versions of all knowledge bases of an installation. Thread-safe. Close it with `close`."""

    def __init__(self, catalog: Catalog, index: ChromaIndex, settings: Settings, threads: int = 16) -> None:
        self._catalog, self._index = catalog, index
        self._embedders, self._rerankers = EmbedderRegistry(settings), RerankerRegistry(settings)
        self._version_indexes = VersionIndexes(catalog, settings.version_index_bytes)
        self.dense = DenseSearch(catalog, index, self._embedders, self.snapshot, threads)

    def close(self) -> None:
        """Stop the threads and close the models."""
        self.dense.close()
        self._version_indexes.close()
        self._embedders.close()
        self._rerankers.close()

    def snapshot(self, kb: str, version: int | None = None, timeout_s: float = STATEMENT_TIMEOUT_S) -> VersionSnapshot:
        """Return what a search reads: the live release, or the given version.

        Raises NothingReleased, UnknownVersion, and ServiceUnavailable after `timeout_s`."""
        snapshot = self._catalog.read_once(lambda connection: version_snapshot(connection, kb, version), timeout_s)
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

    def warm_up(self, kb: KnowledgeBase, version: int | None = None) -> None:
        """Load what searching the live release, or the given version, needs, so that the first question does not wait for it.

        Has no deadline. Raises NothingReleased, UnknownVersion, ServiceUnavailable, ProviderError, ConfigurationError,
        IndexDamaged."""
        snapshot = self.snapshot(kb.name, version)
        self._version_indexes.get(kb.name, snapshot, None)
        if snapshot.ranking.dense_weight:
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
        deadline_s: float | None = None,
        ranking: RankingOptions | None = None,
    ) -> SearchResult:
        """Return the best `limit` chunks of the live release, or of the given version, as passages.

        `where` restricts the search to matching documents. Pass `snapshot` if it has been read already. Adjacent chunks
        become one passage unless `join` is False. The version's reranker is used unless `reranked` is False. `deadline_s`
        limits the whole search, instead of the definition's deadline. `ranking` tries other options than those of the
        version, with the same word analysis. The same version, question, principals and filter
        give the same ranking, whatever else the installation contains.
        Raises QuestionRejected, NothingReleased, UnknownVersion; ServiceUnavailable if no ranking is available."""
        started = time.perf_counter()
        question = validate_question(question)
        limit = limit or kb.retrieval.passages
        deadline_s = deadline_s or kb.retrieval.deadline_s
        snapshot = snapshot or self.snapshot(kb.name, version, deadline_s)
        snapshot = replace(snapshot, ranking=ranking) if ranking else snapshot
        request = SearchRequest(
            kb, snapshot, question, sorted({"*", *principals}), where,
            candidates=max(snapshot.ranking.candidates, limit),
            deadline=started + deadline_s - min(_RESERVED_S, deadline_s / 4),
        )  # fmt: skip
        rankings, found = self._rank(request)
        if not rankings.weighted:
            reasons = " ".join(f"{step}: {reason}" for step, reason in rankings.failures.items())
            raise ServiceUnavailable(
                f"Neither dense nor full-text search finished in time. Try again shortly. {reasons}"
            )
        request = replace(request, deadline=started + deadline_s)
        reranking = snapshot.ranking.rerank if reranked else None
        chunks = self._authorize(request, rankings, max(limit, reranking.candidates) if reranking else limit, found)
        if reranking:
            chunks = self._rerank(request, reranking, rankings, chunks, limit)
        milliseconds = rankings.milliseconds | {"total": (time.perf_counter() - started) * 1000}
        return SearchResult(
            kb.name, snapshot.version, snapshot.release,
            tuple(to_passages(chunks, snapshot.ranking.language, join=join)), tuple(rankings.failures),
            {step: round(value, 2) for step, value in milliseconds.items()}, rankings.failures,
        )  # fmt: skip

    def _rank(self, request: SearchRequest) -> tuple[Rankings, _Visible | None]:
        """Run both searches; full-text search runs in this thread while Chroma searches the vectors.

        Also return the chunks that the caller may read, if they are known in time."""
        options = request.snapshot.ranking
        rankings = Rankings(options.fusion)
        # Half of the time: dense search is possible without it.
        half = replace(request, deadline=request.deadline - request.seconds_left() / 2)
        loaded = attempt(lambda: self._visible(half))
        visible = None if isinstance(loaded, str) else loaded[1]
        with ExitStack() as cleanup:
            dense = attempt(lambda: self.dense.start(request, visible, cleanup)) if options.dense_weight else None
            if isinstance(loaded, str):
                rankings.add("lexical" if options.lexical_weight else "dense", 0, loaded)
            elif options.lexical_weight:
                lexical = attempt(lambda: _lexical_ranking(request, *loaded))
                rankings.add("lexical", options.lexical_weight, lexical)
            if dense is not None:
                rankings.add("dense", options.dense_weight, dense if isinstance(dense, str) else attempt(dense))
        return rankings, None if isinstance(loaded, str) else loaded

    @span("retrieval.version_index")
    def _visible(self, request: SearchRequest) -> _Visible:
        """Return the version's index and the chunks that the caller may read."""
        snapshot = request.snapshot
        try:
            index = self._version_indexes.get(request.kb.name, snapshot, request.seconds_left())
        except IndexDamaged:
            # Maintenance replaced segments since the snapshot was read.
            current = self.snapshot(request.kb.name, snapshot.version, request.seconds_left())
            index = self._version_indexes.get(request.kb.name, current, request.seconds_left())
        visible = self._version_indexes.visible(
            index, request.principals, request.where, snapshot.rights_epoch, request.seconds_left()
        )
        return index, visible

    @span("retrieval.visible")
    def _authorize(
        self, request: SearchRequest, rankings: Rankings, wanted: int, found: _Visible | None
    ) -> list[VisibleChunk]:
        """Return the best `wanted` chunks, if the caller may still read them, each with the places of its near-duplicates."""
        options, ranked = request.snapshot.ranking, rankings.fused()
        groups = [[chunk_id] for chunk_id in ranked]
        if found and options.merge_near_duplicates:
            index, visible = found
            groups = group_near_duplicates(visible, index.analyzer.words(request.question), ranked, wanted)
        chosen = groups[:wanted]
        started = time.perf_counter()
        rows = self._catalog.read_once(
            lambda connection: visible_passages(
                connection, request.kb.name, request.snapshot.version, request.principals,
                [chunk_id for group in groups for chunk_id in group], sum(map(len, chosen)), request.where,
            ),
            request.seconds_left(),
        )  # fmt: skip
        rankings.milliseconds["visible"] = (time.perf_counter() - started) * 1000
        return (
            merge_groups(rows, groups, found[0].chunks_of, options.canonical)
            if len(ranked) > len(groups) and found
            else rows
        )

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
        outcome = attempt(lambda: rerank(request, lambda timeout_s: self._rerankers.get(reranking, timeout_s), chunks))
        if isinstance(outcome, str):
            rankings.failures["rerank"] = outcome
        else:
            chunks = outcome
            rankings.milliseconds["rerank"] = (time.perf_counter() - started) * 1000
        return best_chunks(chunks, limit)


@span("retrieval.lexical")
def _lexical_ranking(request: SearchRequest, index: VersionIndex, visible: VisibleChunks) -> Ranking:
    started = time.perf_counter()
    words = index.analyzer.words(request.question)
    ranked = bm25(visible, words, request.candidates, request.check_deadline)
    return Ranking(dict(ranked), (time.perf_counter() - started) * 1000)
