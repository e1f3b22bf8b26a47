"""Full rebuilds after the embedding model or the chunking changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mindset.application import Installation, open_installation
from mindset.config.settings import Settings
from mindset.embedding.registry import open_embedder
from mindset.errors import BuildTakenOver, UnknownVersion
from mindset.pipeline import chunk as chunking
from mindset.pipeline import embed as embedding
from mindset.pipeline.embed import embed
from mindset.pipeline.index import index
from mindset.pipeline.ingest import ingest
from mindset.pipeline.plan import plan_build, rebuild_duty_cycle
from mindset.releases.promotion import roll_back
from tests.corpus import Corpus, ask, begin_build, document, run_night
from tests.integration.test_maintenance import live_segments, row_count, run_maintenance, segment_with_deleted_chunks
from tests.providers.server import ProviderServer

NIM = {"provider": "nim", "model": "nvidia/nv-embedqa-e5-v5", "dimension": 1024}


@pytest.fixture
def with_nim(settings: Settings) -> Iterator[Installation]:
    with (
        ProviderServer() as provider,
        open_installation(settings.model_copy(update={"nim_url": provider.nim_url})) as opened,
    ):
        yield opened


def test_new_model_builds_a_complete_version_and_retirement_deletes_the_old_vectors(
    with_nim: Installation, corpus: Corpus
) -> None:
    corpus.define(keep_versions=2)
    corpus.fill(4)
    run_night(with_nim, corpus.name)
    corpus.define(embedding=NIM)
    night = run_night(with_nim, corpus.name)
    assert (night.embedded, night.decision and night.decision.version) == (16, 2)
    assert row_count(with_nim, "embedding") == 32, "vectors of both models are stored"
    assert ask(with_nim, corpus.name, "rooms of the bakery 3")
    roll_back(with_nim.catalog, corpus.name, "test", "the old model was better")
    assert ask(with_nim, corpus.name, "rooms of the bakery 3")[0] == "doc3.md"
    for number in (10, 11):
        corpus.write(f"doc{number}.md", document(number))
        run_night(with_nim, corpus.name)
    report = run_maintenance(with_nim, corpus.name)
    assert (report.retired, report.embeddings_deleted) == ((1, 2), 16)
    assert run_maintenance(with_nim, corpus.name).embeddings_deleted == 0
    assert ask(with_nim, corpus.name, "rooms of the bakery 3")


def test_vectors_of_an_abandoned_build_are_deleted(with_nim: Installation, corpus: Corpus) -> None:
    corpus.fill(4)
    run_night(with_nim, corpus.name)
    corpus.define(embedding=NIM)
    kb = with_nim.knowledge_base(corpus.name)
    build = begin_build(with_nim, corpus.name)
    version = chunking.chunk(build, kb, plan_build(with_nim.catalog, kb)).version
    embed(build, kb, open_embedder(kb.embedding, with_nim.settings), version)
    corpus.define(embedding={"provider": "wordllama"})
    run_night(with_nim, corpus.name)
    assert run_maintenance(with_nim, corpus.name).embeddings_deleted == 16
    assert ask(with_nim, corpus.name, "rooms of the bakery 3")[0] == "doc3.md"


def test_model_change_during_a_night_stops_it_and_the_next_night_uses_the_new_model(
    with_nim: Installation, corpus: Corpus
) -> None:
    corpus.fill(4)
    run_night(with_nim, corpus.name)
    corpus.write("doc9.md", document(9))
    kb = with_nim.knowledge_base(corpus.name)
    build = begin_build(with_nim, corpus.name)
    ingest(build, kb)
    version = chunking.chunk(build, kb, plan_build(with_nim.catalog, kb)).version
    corpus.define(embedding=NIM)
    kb = with_nim.knowledge_base(corpus.name)
    embedder = open_embedder(kb.embedding, with_nim.settings)
    with pytest.raises(UnknownVersion, match="was begun with the model wordllama:wordllama:256"):
        embed(build, kb, embedder, version)
    with pytest.raises(UnknownVersion, match="Run the night again"):
        index(build, kb, with_nim.vectors, version)
    assert run_night(with_nim, corpus.name).embedded == 20
    assert {segment.dimension for segment in live_segments(with_nim, corpus.name)} == {1024}


def test_interrupted_rebuild_resumes(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "BATCH_DOCUMENTS", 2)
    corpus.fill(8)
    run_night(installation, corpus.name)
    corpus.define(chunking={"tokens": 60})
    catalog, kb = installation.catalog, installation.knowledge_base(corpus.name)

    def interrupt(done: int, _: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chunking.chunk(begin_build(installation, corpus.name), kb, plan_build(catalog, kb), progress=interrupt)
    remaining = len(plan_build(catalog, kb).to_chunk)
    assert 0 < remaining < 8
    assert ask(installation, corpus.name, "rooms of the bakery 3")[0] == "doc3.md", "the live version is unchanged"
    night = run_night(installation, corpus.name)
    assert night.decision
    assert night.decision.version == 2
    assert ask(installation, corpus.name, "rooms of the bakery 3")[0] == "doc3.md"


def test_only_a_rebuild_of_a_live_knowledge_base_has_a_reduced_duty_cycle(
    installation: Installation, corpus: Corpus
) -> None:
    catalog, kb = installation.catalog, installation.knowledge_base(corpus.name)
    assert rebuild_duty_cycle(catalog, kb, 0.25) == 1, "the first build is not throttled"
    corpus.fill(2)
    run_night(installation, corpus.name)
    assert rebuild_duty_cycle(catalog, kb, 0.25) == 1, "an ordinary night is not throttled"
    corpus.define(chunking={"tokens": 60})
    assert rebuild_duty_cycle(catalog, installation.knowledge_base(corpus.name), 0.25) == 0.25


def test_changed_chunking_leaves_no_mostly_dead_segment(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(8)
    run_night(installation, corpus.name)
    corpus.define(chunking={"tokens": 60})
    night = run_night(installation, corpus.name)
    assert night.indexed
    assert (night.indexed.segments, night.indexed.merged) == (1, 1)


def test_segment_is_rebuilt_without_a_dead_chunk_that_returned_under_another_model(
    with_nim: Installation, corpus: Corpus
) -> None:
    segment = segment_with_deleted_chunks(with_nim, corpus)
    corpus.define(embedding=NIM)
    corpus.write("doc3.md", document(3))
    run_night(with_nim, corpus.name)
    with_nim.vectors.drop(segment.collection)
    assert run_maintenance(with_nim, corpus.name).rebuilt == (segment.collection,)
    assert run_maintenance(with_nim, corpus.name).rebuilt == ()
    roll_back(with_nim.catalog, corpus.name, "test", "the old model was better")
    assert ask(with_nim, corpus.name, "rooms of the glacier 1")[0] == "doc1.md"


def test_run_that_lost_its_lock_adds_nothing_to_a_build_taken_over_by_another(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "BATCH_DOCUMENTS", 1)
    corpus.fill(8)
    catalog, kb = installation.catalog, installation.knowledge_base(corpus.name)
    earlier = begin_build(installation, corpus.name)
    ingest(earlier, kb)
    progress_calls: list[int] = []

    def take_over(done: int, _: int) -> None:
        if done == 1:
            corpus.write("doc7.md", document(17))
            later = begin_build(installation, corpus.name)
            ingest(later, kb)
            chunking.chunk(later, kb, plan_build(catalog, kb))
        progress_calls.append(done)

    with pytest.raises(BuildTakenOver, match=r"Build 1 of .* was taken over by build 2"):
        chunking.chunk(earlier, kb, plan_build(catalog, kb), progress=take_over)
    assert len(progress_calls) < 8
    assert plan_build(catalog, kb).to_chunk == ()
    run_night(installation, corpus.name)
    assert ask(installation, corpus.name, "rooms of the lighthouse 17")[0] == "doc7.md"


def test_texts_are_embedded_in_pages(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_PAGE_TEXTS", 4)
    corpus.fill(8)
    assert run_night(installation, corpus.name).embedded == 32
    assert row_count(installation, "embedding") == 32
