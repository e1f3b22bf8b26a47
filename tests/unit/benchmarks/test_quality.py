"""Tests of the measures of benchmarks/quality."""

from __future__ import annotations

import pytest

from benchmarks.quality.measures import Found, interval, measure
from mindset.evaluation.evidence import Span


def found(*spans: tuple[str, int, int]) -> list[Found]:
    return [Found((Span(*span),)) for span in spans]


def test_ranks() -> None:
    evidence = [Span("a", 0, 100), Span("b", 0, 100)]
    measures = measure(found(("c", 0, 50), ("a", 50, 500), ("b", 90, 500)), evidence)
    assert (measures["recall@1"], measures["recall@5"], measures["MRR"]) == (0, 0.5, 0.5)


def test_half_of_the_quotation_is_enough_at_any_place() -> None:
    copies = [Found((Span("x", 0, 9), Span("a", 0, 50)))]
    assert measure(copies, [Span("a", 0, 100)])["recall@1"] == 1
    assert measure(found(("a", 51, 500)), [Span("a", 0, 100)])["recall@1"] == 0


def test_characters() -> None:
    measures = measure(found(("a", 0, 60), ("a", 40, 100), ("b", 0, 40)), [Span("a", 20, 80)])
    assert measures["char recall@5"] == 1
    assert measures["char precision@5"] == pytest.approx(60 / 160)
    assert measures["char IoU@5"] == pytest.approx(60 / 160)


def test_one_passage_may_support_all_evidence() -> None:
    assert measure(found(("a", 0, 500)), [Span("a", 0, 100), Span("a", 200, 300)])["nDCG@10"] == 1


def test_documents_count_as_a_whole() -> None:
    measures = measure(found(("a", 500, 600)), [Span("a", 0, 1)], by_document=True)
    assert measures == {"recall@1": 1, "recall@5": 1, "recall@20": 1, "MRR": 1, "nDCG@10": 1}


def test_interval_contains_the_mean_and_0_if_it_may_be_chance() -> None:
    low, high = interval([0.0] * 90 + [1.0] * 10)
    assert 0 < low < 0.1 < high < 0.2
    low, high = interval([1.0, -1.0, 0.0, 1.0])
    assert low < 0 < high
