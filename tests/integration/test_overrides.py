"""Values of retrieval options can be tried without being released."""

from __future__ import annotations

from mindset.application import Installation
from mindset.catalog.releases import version_snapshot
from mindset.config.overrides import with_overrides
from mindset.config.ranking import ranking_options
from mindset.evaluation.evaluate import measure
from tests.corpus import Corpus, run_night

QUOTE = "Sentence 0 of section 0 says that the glacier 1 has 100 rooms."


def test_options_are_tried_and_nothing_is_stored(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(6)
    corpus.golden(
        {"id": "one", "question": "How many rooms has the glacier 1?", "evidence": [{"uri": "doc1.md", "quote": QUOTE}]}
    )
    run_night(installation, corpus.name)
    kb = with_overrides(
        installation.knowledge_base(corpus.name), ["retrieval.lexical_weight=0", "retrieval.candidates=1"]
    )
    with installation.catalog.reading() as connection:
        before = version_snapshot(connection, corpus.name, 1)

    found = installation.searcher.search(kb, "orchestra 2", (), 5, ranking=ranking_options(kb))
    assert "lexical" not in found.milliseconds
    evaluation = measure(installation.catalog, kb, installation.searcher, 1, ranking_options(kb))
    assert evaluation.record.baseline == 1
    assert set(evaluation.record.metrics["all"]) == set(evaluation.record.baseline_metrics["all"])

    assert "lexical" in installation.searcher.search(kb, "orchestra 2", (), 5).milliseconds
    with installation.catalog.reading() as connection:
        assert version_snapshot(connection, corpus.name, 1) == before
