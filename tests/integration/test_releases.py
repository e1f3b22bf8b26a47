"""Promotion and rollback: exactly one evaluated version is live at any time."""

from __future__ import annotations

import threading

import pytest

from mindset.application import Installation
from mindset.catalog.evaluations import newest_evaluation
from mindset.catalog.releases import live_version, release_version
from mindset.catalog.transactions import rows
from mindset.catalog.versions import get_version, retire_versions
from mindset.errors import LiveReleaseChanged, MindsetError, UnknownVersion
from mindset.evaluation.evaluate import evaluate
from mindset.releases.promotion import deploy, promote, roll_back
from tests.corpus import Corpus, begin_build, document, run_night


@pytest.fixture
def three_versions(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.fill(2)
    run_night(installation, corpus.name)
    for number in (5, 6):
        corpus.write(f"doc{number}.md", document(number))
        run_night(installation, corpus.name)
    return corpus


def live(installation: Installation, kb: str) -> int | None:
    with installation.catalog.reading() as connection:
        return live_version(connection, kb)


def test_version_evaluated_against_an_outdated_baseline_is_not_released(
    installation: Installation, three_versions: Corpus
) -> None:
    kb = installation.knowledge_base(three_versions.name)
    promote(installation.catalog, kb.name, 1, "test", "back")
    build = begin_build(installation, kb.name)
    evaluation = evaluate(build, kb, installation.searcher, 3).record
    assert evaluation.baseline == 1
    promote(installation.catalog, kb.name, 2, "test", "promoted meanwhile")
    with pytest.raises(LiveReleaseChanged, match="version 2 is live now"):
        deploy(build, kb.name, evaluation.id, "test")
    assert live(installation, kb.name) == 2


def test_repeated_rollbacks_return_to_earlier_releases(installation: Installation, three_versions: Corpus) -> None:
    name = three_versions.name
    assert roll_back(installation.catalog, name, "test", "bad").version == 2
    assert roll_back(installation.catalog, name, "test", "worse").version == 1
    with pytest.raises(UnknownVersion, match="no earlier release"):
        roll_back(installation.catalog, name, "test", "nothing left")
    assert live(installation, name) == 1


def test_missing_version_cannot_be_promoted(installation: Installation, three_versions: Corpus) -> None:
    name = three_versions.name
    with pytest.raises(UnknownVersion, match="does not exist"):
        promote(installation.catalog, name, 9, "test", "why not")
    with pytest.raises(UnknownVersion, match="does not exist"):
        promote(installation.catalog, "missing", 1, "test", "why not")


def test_exactly_one_version_is_live_during_concurrent_promotions(
    installation: Installation, three_versions: Corpus
) -> None:
    name = three_versions.name
    live_versions: set[int | None] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            live_versions.add(live(installation, name))

    def change(versions: list[int]) -> None:
        for version in versions * 15:
            try:
                promote(installation.catalog, name, version, "test", "again")
            except MindsetError as error:
                raise AssertionError from error

    watcher = threading.Thread(target=watch)
    changers = [threading.Thread(target=change, args=(order,)) for order in ([1, 2, 3], [3, 1, 2])]
    for thread in (watcher, *changers):
        thread.start()
    for thread in changers:
        thread.join()
    stop.set()
    watcher.join()
    assert live_versions <= {1, 2, 3}
    with installation.catalog.reading() as connection:
        overlaps = rows(
            connection,
            """SELECT a.id, b.id FROM release a JOIN release b ON a.kb = b.kb AND a.channel = b.channel AND a.id < b.id
               WHERE a.kb = %(kb)s AND a.replaced_at > b.released_at""",
            kb=name,
        )
        chain = rows(connection, "SELECT version, replaces FROM release WHERE kb = %(kb)s ORDER BY id", kb=name)
    assert overlaps == []
    assert [version for version, _ in chain[:-1]] == [replaces for _, replaces in chain[1:]]


def test_candidate_with_worse_metrics_is_rejected(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(6)
    corpus.golden(
        *(
            {
                "id": f"q{number}",
                "question": f"What does section 0 say of document {number}?",
                "evidence": [{"uri": f"doc{number}.md", "quote": f"has {number * 100} rooms"}],
                "slice": "lookup",
            }
            for number in range(6)
        ),
        {"id": "none", "question": "Who is the mayor?", "slice": "unanswerable"},
    )
    first = run_night(installation, corpus.name)
    assert first.evaluation
    assert first.evaluation.record.metrics["all"]["recall@5"] > 0.9
    for number in range(4):
        corpus.write(f"doc{number}.md", f"# Something else {number}\n\nNothing of interest, {number} times.")
    second = run_night(installation, corpus.name)
    assert second.decision
    assert not second.decision.released
    assert "recall@5 fell from" in second.decision.reasons[0]
    assert second.evaluation
    assert len(second.evaluation.stale_evidence) == 4
    assert live(installation, corpus.name) == 1
    with installation.catalog.reading() as connection:
        rejected = get_version(connection, corpus.name, 2)
    assert rejected
    assert rejected.state == "rejected"
    assert run_night(installation, corpus.name).decision is None


def test_rolled_back_version_is_not_released_again_by_its_old_evaluation(
    installation: Installation, three_versions: Corpus
) -> None:
    kb = three_versions.name
    with installation.catalog.reading() as connection:
        evaluation = newest_evaluation(connection, kb, 3)
    assert evaluation and evaluation.passed
    roll_back(installation.catalog, kb, "test", "bad")
    with pytest.raises(UnknownVersion, match=rf"rejected or rolled back.*mindset promote {kb} 3"):
        deploy(begin_build(installation, kb), kb, evaluation.id, "test")
    assert live(installation, kb) == 2


def test_version_is_not_rejected_by_a_comparison_with_an_outdated_baseline(
    installation: Installation, three_versions: Corpus
) -> None:
    name = three_versions.name
    three_versions.golden(
        {"id": "q", "question": "rooms of the railway 5", "evidence": [{"uri": "x.md", "quote": "nowhere"}]}
    )
    three_versions.define(
        evaluation={"golden_set": f"{name}.golden.jsonl", "gate": {"minimum": {"recall@5": 1.0}, "margins": {}}}
    )
    promote(installation.catalog, name, 2, "test", "back")
    build = begin_build(installation, name)
    evaluation = evaluate(build, installation.knowledge_base(name), installation.searcher, 3).record
    assert not evaluation.passed
    promote(installation.catalog, name, 1, "test", "further back")
    with pytest.raises(LiveReleaseChanged):
        deploy(build, name, evaluation.id, "test")
    with installation.catalog.reading() as connection:
        version = get_version(connection, name, 3)
    assert version and version.state == "ready"


def test_rejected_versions_do_not_count_as_retained_versions(
    installation: Installation, three_versions: Corpus
) -> None:
    name = three_versions.name
    with begin_build(installation, name).writing() as connection:
        connection.execute("UPDATE version SET state = 'rejected' WHERE kb = %s AND number = 3", [name])
        release_version(connection, name, "live", 2, "test", "back")
        assert retire_versions(connection, name, keep=2) == []
        assert retire_versions(connection, name, keep=1) == [1]
