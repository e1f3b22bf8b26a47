"""Another model or another chunking: everything is built anew beside what is live."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mindset.application import Installation, open_installation
from mindset.config.settings import Settings
from mindset.embedding.registry import open_embedder
from mindset.errors import UnknownVersion
from mindset.pipeline import chunk as chunking
from mindset.pipeline import embed as embedding
from mindset.pipeline.embed import embed
from mindset.pipeline.index import index
from mindset.pipeline.ingest import ingest
from mindset.pipeline.plan import plan_build, rebuild_duty_cycle
from mindset.releases.promotion import roll_back
from tests.corpus import Corpus, ask, document, run_night
from tests.integration.test_maintenance import count, live_segments, segment_with_forgotten_chunks, tidy
from tests.providers.server import ProviderServer

NIM = {"provider": "nim", "model": "nvidia/nv-embedqa-e5-v5", "dimension": 1024}


@pytest.fixture
def with_nim(settings: Settings) -> Iterator[Installation]:
    with (
        ProviderServer() as provider,
        open_installation(settings.model_copy(update={"nim_url": provider.nim_url})) as opened,
    ):
        yield opened


def test_another_model_is_built_complete_beside_the_live_version_and_the_old_one_goes_when_it_retires(
    with_nim: Installation, corpus: Corpus
) -> None:
    corpus.define(keep_versions=2)
    corpus.fill(4)
    run_night(with_nim, corpus.name)
    corpus.define(embedding=NIM)
    night = run_night(with_nim, corpus.name)
    assert (night.embedded, night.decision and night.decision.version) == (16, 2)
    assert count(with_nim, "embedding") == 32, "old and new stand beside each other"
    assert ask(with_nim, corpus.name, "rooms of the bakery 3")
    roll_back(with_nim.catalog, corpus.name, "test", "the old model was better")
    assert ask(with_nim, corpus.name, "rooms of the bakery 3")[0] == "doc3.md"
    for number in (10, 11):
        corpus.write(f"doc{number}.md", document(number))
        run_night(with_nim, corpus.name)
    report = tidy(with_nim, corpus.name)
    assert (report.retired, report.embeddings_deleted) == ((1, 2), 16)
    assert tidy(with_nim, corpus.name).embeddings_deleted == 0
    assert ask(with_nim, corpus.name, "rooms of the bakery 3")


def test_vectors_of_a_model_that_was_given_up_before_its_version_was_finished_are_forgotten(
    with_nim: Installation, corpus: Corpus
) -> None:
    corpus.fill(4)
    run_night(with_nim, corpus.name)
    corpus.define(embedding=NIM)
    kb = with_nim.knowledge_base(corpus.name)
    version = chunking.chunk(with_nim.catalog, kb, plan_build(with_nim.catalog, kb)).version
    embed(with_nim.catalog, kb, open_embedder(kb.embedding, with_nim.settings), version)
    corpus.define(embedding={"provider": "wordllama"})
    run_night(with_nim, corpus.name)
    assert tidy(with_nim, corpus.name).embeddings_deleted == 16
    assert ask(with_nim, corpus.name, "rooms of the bakery 3")[0] == "doc3.md"


def test_a_model_that_changes_in_the_middle_of_a_night_stops_it_and_the_next_one_goes_on_with_the_new(
    with_nim: Installation, corpus: Corpus
) -> None:
    corpus.fill(4)
    run_night(with_nim, corpus.name)
    corpus.write("doc9.md", document(9))
    kb = with_nim.knowledge_base(corpus.name)
    ingest(with_nim.catalog, kb)
    version = chunking.chunk(with_nim.catalog, kb, plan_build(with_nim.catalog, kb)).version
    corpus.define(embedding=NIM)
    kb = with_nim.knowledge_base(corpus.name)
    embedder = open_embedder(kb.embedding, with_nim.settings)
    with pytest.raises(UnknownVersion, match="was begun with the model wordllama:wordllama:256"):
        embed(with_nim.catalog, kb, embedder, version)
    with pytest.raises(UnknownVersion, match="Run the night again"):
        index(with_nim.catalog, kb, with_nim.vectors, version)
    assert run_night(with_nim, corpus.name).embedded == 20
    assert {each.dimension for each in live_segments(with_nim, corpus.name)} == {1024}


def test_a_full_rebuild_that_was_killed_goes_on_where_it_was(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "BATCH_DOCUMENTS", 2)
    corpus.fill(8)
    run_night(installation, corpus.name)
    corpus.define(chunking={"tokens": 60})
    catalog, kb = installation.catalog, installation.knowledge_base(corpus.name)

    def killed(done: int, _: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chunking.chunk(catalog, kb, plan_build(catalog, kb), progress=killed)
    left = len(plan_build(catalog, kb).to_chunk)
    assert 0 < left < 8
    assert ask(installation, corpus.name, "rooms of the bakery 3")[0] == "doc3.md", "what is live is untouched"
    night = run_night(installation, corpus.name)
    assert night.decision
    assert night.decision.version == 2
    assert ask(installation, corpus.name, "rooms of the bakery 3")[0] == "doc3.md"


def test_a_full_rebuild_beside_a_live_version_rests_as_the_settings_say(
    installation: Installation, corpus: Corpus
) -> None:
    catalog, kb = installation.catalog, installation.knowledge_base(corpus.name)
    assert rebuild_duty_cycle(catalog, kb, 0.25) == 1, "the first build disturbs nobody"
    corpus.fill(2)
    run_night(installation, corpus.name)
    assert rebuild_duty_cycle(catalog, kb, 0.25) == 1, "nor does a night"
    corpus.define(chunking={"tokens": 60})
    assert rebuild_duty_cycle(catalog, installation.knowledge_base(corpus.name), 0.25) == 0.25


def test_cutting_anew_leaves_no_mostly_dead_segment(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(8)
    run_night(installation, corpus.name)
    corpus.define(chunking={"tokens": 60})
    night = run_night(installation, corpus.name)
    assert night.indexed
    assert (night.indexed.segments, night.indexed.merged) == (1, 1)


def test_a_segment_is_rebuilt_without_a_dead_text_that_came_back_under_another_model(
    with_nim: Installation, corpus: Corpus
) -> None:
    segment = segment_with_forgotten_chunks(with_nim, corpus)
    corpus.define(embedding=NIM)
    corpus.write("doc3.md", document(3))
    run_night(with_nim, corpus.name)
    with_nim.vectors.drop(segment.collection)
    assert tidy(with_nim, corpus.name).rebuilt == (segment.collection,)
    assert tidy(with_nim, corpus.name).rebuilt == ()
    roll_back(with_nim.catalog, corpus.name, "test", "the old model was better")
    assert ask(with_nim, corpus.name, "rooms of the glacier 1")[0] == "doc1.md"


def test_a_run_that_lost_its_lock_places_nothing_in_a_version_that_another_goes_on_with(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "BATCH_DOCUMENTS", 1)
    corpus.fill(8)
    catalog, kb = installation.catalog, installation.knowledge_base(corpus.name)
    ingest(catalog, kb)
    placed: list[int] = []

    def overtaken(done: int, _: int) -> None:
        if done == 1:
            corpus.write("doc7.md", document(17))
            ingest(catalog, kb)
            chunking.chunk(catalog, kb, plan_build(catalog, kb), flow_run="later")
        placed.append(done)

    with pytest.raises(UnknownVersion, match="another run has taken over the build"):
        chunking.chunk(catalog, kb, plan_build(catalog, kb), flow_run="earlier", progress=overtaken)
    assert len(placed) < 8
    assert plan_build(catalog, kb).to_chunk == ()
    run_night(installation, corpus.name)
    assert ask(installation, corpus.name, "rooms of the lighthouse 17")[0] == "doc7.md"


def test_texts_are_embedded_page_by_page(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_PAGE_TEXTS", 4)
    corpus.fill(8)
    assert run_night(installation, corpus.name).embedded == 32
    assert count(installation, "embedding") == 32
