"""Tests of retrieval metrics against values computed by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.evaluation.evidence import Span
from mindset.evaluation.metrics import DEPTH, METRICS, mean_by_slice, question_metrics, rank_of_evidence
from mindset.retrieval.passage import Passage, Place


def at(rank: int, start: int, end: int, uri: str = "a.md") -> Passage:
    return Passage(rank, (str(rank),), "", (Place(uri, "", "", (), 0, start, end),))


def discounted(*ranks: int) -> float:
    return sum(1 / math.log2(rank + 1) for rank in ranks)


@pytest.mark.parametrize(
    ("count", "ranks", "recall", "mrr", "ndcg"),
    [
        pytest.param(1, {0: 1}, 1, 1, 1, id="best"),
        pytest.param(1, {0: 3}, 1, 1 / 3, 1 / 2, id="third"),
        pytest.param(1, {0: 5}, 1, 1 / 5, discounted(5), id="last rank of recall"),
        pytest.param(1, {0: 6}, 0, 1 / 6, discounted(6), id="after recall"),
        pytest.param(1, {0: 10}, 0, 1 / 10, discounted(10), id="last"),
        pytest.param(1, {}, 0, 0, 0, id="not found"),
        pytest.param(2, {0: 1, 1: 3}, 1, 1, 1.5 / discounted(1, 2), id="both"),
        pytest.param(2, {1: 2}, 1 / 2, 1 / 2, discounted(2) / discounted(1, 2), id="one of two"),
        pytest.param(2, {0: 1, 1: 1}, 1, 1, 1, id="both in one passage"),
        pytest.param(3, {0: 7, 2: 4}, 1 / 3, 1 / 4, discounted(4, 7) / discounted(1, 2, 3), id="two of three"),
    ],
)
def test_metrics_equal_values_computed_by_hand(
    count: int, ranks: Mapping[int, int], recall: float, mrr: float, ndcg: float
) -> None:
    metrics = question_metrics({"q": (count, ranks)})["q"]
    assert metrics == pytest.approx({"recall@5": recall, "mrr": mrr, "ndcg@10": ndcg})


_IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5)
_RANKS = st.dictionaries(st.integers(0, 4), st.integers(1, DEPTH), max_size=5)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(_IDS, _RANKS.map(lambda ranks: (5, ranks)), min_size=1, max_size=5))
def test_every_metric_of_every_question_is_between_0_and_1(
    evidence: dict[str, tuple[int, Mapping[int, int]]],
) -> None:
    by_question = question_metrics(evidence)
    assert by_question.keys() == evidence.keys()
    for metrics in by_question.values():
        assert tuple(metrics) == METRICS
        assert all(0 <= value <= 1 for value in metrics.values())


@settings(max_examples=100, deadline=None)
@given(st.integers(2, DEPTH))
def test_better_rank_never_lowers_a_metric(rank: int) -> None:
    metrics = question_metrics({"low": (1, {0: rank}), "high": (1, {0: rank - 1})})
    assert metrics["high"]["mrr"] > metrics["low"]["mrr"]
    assert metrics["high"]["ndcg@10"] > metrics["low"]["ndcg@10"]
    assert metrics["high"]["recall@5"] >= metrics["low"]["recall@5"]


def test_rank_of_evidence_is_that_of_the_first_supporting_passage() -> None:
    passages = [at(1, 0, 100), at(2, 100, 200), at(3, 100, 200)]
    spans = [Span("a.md", 110, 120), Span("a.md", 0, 10), Span("b.md", 0, 10), None]
    assert rank_of_evidence(passages, spans) == {0: 2, 1: 1}


def test_means_cover_all_questions_and_every_slice() -> None:
    good, bad = dict.fromkeys(METRICS, 1.0), dict.fromkeys(METRICS, 0.0)
    assert mean_by_slice([("lookup", good), ("howto", bad), ("lookup", good), ("lookup", bad)]) == {
        "all": dict.fromkeys(METRICS, 0.5),
        "lookup": dict.fromkeys(METRICS, 2 / 3),
        "howto": dict.fromkeys(METRICS, 0.0),
    }
    assert mean_by_slice([]) == {}
