"""Maintenance: deletes unused data, compacts segments and rebuilds damaged ones."""

from __future__ import annotations

import threading

import numpy as np
import psycopg
import pytest

from mindset.application import Installation
from mindset.catalog.documents import take_down
from mindset.catalog.installation import own_id
from mindset.catalog.releases import live_version
from mindset.catalog.segments import Segment, attach_segments, mark_dropped, segment_members, version_segments
from mindset.catalog.transactions import rows, scalar
from mindset.catalog.versions import set_state
from mindset.errors import IndexDamaged, UnknownVersion
from mindset.pipeline.maintenance import MaintenanceReport, maintain
from mindset.pipeline.segments import restore_live
from mindset.releases.promotion import roll_back
from mindset.vector_index.chroma import ChromaIndex
from mindset.vector_index.client import open_client
from tests.corpus import Corpus, ask, begin_build, document, run_night


def run_maintenance(installation: Installation, kb: str) -> MaintenanceReport:
    with installation.catalog.build_lock(kb) as lock:
        return maintain(lock.build, installation.knowledge_base(kb), installation.vectors)


def live_segments(installation: Installation, kb: str) -> list[Segment]:
    with installation.catalog.reading() as connection:
        return version_segments(connection, kb, live_version(connection, kb) or 0)


def segment_with_deleted_chunks(installation: Installation, corpus: Corpus) -> Segment:
    """Return a segment of a live version that still holds the chunks of doc3.md, which Postgres no longer stores."""
    corpus.define(keep_versions=2)
    corpus.fill(10)
    run_night(installation, corpus.name)
    (corpus.folder / "doc3.md").unlink()
    for number in (10, 11, 12):
        corpus.write(f"doc{number}.md", document(number))
        run_night(installation, corpus.name)
    run_maintenance(installation, corpus.name)
    return max(live_segments(installation, corpus.name), key=lambda segment: segment.count)


def row_count(installation: Installation, table: str) -> int:
    with installation.catalog.reading() as connection:
        return int(scalar(connection, f"SELECT count(*) FROM {table}"))


def test_unused_collections_are_dropped_and_damaged_segments_are_rebuilt(
    installation: Installation, corpus: Corpus
) -> None:
    corpus.define(keep_versions=2)
    corpus.fill(20)
    run_night(installation, corpus.name)
    for number in range(20, 24):
        corpus.write(f"doc{number}.md", document(number))
        run_night(installation, corpus.name)
    with installation.catalog.reading() as connection:
        orphan = f"{own_id(connection)}-{corpus.name}-00000000-0000-0000-0000-000000000000"
    list(installation.vectors.write(orphan, [(["a"], np.eye(1, 256, dtype=np.float32))]))
    installation.vectors.drop(live_segments(installation, corpus.name)[0].collection)
    report = run_maintenance(installation, corpus.name)
    assert report.retired == (1, 2, 3)
    assert report.dropped == 3, "the orphan, and two segments that nightly runs have merged"
    assert len(report.rebuilt) == 1
    assert orphan not in installation.vectors.collections()
    assert ask(installation, corpus.name, "rooms of the glacier 1")[0] == "doc1.md"
    second = run_maintenance(installation, corpus.name)
    assert (second.retired, second.dropped, second.rebuilt) == ((), 0, ())


