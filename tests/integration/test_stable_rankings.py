"""A version's ranking depends on the version, the question, the principals and the filter, and on nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from mindset.application import Installation
from mindset.catalog.filters import parse_filter
from mindset.catalog.migrations import migrate
from mindset.catalog.releases import live_version
from mindset.evaluation.evaluate import evaluate
from mindset.pipeline.maintenance import maintain
from mindset.releases.promotion import roll_back
from mindset.retrieval.search import Searcher
from tests.corpus import SUBJECTS, Corpus, ask, begin_build, document, run_night

QUESTIONS = (
    "How many rooms has the glacier 1?",
    "What does section 2 say about the orchestra?",
    "the vineyard, the lighthouse or the library",
    "Is this page about nothing else at all?",
    "telescope railway bakery 20 rooms",
    "sentence",
)
CALLERS = ((), ("guest",), ("staff", "guest"), ("nobody",))


def rankings(searcher: Searcher, installation: Installation, kb: str, version: int) -> list[list[str]]:
    """Return the chunk ids that each caller gets for each question, with and without a filter."""
    definition = installation.knowledge_base(kb)
    only_some = parse_filter({"field": "uri", "op": "prefix", "value": "doc1"})
    found = []
    for question in QUESTIONS:
        for principals in CALLERS:
            for where in (None, only_some):
                result = searcher.search(
                    definition, question, principals, 20, version, where=where, join=False, deadline_s=20
                )
                assert result.degraded == ()
                found.append([passage.chunk_ids[0] for passage in result.passages])
    return found


def write_document(corpus: Corpus, number: int, text: str) -> None:
    """Write a document that always has the same rights, because a change of rights applies to all versions."""
    acl = ("*", "guest", "staff")[number % 3]
    corpus.write(f"doc{number}.md", f"---\nacl: ['{acl}']\n---\n{text}")


def write_documents(corpus: Corpus, numbers: range, randomly: random.Random) -> None:
    for number in numbers:
        write_document(corpus, number, document(number, randomly.randint(1, 4)))


class Operations:
    """What happens in an installation besides questions."""

    def __init__(self, installation: Installation, postgres_url: str, randomly: random.Random) -> None:
        self.installation, self.postgres_url, self.randomly = installation, postgres_url, randomly
        self.all: list[Callable[[Corpus], object]] = [
            self.build, self.edit, self.redefine, self.evaluate, self.maintain, self.vacuum, self.migrate,
        ]  # fmt: skip

    def build(self, corpus: Corpus) -> None:
        write_documents(corpus, range(self.randomly.randint(5, 60)), self.randomly)
        run_night(self.installation, corpus.name)

    def edit(self, corpus: Corpus) -> None:
        for number in self.randomly.sample(range(60), 5):
            other_text = document(self.randomly.randrange(1_000)) + "glacier " * self.randomly.randrange(200)
            write_document(corpus, number, other_text)
        run_night(self.installation, corpus.name)

    def redefine(self, corpus: Corpus) -> None:
        language, tokens = self.randomly.choice(["german", "simple", "english"]), self.randomly.choice([50, 400])
        weight, candidates = self.randomly.choice([0.1, 2.0]), self.randomly.choice([5, 60])
        corpus.define(
            chunking={"language": language, "tokens": tokens},
            retrieval={"dense_weight": weight, "candidates": candidates},
        )
        run_night(self.installation, corpus.name)

    def evaluate(self, corpus: Corpus) -> None:
        with self.installation.catalog.reading() as connection:
            live = live_version(connection, corpus.name)
        assert live
        kb = self.installation.knowledge_base(corpus.name)
        evaluate(begin_build(self.installation, corpus.name), kb, self.installation.searcher, live)

    def maintain(self, corpus: Corpus) -> None:
        kb = self.installation.knowledge_base(corpus.name)
        maintain(begin_build(self.installation, corpus.name), kb, self.installation.vectors)

    def vacuum(self, _: Corpus) -> None:
        with psycopg.connect(self.postgres_url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")

    def migrate(self, _: Corpus) -> None:
        migrate(self.postgres_url)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_else_changes_the_rankings_of_a_version(
    installation: Installation, corpus: Corpus, postgres_url: str, tmp_path: Path, seed: int
) -> None:
    randomly = random.Random(seed)
    corpus.define(keep_versions=50)
    write_documents(corpus, range(30), randomly)
    run_night(installation, corpus.name)
    expected = rankings(installation.searcher, installation, corpus.name, 1)
    others = [Corpus(tmp_path / f"other{number}", installation.settings.knowledge_bases) for number in range(2)]

    operations = Operations(installation, postgres_url, randomly)
    for other in others:
        operations.build(other)
    for _ in range(12):
        # Also on the knowledge base itself: its other versions come, go, and share segments with this one.
        operation, target = randomly.choice(operations.all), randomly.choice([*others, corpus])
        operation(target)
        searcher = Searcher(installation.catalog, installation.vectors, installation.settings)  # with nothing cached
        try:
            for each in (installation.searcher, searcher):
                assert rankings(each, installation, corpus.name, 1) == expected, (operation.__name__, target.name)
        finally:
            searcher.close()


@pytest.mark.parametrize("readable", [1, 4, 40, 100])
def test_caller_gets_the_same_as_from_an_index_of_the_readable_documents_alone(
    installation: Installation, corpus: Corpus, tmp_path: Path, readable: int
) -> None:
    randomly = random.Random(readable)
    alone = Corpus(tmp_path / "alone", installation.settings.knowledge_bases)
    corpus.define(acl=["staff"])
    numbers = randomly.sample(range(100), 100)
    for number in numbers:
        text = document(number, 4) + " ".join(randomly.choices(SUBJECTS, k=randomly.randrange(40)))
        if number in numbers[:readable]:
            corpus.write(f"doc{number}.md", f"---\nacl: [guest]\n---\n{text}")
            alone.write(f"doc{number}.md", text)
        else:
            corpus.write(f"doc{number}.md", text)
    run_night(installation, corpus.name)
    run_night(installation, alone.name)
    for question in (*QUESTIONS, *(f"What about {subject} {number}?" for number, subject in enumerate(SUBJECTS))):
        for limit in (5, 30):
            results = [
                installation.searcher.search(
                    installation.knowledge_base(kb), question, principals, limit, join=False, deadline_s=20
                )
                for kb, principals in ((corpus.name, ["guest"]), (alone.name, []))
            ]
            assert [result.degraded for result in results] == [(), ()]
            found, expected = ([passage.chunk_ids for passage in result.passages] for result in results)
            assert found == expected, question


def test_taken_down_documents_do_not_change_how_the_others_are_ranked(
    installation: Installation, corpus: Corpus, tmp_path: Path
) -> None:
    alone = Corpus(tmp_path / "alone", installation.settings.knowledge_bases)
    corpus.fill(40)
    for number in range(0, 40, 2):
        alone.write(f"doc{number}.md", document(number))
    run_night(installation, corpus.name)
    run_night(installation, alone.name)
    with installation.catalog.writing() as connection:
        connection.execute(
            "UPDATE document SET taken_down_at = now(), taken_down_reason = 'test' WHERE kb = %s AND uri ~ '[13579][.]md$'",
            [corpus.name],
        )
    assert rankings(installation.searcher, installation, corpus.name, 1) == rankings(
        installation.searcher, installation, alone.name, 1
    )


def test_edited_ranking_options_reach_callers_with_the_release_of_a_version(
    installation: Installation, corpus: Corpus
) -> None:
    corpus.write("runner.md", "# Runner\n\nThe runners were running a run.\n")
    corpus.write("walk.md", "# Walker\n\nA walker walks.\n")
    run_night(installation, corpus.name)
    question = "runs"
    assert ask(installation, corpus.name, question) == ["runner.md", "walk.md"]
    before = installation.searcher.snapshot(corpus.name)
    corpus.define(chunking={"language": "simple"}, retrieval={"dense_weight": 0})
    assert installation.searcher.snapshot(corpus.name) == before
    assert ask(installation, corpus.name, question) == ["runner.md", "walk.md"]

    night = run_night(installation, corpus.name)
    assert night.decision
    assert (night.decision.version, night.embedded, night.indexed and night.indexed.added) == (2, 0, 0)
    assert ask(installation, corpus.name, question) == []  # neither `runs` nor similar texts are in the documents
    assert not run_night(installation, corpus.name).indexed, "nothing has changed since"

    roll_back(installation.catalog, corpus.name, "test", "worse")
    assert installation.searcher.snapshot(corpus.name).ranking == before.ranking
    assert ask(installation, corpus.name, question) == ["runner.md", "walk.md"]


def test_candidate_is_evaluated_with_its_own_options_and_the_live_version_with_its_own(
    installation: Installation, corpus: Corpus
) -> None:
    corpus.fill(6)
    quote = "Sentence 0 of section 0 says that the glacier 1 has 100 rooms."
    corpus.golden({"id": "one", "question": "glaciers", "evidence": [{"uri": "doc1.md", "quote": quote}]})
    run_night(installation, corpus.name)
    corpus.define(chunking={"language": "simple"}, retrieval={"dense_weight": 0})
    night = run_night(installation, corpus.name)
    assert night.evaluation
    record = night.evaluation.record
    assert (record.baseline_metrics["all"]["recall@5"], record.metrics["all"]["recall@5"]) == (1.0, 0.0)
    assert night.decision
    assert not night.decision.released
