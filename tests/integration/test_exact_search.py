"""Exact search: comparing the question with every chunk that the caller may see."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

from mindset.application import Installation
from mindset.catalog.transactions import rows
from mindset.embedding.protocol import ModelId
from mindset.retrieval import exact
from tests.corpus import Corpus, document, run_night

QUESTION = "How many rooms has the glacier 1?"


@pytest.fixture
def guests(installation: Installation, corpus: Corpus) -> Corpus:
    """A knowledge base in which guests may see documents that are not among the candidates of an approximate search."""
    corpus.define(acl=["staff"], retrieval={"candidates": 5, "lexical_weight": 0})
    for number in range(30):
        corpus.write(f"staff{number}.md", document(10 * number + 1))
    for number in range(12):
        corpus.write(f"guest{number}.md", "---\nacl: [guest]\n---\n" + document(10 * number + 5))
    run_night(installation, corpus.name)
    return corpus


def nearest(installation: Installation, kb: str, count: int) -> list[str]:
    """Return the guests' chunks that are nearest to the question, by comparing it with all of them."""
    with installation.catalog.reading() as connection:
        model = installation.searcher.snapshot(kb).model
        vectors = rows(
            connection,
            """SELECT DISTINCT e.chunk_id, e.vector FROM embedding e JOIN placement p ON p.chunk_id = e.chunk_id
               WHERE p.kb = %(kb)s AND p.uri LIKE 'guest%%' AND e.model = %(model)s""",
            kb=kb, model=model,
        )  # fmt: skip
    assert len(vectors) == 12 * 4
    question = installation.searcher.embedder(ModelId(model)).embed_query(QUESTION)
    similarity = {chunk: float(np.frombuffer(vector, dtype="<f4") @ question) for chunk, vector in vectors}
    return sorted(similarity, key=lambda chunk: -similarity[chunk])[:count]


@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_all_visible_chunks_are_compared_with_any_batch_size(
    installation: Installation, guests: Corpus, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(exact, "EXACT_BATCH", batch)
    kb = installation.knowledge_base(guests.name)
    for limit in (3, 10):
        result = installation.searcher.search(kb, QUESTION, ["guest"], limit, join=False)
        assert result.degraded == ()
        assert [passage.chunk_ids[0] for passage in result.passages] == nearest(installation, guests.name, limit)


def test_exact_search_that_exceeds_its_deadline_is_reported_as_degraded(
    installation: Installation, guests: Corpus, postgres_url: str
) -> None:
    guests.define(retrieval={"candidates": 5, "deadline_s": 1.0})
    run_night(installation, guests.name)  # with full-text search
    kb = installation.knowledge_base(guests.name)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("LOCK TABLE embedding IN ACCESS EXCLUSIVE MODE")
        result = installation.searcher.search(kb, QUESTION, ["guest"])
    assert result.degraded == ("dense",)
    assert result.milliseconds["total"] < 2_000
    assert installation.searcher.search(kb, QUESTION, ["guest"]).degraded == ()
