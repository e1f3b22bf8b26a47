"""Build tokens: a run that lost its build cannot write, whatever it was about to do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

import mindset
from mindset.application import Installation
from mindset.catalog.build import Build
from mindset.catalog.build_lock import BuildLock
from mindset.catalog.segments import Segment, unfinished_segments
from mindset.catalog.transactions import scalar
from mindset.embedding.registry import open_embedder
from mindset.errors import BuildInProgress, BuildTakenOver, IndexDamaged, ServiceUnavailable
from mindset.evaluation.evaluate import evaluate
from mindset.pipeline import index as indexing
from mindset.pipeline import maintenance, segments
from mindset.pipeline.chunk import chunk
from mindset.pipeline.embed import embed
from mindset.pipeline.index import index
from mindset.pipeline.ingest import ingest
from mindset.pipeline.maintenance import maintain
from mindset.pipeline.plan import plan_build
from mindset.pipeline.segments import drop_segments, fill_segment, restore_live, restore_segment
from mindset.releases.promotion import deploy
from tests.corpus import Corpus, ask, begin_build, document, run_night
from tests.faults.chroma import DirectChroma
from tests.faults.invariants import check_invariants, check_segments
from tests.waiting import wait_until

Stages = dict[str, Callable[[Build], object]]


@pytest.fixture
def stages(installation: Installation, corpus: Corpus) -> Stages:
    """Every stage, and maintenance, of a knowledge base with one live version and changed documents."""
    corpus.fill(4)
    run_night(installation, corpus.name)
    corpus.write("doc4.md", document(4))
    (corpus.folder / "doc0.md").unlink()
    kb, catalog, vectors = installation.knowledge_base(corpus.name), installation.catalog, installation.vectors
    embedder = open_embedder(kb.embedding, installation.settings)
    return {
        "ingest": lambda build: ingest(build, kb, allow_deletions=True),
        "chunk": lambda build: chunk(build, kb, plan_build(catalog, kb)),
        "embed": lambda build: embed(build, kb, embedder, 2),
        "index": lambda build: index(build, kb, vectors, 2),
        "evaluate": lambda build: evaluate(build, kb, installation.searcher, 2),
        "deploy": lambda build: deploy(build, kb.name, newest_evaluation(installation), "test"),
        "maintain": lambda build: maintain(build, kb, vectors),
    }


def newest_evaluation(installation: Installation) -> int:
    with installation.catalog.reading() as connection:
        return int(connection.execute("SELECT max(id) FROM evaluation").fetchall()[0][0])


def contents(url: str) -> dict[str, list[str]]:
    """Return all rows of all tables but the token's own."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            """SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
               AND relname <> 'build'"""
        ).fetchall()
        return {table: sorted(str(row) for row in connection.execute(f"SELECT * FROM {table}")) for (table,) in tables}


@pytest.mark.parametrize("stage", ["ingest", "chunk", "embed", "index", "evaluate", "deploy", "maintain"])
def test_orphan_of_any_stage_writes_nothing(
    installation: Installation, corpus: Corpus, postgres_url: str, stages: Stages, stage: str
) -> None:
    orphan = begin_build(installation, corpus.name)
    for name, run in stages.items():
        if name == stage:
            break
        run(orphan)
    current = begin_build(installation, corpus.name)
    before, collections = contents(postgres_url), DirectChroma(installation.settings.chroma_url or "")
    names = collections.collections(corpus.name)
    with pytest.raises(BuildTakenOver, match=f"Build 2 of {corpus.name} was taken over by build 3"):
        stages[stage](orphan)
    assert contents(postgres_url) == before
    assert collections.collections(corpus.name) == names
    stages[stage](current)


def test_orphan_repairs_nothing(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    orphan = begin_build(installation, corpus.name)
    begin_build(installation, corpus.name)
    installation.vectors.drop(installation.searcher.snapshot(corpus.name).segments[0].collection)
    with pytest.raises(BuildTakenOver):
        restore_live(orphan, corpus.name, installation.vectors)


def test_orphan_that_fills_a_segment_cannot_finish_the_version_of_another_build(
    installation: Installation, corpus: Corpus, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan = begin_build(installation, corpus.name)
    for stage in ("ingest", "chunk", "embed"):
        stages[stage](orphan)
    fill, nights = fill_segment, iter([True])

    def fill_slowly(*arguments: object, **named: object) -> None:
        fill(*arguments, **named)  # type: ignore[arg-type]
        for _ in nights:  # the next night starts, and places more documents in the same version
            corpus.write("doc5.md", document(5))
            later = begin_build(installation, corpus.name)
            stages["ingest"](later)
            stages["chunk"](later)

    monkeypatch.setattr(indexing, "fill_segment", fill_slowly)
    with pytest.raises(BuildTakenOver):
        stages["index"](orphan)
    monkeypatch.undo()
    run_night(installation, corpus.name)
    check_invariants(installation, corpus.name, corpus.folder)
    assert ask(installation, corpus.name, "rooms of the lighthouse 5") != []


def test_orphan_does_not_drop_the_collection_that_the_current_build_writes(
    installation: Installation, corpus: Corpus, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan = begin_build(installation, corpus.name)
    for stage in ("ingest", "chunk", "embed"):
        stages[stage](orphan)
    current = begin_build(installation, corpus.name)
    fill = fill_segment

    def fill_while_an_orphan_starts(*arguments: object, **named: object) -> None:
        fill(*arguments, **named)  # type: ignore[arg-type]
        with installation.catalog.reading() as connection:
            assert len(unfinished_segments(connection, corpus.name)) == 1
        with pytest.raises(BuildTakenOver):
            stages["index"](orphan)

    monkeypatch.setattr(indexing, "fill_segment", fill_while_an_orphan_starts)
    stages["index"](current)
    check_segments(installation, corpus.name)
    (*_, segment) = installation.searcher.snapshot(corpus.name, 2).segments
    assert installation.vectors.count(segment.collection) == segment.count


def damaged_segment(installation: Installation, kb: str) -> Segment:
    """Return the first segment of the live version, whose collection is dropped."""
    segment = installation.searcher.snapshot(kb, 1).segments[0]
    installation.vectors.drop(segment.collection)
    return segment


def test_maintenance_keeps_the_collection_into_which_a_segment_is_rebuilt(
    installation: Installation, corpus: Corpus, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stages
    segment = damaged_segment(installation, corpus.name)
    orphan, current = begin_build(installation, corpus.name), begin_build(installation, corpus.name)
    drops = []

    def fill_while_orphans_are_dropped(*arguments: object, **named: object) -> None:
        fill_segment(*arguments, **named)  # type: ignore[arg-type]
        with pytest.raises(BuildTakenOver):
            maintenance._drop_orphans(orphan, corpus.name, installation.vectors)
        drops.append(maintenance._drop_orphans(current, corpus.name, installation.vectors))

    monkeypatch.setattr(segments, "fill_segment", fill_while_orphans_are_dropped)
    assert restore_segment(current, installation.vectors, segment)
    assert drops == [0]
    (rebuilt,) = installation.searcher.snapshot(corpus.name, 1).segments
    assert installation.vectors.count(rebuilt.collection) == rebuilt.count
    with installation.catalog.reading() as connection:
        assert unfinished_segments(connection, corpus.name) == []


@pytest.mark.parametrize("next_run", ["maintenance", "night"])
def test_collection_of_a_killed_rebuild_is_dropped(
    installation: Installation, corpus: Corpus, stages: Stages, monkeypatch: pytest.MonkeyPatch, next_run: str
) -> None:
    segment = damaged_segment(installation, corpus.name)

    class Killed(BaseException):
        pass

    def fill_and_die(*arguments: object, **named: object) -> None:
        fill_segment(*arguments, **named)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(segments, "fill_segment", fill_and_die)
        with pytest.raises(Killed):
            restore_segment(begin_build(installation, corpus.name), installation.vectors, segment)
    with installation.catalog.reading() as connection:
        ((_, half_written),) = unfinished_segments(connection, corpus.name)
    assert half_written in installation.vectors.collections()
    if next_run == "maintenance":
        stages["maintain"](begin_build(installation, corpus.name))
    else:
        run_night(installation, corpus.name, allow_deletions=True)
    assert half_written not in installation.vectors.collections()
    with installation.catalog.reading() as connection:
        assert unfinished_segments(connection, corpus.name) == []
    check_segments(installation, corpus.name)


def test_rebuild_whose_collection_was_dropped_meanwhile_fails(
    installation: Installation, corpus: Corpus, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stages
    segment, build = damaged_segment(installation, corpus.name), begin_build(installation, corpus.name)

    def fill_while_it_is_dropped(*arguments: object, **named: object) -> None:
        fill_segment(*arguments, **named)  # type: ignore[arg-type]
        with installation.catalog.reading() as connection:
            unfinished = unfinished_segments(connection, corpus.name)
        drop_segments(build, installation.vectors, unfinished)

    with monkeypatch.context() as patch:
        patch.setattr(segments, "fill_segment", fill_while_it_is_dropped)
        with pytest.raises(IndexDamaged, match="was dropped while"):
            restore_segment(build, installation.vectors, segment)
    assert restore_segment(build, installation.vectors, segment)
    check_segments(installation, corpus.name)


def test_chunk_placed_by_another_process_of_the_build_fails_the_index_stage_instead_of_missing(
    installation: Installation, corpus: Corpus, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = begin_build(installation, corpus.name)
    for stage in ("ingest", "chunk", "embed"):
        stages[stage](build)
    fill = fill_segment

    def fill_while_a_second_pod_chunks(*arguments: object, **named: object) -> None:
        fill(*arguments, **named)  # type: ignore[arg-type]
        corpus.write("doc5.md", document(5))
        stages["ingest"](build)
        stages["chunk"](build)

    monkeypatch.setattr(indexing, "fill_segment", fill_while_a_second_pod_chunks)
    with pytest.raises(IndexDamaged, match=r"4 chunks were placed in version 2 .* while its segment was written"):
        stages["index"](build)
    monkeypatch.undo()
    run_night(installation, corpus.name)
    check_segments(installation, corpus.name)


def test_build_that_lost_its_lock_to_nobody_continues(installation: Installation, corpus: Corpus) -> None:
    with installation.catalog.build_lock(corpus.name) as lock:
        assert lock._connection
        lock._connection.close()
        lock.ensure()
        with lock.build.writing():
            pass


def test_build_that_lost_its_lock_to_another_does_not_continue(installation: Installation, corpus: Corpus) -> None:
    with installation.catalog.build_lock(corpus.name) as lock:
        assert lock._connection
        lock._connection.close()
        wait_until(
            lambda: begin_build(installation, corpus.name), 30, "the lock was not released", retry_on=(BuildInProgress,)
        )
        with pytest.raises(BuildTakenOver, match="build 2 ran meanwhile"):
            lock.ensure()


def test_paused_transaction_of_an_orphan_does_not_block_the_next_build(
    installation: Installation, corpus: Corpus, postgres_url: str
) -> None:
    """As if its process were stopped, or its machine cut off, in the middle of a transaction."""
    orphan = begin_build(installation, corpus.name)

    def continue_too_late() -> None:
        with orphan.writing() as connection:
            connection.execute("INSERT INTO knowledge_base (name) VALUES ('orphan')")
            lock = BuildLock(installation.catalog, postgres_url, corpus.name, take_over_s=0.1)
            with lock, lock.build.writing():
                pass
            connection.execute("SELECT 1")

    with pytest.raises(ServiceUnavailable):
        continue_too_late()
    with installation.catalog.reading() as reading:
        assert scalar(reading, "SELECT count(*) FROM knowledge_base") == 0
    with pytest.raises(BuildTakenOver), orphan.writing():
        pass


def test_next_build_waits_for_the_transaction_of_the_previous_one(installation: Installation, corpus: Corpus) -> None:
    orphan = begin_build(installation, corpus.name)
    tokens: list[int] = []
    thread = threading.Thread(target=lambda: tokens.append(begin_build(installation, corpus.name).token))
    with orphan.writing() as connection:
        thread.start()
        wait_until(
            lambda: scalar(connection, "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"),
            30,
            "the next build did not wait",
        )
        connection.execute("INSERT INTO knowledge_base (name) VALUES ('in time')")
    thread.join(30)
    assert tokens == [orphan.token + 1]
    with installation.catalog.reading() as reading:
        assert scalar(reading, "SELECT count(*) FROM knowledge_base WHERE name = 'in time'") == 1


def test_builds_of_different_knowledge_bases_do_not_fence_each_other(
    installation: Installation, corpus: Corpus
) -> None:
    build = begin_build(installation, corpus.name)
    begin_build(installation, "other")
    with build.writing(alone=True), begin_build(installation, "another").writing():
        pass


def test_build_stages_open_write_transactions_only_through_their_build() -> None:
    stages = (Path(mindset.__file__).parent / "pipeline").glob("*.py")
    # A renewal is one transaction for all knowledge bases, which it makes one of each one's build.
    assert [file.name for file in stages if "catalog.writing()" in file.read_text()] == ["renewal.py"]