def test_version_has_at_most_three_segments(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(20)
    run_night(installation, corpus.name)
    for number in range(20, 30):
        corpus.write(f"doc{number}.md", document(number))
        night = run_night(installation, corpus.name)
        assert night.indexed
        assert night.indexed.segments == len(live_segments(installation, corpus.name)) <= 3
    for number in (0, 20, 29):
        assert ask(installation, corpus.name, document(number)[:40])[0] == f"doc{number}.md"


def test_night_does_not_rewrite_the_large_segment(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(20)
    run_night(installation, corpus.name)
    (large,) = live_segments(installation, corpus.name)
    for number in range(20, 26):
        corpus.write(f"doc{number}.md", document(number))
        run_night(installation, corpus.name)
    assert large in live_segments(installation, corpus.name)


def test_compaction_drops_dead_chunks_and_keeps_search_results(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(20)
    run_night(installation, corpus.name)
    for number in range(6):
        corpus.write(f"doc{number}.md", document(number).replace("rooms", "halls"))
    run_night(installation, corpus.name)
    report = run_maintenance(installation, corpus.name)
    (compaction,) = report.compacted
    assert (compaction.version, compaction.segments) == (2, 2)
    assert compaction.dead > 0
    (segment,) = live_segments(installation, corpus.name)
    with installation.catalog.reading() as connection:
        visible = {chunk for (chunk,) in rows(connection, "SELECT chunk_id FROM placement WHERE valid_to IS NULL")}
        assert set(segment_members(connection, segment.id)) == visible
    for number in range(20):
        assert ask(installation, corpus.name, document(number)[:40])[0] == f"doc{number}.md"
    assert run_maintenance(installation, corpus.name).compacted == ()


def test_rollback_to_a_retained_version_works_after_compaction(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(6)
    run_night(installation, corpus.name)
    for number in range(6):
        corpus.write(f"doc{number}.md", document(number + 10))
    run_night(installation, corpus.name)
    run_maintenance(installation, corpus.name)
    roll_back(installation.catalog, corpus.name, "test", "it was better")
    assert ask(installation, corpus.name, "rooms of the glacier 1")[0] == "doc1.md"
    assert restore_live(begin_build(installation, corpus.name), corpus.name, installation.vectors) == ()


def test_searches_during_compaction_are_not_degraded(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(10)
    run_night(installation, corpus.name)
    kb = installation.knowledge_base(corpus.name)
    stop, search_lock = threading.Event(), threading.Lock()
    degraded: list[str] = []

    def search_repeatedly() -> None:
        while not stop.is_set():
            with search_lock:
                result = installation.searcher.search(kb, "How many rooms has the glacier 1?", [])
            degraded.extend(result.failures.values())

    thread = threading.Thread(target=search_repeatedly)
    thread.start()
    for number in range(10, 16):
        corpus.write(f"doc{number}.md", document(number))
        run_night(installation, corpus.name)
        # Retire the old versions, so that compaction drops their segments. The lock waits for a search that uses one.
        with search_lock, installation.catalog.writing() as connection:
            connection.execute("UPDATE version SET state = 'retired' WHERE number < %s", [number - 8])
        run_maintenance(installation, corpus.name)
    stop.set()
    thread.join()
    assert degraded == []


def test_texts_outside_retained_versions_are_deleted_with_their_vectors(
    installation: Installation, corpus: Corpus
) -> None:
    corpus.define(keep_versions=2)
    corpus.fill(4)
    corpus.write("secret.md", "The vault code is written on the ceiling.")
    run_night(installation, corpus.name)
    (corpus.folder / "secret.md").unlink()
    for number in (10, 11, 12):
        corpus.write(f"doc{number}.md", document(number))
        run_night(installation, corpus.name)
    report = run_maintenance(installation, corpus.name)
    assert report.retired == (1, 2)
    deleted = report.deleted
    assert (deleted.placements, deleted.revisions, deleted.documents, deleted.chunks) == (1, 1, 1, 1)
    assert report.embeddings_deleted == 1
    for table in ("revision", "chunk"):
        assert row_count(installation, f"{table} WHERE text LIKE '%%vault%%'") == 0
    assert row_count(installation, "embedding") == row_count(installation, "chunk")
    with pytest.raises(UnknownVersion, match="no version 1, or it is retired"):
        installation.searcher.search(installation.knowledge_base(corpus.name), "vault", [], version=1)


def test_deleted_document_that_returns_is_embedded_and_served_again(installation: Installation, corpus: Corpus) -> None:
    corpus.define(keep_versions=2)
    corpus.fill(8)
    run_night(installation, corpus.name)
    (corpus.folder / "doc3.md").unlink()
    for number in (10, 11, 12):
        corpus.write(f"doc{number}.md", document(number))
        run_night(installation, corpus.name)
    assert run_maintenance(installation, corpus.name).deleted.documents == 1
    corpus.write("doc3.md", document(3))
    assert run_night(installation, corpus.name).embedded == 4
    assert ask(installation, corpus.name, "rooms of the bakery 3")[0] == "doc3.md"


def test_taken_down_document_stays_down_after_its_texts_are_deleted(installation: Installation, corpus: Corpus) -> None:
    corpus.define(keep_versions=2)
    corpus.fill(4)
    run_night(installation, corpus.name)
    with installation.catalog.writing() as connection:
        take_down(connection, corpus.name, "doc3.md", "names a customer")
    (corpus.folder / "doc3.md").unlink()
    for number in (10, 11, 12):
        corpus.write(f"doc{number}.md", document(number))
        run_night(installation, corpus.name)
    run_maintenance(installation, corpus.name)
    assert row_count(installation, "revision WHERE uri = 'doc3.md'") == 0
    corpus.write("doc3.md", document(3))
    run_night(installation, corpus.name)
    assert "doc3.md" not in ask(installation, corpus.name, "rooms of the bakery 3", limit=20)


def test_segment_is_rebuilt_without_chunks_whose_vectors_were_deleted(
    installation: Installation, corpus: Corpus
) -> None:
    largest = segment_with_deleted_chunks(installation, corpus)
    installation.vectors.drop(largest.collection)
    assert len(run_maintenance(installation, corpus.name).rebuilt) == 1
    assert run_maintenance(installation, corpus.name).rebuilt == ()
    assert restore_live(begin_build(installation, corpus.name), corpus.name, installation.vectors) == ()
    assert ask(installation, corpus.name, "rooms of the glacier 1")[0] == "doc1.md"


def test_segment_with_a_wrong_vector_is_detected_and_rebuilt(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(4)
    run_night(installation, corpus.name)
    (segment,) = live_segments(installation, corpus.name)
    client = open_client(installation.settings.chroma_url or "")
    collection = client.get_collection(segment.collection, embedding_function=None)
    damaged = collection.get(include=[])["ids"][7]
    collection.update(ids=[damaged], embeddings=np.ones((1, 256), dtype=np.float32))
    assert run_maintenance(installation, corpus.name).rebuilt == (segment.collection,)
    assert run_maintenance(installation, corpus.name).rebuilt == ()


def test_vector_missing_from_postgres_is_reported(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(4)
    run_night(installation, corpus.name)
    corpus.write("doc0.md", document(20))
    run_night(installation, corpus.name)
    with installation.catalog.writing() as connection:
        connection.execute(
            "DELETE FROM embedding WHERE chunk_id = (SELECT max(chunk_id) FROM placement WHERE valid_to IS NULL)"
        )
    with pytest.raises(UnknownVersion, match=r"Postgres lacks the vectors of 1 texts of segment \d+"):
        run_maintenance(installation, corpus.name)


def test_damaged_segment_is_not_replaced_while_its_vectors_are_missing(
    installation: Installation, corpus: Corpus
) -> None:
    corpus.fill(4)
    run_night(installation, corpus.name)
    (segment,) = live_segments(installation, corpus.name)
    with installation.catalog.writing() as connection:
        connection.execute("DELETE FROM embedding")
    installation.vectors.drop(segment.collection)
    with pytest.raises(UnknownVersion, match="16 texts of segment"):
        run_maintenance(installation, corpus.name)
    assert live_segments(installation, corpus.name) == [segment]


def test_dropped_segment_cannot_be_attached_to_a_version(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    (segment,) = live_segments(installation, corpus.name)
    build = begin_build(installation, corpus.name)
    with build.writing() as connection:
        mark_dropped(connection, segment.id)
    with pytest.raises(IndexDamaged, match="were dropped meanwhile"), build.writing() as connection:
        attach_segments(connection, corpus.name, 1, [segment.id])


def test_retired_version_stays_retired(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    with installation.catalog.writing() as connection:
        connection.execute("UPDATE version SET state = 'retired'")
        set_state(connection, corpus.name, 1, "rejected")
    assert row_count(installation, "version WHERE state = 'retired'") == 1


def test_failed_rebuild_does_not_prevent_other_rebuilds(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(10)
    run_night(installation, corpus.name)
    corpus.write("doc10.md", document(10))
    run_night(installation, corpus.name)
    large, small = live_segments(installation, corpus.name)
    with installation.catalog.writing() as connection:
        connection.execute(
            "DELETE FROM embedding WHERE chunk_id = (SELECT max(chunk_id) FROM segment_chunk WHERE segment_id = %s)",
            [large.id],
        )
    for segment in (large, small):
        installation.vectors.drop(segment.collection)
    with pytest.raises(UnknownVersion, match=f"Postgres lacks the vectors of 1 texts of segment {large.id}"):
        run_maintenance(installation, corpus.name)
    rebuilt = live_segments(installation, corpus.name)[1]
    assert installation.vectors.count(rebuilt.collection) == small.count


def test_single_chroma_error_does_not_trigger_a_rebuild(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    count_of, failures = ChromaIndex.count, iter([IndexDamaged("once")])

    def flaky(index: ChromaIndex, collection: str) -> int:
        for failure in failures:
            raise failure
        return count_of(index, collection)

    monkeypatch.setattr(ChromaIndex, "count", flaky)
    assert restore_live(begin_build(installation, corpus.name), corpus.name, installation.vectors) == ()


def test_search_with_an_older_snapshot_uses_the_replacement_segment(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(4)
    run_night(installation, corpus.name)
    corpus.write("doc4.md", document(4))
    run_night(installation, corpus.name)
    kb = installation.knowledge_base(corpus.name)
    snapshot = installation.searcher.snapshot(kb.name)
    (segment, *_) = snapshot.segments
    installation.vectors.drop(segment.collection)
    assert restore_live(begin_build(installation, corpus.name), corpus.name, installation.vectors)
    result = installation.searcher.search(kb, "rooms of the bakery 3", [], snapshot=snapshot)
    assert (result.degraded, result.passages[0].place.uri) == ((), "doc3.md")


def test_night_and_maintenance_do_not_wait_for_a_backup(
    installation: Installation, corpus: Corpus, postgres_url: str
) -> None:
    corpus.fill(2)
    with psycopg.connect(postgres_url) as backup:
        backup.execute("LOCK TABLE answer_log, embedding IN ACCESS SHARE MODE")
        run_night(installation, corpus.name)
        report = run_maintenance(installation, corpus.name)
        assert (report.checked, report.postponed) == (1, ("partitions of the answer log",))
    with installation.catalog.reading() as connection:
        assert scalar(connection, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'answer_log'::regclass") == 1
