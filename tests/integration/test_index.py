"""Segments: verified against Postgres, and rebuilt from it without a model."""

from __future__ import annotations

import numpy as np
import pytest

from mindset.application import Installation
from mindset.catalog.migrations import check
from mindset.catalog.segments import Segment, version_segments
from mindset.catalog.transactions import rows, scalar
from mindset.config.build_options import Embedding
from mindset.embedding.registry import open_embedder
from mindset.errors import ConfigurationError, DimensionMismatch, IndexDamaged, NothingReleased, UnknownVersion
from mindset.pipeline.chunk import chunk
from mindset.pipeline.embed import embed
from mindset.pipeline.index import index
from mindset.pipeline.ingest import ingest
from mindset.pipeline.plan import plan_build
from mindset.pipeline.segments import restore_live
from mindset.vector_index.client import open_client
from tests.corpus import Corpus, ask, begin_build, document, run_night


@pytest.fixture
def segment(installation: Installation, corpus: Corpus) -> Segment:
    corpus.fill(5)
    run_night(installation, corpus.name)
    return only_segment(installation, corpus.name)


def only_segment(installation: Installation, kb: str) -> Segment:
    with installation.catalog.reading() as connection:
        (segment,) = version_segments(connection, kb, 1)
    return segment


def test_missing_and_extra_vectors_are_detected(installation: Installation, segment: Segment) -> None:
    client = open_client(installation.settings.chroma_url or "")
    collection = client.get_collection(segment.collection, embedding_function=None)
    ids = collection.get(include=[])["ids"]
    collection.delete(ids=ids[:2])
    collection.add(ids=["extra"], embeddings=np.ones((1, 256), dtype=np.float32))
    with pytest.raises(IndexDamaged, match="lacks 2 of 20 chunks and holds 1"):
        installation.vectors.check_members(segment.collection, [ids])


def test_damaged_segment_is_rebuilt_by_the_next_night_without_a_model(
    installation: Installation, corpus: Corpus, segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.vectors.drop(segment.collection)

    def fail(*_: object) -> None:
        raise AssertionError("a model was opened")

    monkeypatch.setattr("tests.corpus.open_embedder", fail)
    assert run_night(installation, corpus.name).decision is None
    rebuilt = only_segment(installation, corpus.name)
    assert rebuilt.collection != segment.collection
    assert rebuilt.count == segment.count
    assert ask(installation, corpus.name, "rooms of the glacier 1")[0] == "doc1.md"
    assert restore_live(begin_build(installation, corpus.name), corpus.name, installation.vectors) == ()


def test_segment_without_visible_chunks_does_not_belong_to_the_next_version(
    installation: Installation, corpus: Corpus, segment: Segment
) -> None:
    corpus.write("doc7.md", document(7))
    run_night(installation, corpus.name)
    for number in range(5):
        (corpus.folder / f"doc{number}.md").unlink()
    corpus.write("doc8.md", document(8))
    run_night(installation, corpus.name, allow_deletions=True)
    with installation.catalog.reading() as connection:
        segments = version_segments(connection, corpus.name, 3)
    assert [member.count for member in segments] == [4, 4]
    assert segment.id not in {member.id for member in segments}
    corpus.write("doc1.md", document(1))
    run_night(installation, corpus.name)
    assert ask(installation, corpus.name, "rooms of the glacier 1")[0] == "doc1.md"


def test_segment_of_an_unreleased_version_is_repaired(
    installation: Installation, corpus: Corpus, segment: Segment
) -> None:
    corpus.write("doc7.md", document(7))
    catalog, kb = installation.catalog, installation.knowledge_base(corpus.name)
    build = begin_build(installation, corpus.name)
    ingest(build, kb)
    version = chunk(build, kb, plan_build(catalog, kb)).version
    embed(build, kb, open_embedder(kb.embedding, installation.settings), version)
    index(build, kb, installation.vectors, version)
    with catalog.reading() as connection:
        collection = version_segments(connection, corpus.name, version)[-1].collection
    installation.vectors.drop(collection)
    assert restore_live(build, corpus.name, installation.vectors) == (collection,)
    assert restore_live(build, corpus.name, installation.vectors) == ()


def test_query_vector_with_a_different_dimension_is_rejected(
    installation: Installation, corpus: Corpus, segment: Segment
) -> None:
    with installation.catalog.writing() as connection:
        connection.execute("UPDATE segment SET dimension = 1024 WHERE id = %s", [segment.id])
    with pytest.raises(DimensionMismatch, match="has 1024 dimensions, but the question's vector has 256"):
        ask(installation, corpus.name, "rooms")


def test_configured_dimension_that_the_model_lacks_is_rejected(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(2)
    corpus.define(embedding={"provider": "wordllama", "dimension": 512})
    with pytest.raises((DimensionMismatch, ConfigurationError), match="256"):
        run_night(installation, corpus.name)


def test_search_without_a_release_names_the_command_to_run(installation: Installation, corpus: Corpus) -> None:
    with pytest.raises(NothingReleased, match=f"mindset night {corpus.name}"):
        ask(installation, corpus.name, "rooms")
    kb = installation.knowledge_base(corpus.name)
    with pytest.raises(UnknownVersion, match="no version 7"):
        installation.searcher.search(kb, "rooms", [], version=7)


def test_caller_with_one_visible_document_finds_it(installation: Installation, corpus: Corpus) -> None:
    corpus.define(acl=["staff"], retrieval={"candidates": 5})
    corpus.fill(20)
    corpus.write("guest.md", "---\nacl: [guest]\n---\nThe garden of the visitors opens at nine.")
    run_night(installation, corpus.name)
    assert ask(installation, corpus.name, "How many rooms has the glacier?", "guest") == ["guest.md"]


def test_schema_matches_the_migrations(postgres_url: str) -> None:
    check(postgres_url)


def test_vectors_have_one_partition_per_model(installation: Installation, segment: Segment, corpus: Corpus) -> None:
    with installation.catalog.reading() as connection:
        partitions = rows(
            connection, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'embedding'::regclass"
        )
        count = scalar(connection, "SELECT count(*) FROM embedding")
    assert len(partitions) == 1
    assert count == 20
    assert Embedding().model == "wordllama"
