"""The indexes of versions in memory: loading, sharing, eviction, and what happens while versions change."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import closing
from typing import Any

import pytest

from mindset.application import Installation
from mindset.catalog.pool import Catalog
from mindset.catalog.postings import delete_unused_postings, missing_postings, read_postings
from mindset.catalog.segments import version_segments
from mindset.errors import IndexDamaged, ServiceUnavailable
from mindset.pipeline.maintenance import maintain
from mindset.retrieval.search import Searcher
from mindset.retrieval.version_index import VersionIndexes
from tests.corpus import Corpus, ask, begin_build, document, run_night
from tests.waiting import wait_until

QUESTION = "How many rooms has the glacier 1?"


class Immediately(Executor):
    """Runs work before `submit` returns."""

    def submit(self, work: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments, **options))
        except Exception as error:  # noqa: BLE001  # as executors do
            future.set_exception(error)
        return future


@pytest.fixture
def indexes(installation: Installation) -> Iterator[VersionIndexes]:
    """Indexes with room for one version."""
    with closing(VersionIndexes(installation.catalog, 1)) as opened:
        yield opened


@pytest.fixture
def two_versions(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.fill(3)
    run_night(installation, corpus.name)
    corpus.write("doc5.md", document(5))
    run_night(installation, corpus.name)
    return corpus


def test_index_that_is_loaded_at_once_does_not_wait_for_itself(
    installation: Installation, two_versions: Corpus, indexes: VersionIndexes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "_threads", Immediately())
    snapshot = installation.searcher.snapshot(two_versions.name)
    assert indexes.get(two_versions.name, snapshot, 60) is indexes.get(two_versions.name, snapshot, 60)


def test_least_recently_used_index_is_forgotten_and_loaded_again(
    installation: Installation, two_versions: Corpus, indexes: VersionIndexes
) -> None:
    name = two_versions.name
    first, second = (installation.searcher.snapshot(name, number) for number in (1, 2))
    one = indexes.get(name, first, 60)
    two = indexes.get(name, second, 60)
    assert indexes.get(name, second, 60) is two
    assert indexes.get(name, first, 60) is not one


def test_failed_load_is_tried_again(
    installation: Installation, two_versions: Corpus, indexes: VersionIndexes, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = installation.searcher.snapshot(two_versions.name)
    with monkeypatch.context() as broken:
        broken.setattr(indexes, "_catalog", Catalog("postgresql://127.0.0.1:1/none"))
        with pytest.raises(ServiceUnavailable, match="pool"):
            indexes.get(two_versions.name, snapshot, 60)
    # For a moment, the failure is reported again.
    assert wait_until(lambda: indexes.get(two_versions.name, snapshot, 60), 30, retry_on=(ServiceUnavailable,)).size > 0


def test_index_of_replaced_segments_is_not_used(
    installation: Installation, two_versions: Corpus, indexes: VersionIndexes
) -> None:
    snapshot = installation.searcher.snapshot(two_versions.name)
    with installation.catalog.writing() as connection:
        connection.execute("DELETE FROM postings")
        connection.execute("DELETE FROM segment_chunk")
    with pytest.raises(IndexDamaged, match=r"lack .* of its chunks"):
        indexes.get(two_versions.name, snapshot, 60)


def test_missing_postings_are_built_for_a_search_and_stored_by_the_next_night(
    installation: Installation, two_versions: Corpus
) -> None:
    name = two_versions.name
    expected = ask(installation, name, QUESTION, limit=20)
    with installation.catalog.writing() as connection:
        connection.execute("DELETE FROM postings")
    with closing(Searcher(installation.catalog, installation.vectors, installation.settings)) as searcher:
        result = searcher.search(installation.knowledge_base(name), QUESTION, [], 20, deadline_s=60)
    assert ([passage.place.uri for passage in result.passages], result.degraded) == (expected, ())
    with installation.catalog.reading() as connection:
        assert len(missing_postings(connection, name)) == 2
    run_night(installation, name)
    with installation.catalog.reading() as connection:
        assert missing_postings(connection, name) == []


def test_maintenance_deletes_postings_that_no_version_needs(installation: Installation, two_versions: Corpus) -> None:
    name = two_versions.name
    two_versions.define(chunking={"language": "german"})
    run_night(installation, name)
    with begin_build(installation, name).writing() as connection:
        segments = [segment.id for segment in version_segments(connection, name, 3)]
        assert all(read_postings(connection, segment, "words/2:german") for segment in segments)
        assert delete_unused_postings(connection, name) == 0, "the older versions need the English ones"
        connection.execute("UPDATE version SET state = 'retired' WHERE number < 3")
    maintain(begin_build(installation, name), installation.knowledge_base(name), installation.vectors)
    with installation.catalog.reading() as connection:
        segments = [segment.id for segment in version_segments(connection, name, 3)]
        assert all(read_postings(connection, segment, "words/2:german") for segment in segments)
        assert not any(read_postings(connection, segment, "words/2:english") for segment in segments)
