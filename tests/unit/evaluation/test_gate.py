"""Tests of the release gate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindset.config.evaluation_options import Gate
from mindset.evaluation.evaluate import gate
from mindset.evaluation.metrics import METRICS, mean_by_slice


def means(**slices: float) -> dict[str, dict[str, float]]:
    return {name: dict.fromkeys(METRICS, value) for name, value in slices.items()}


def hits(count: int, total: int) -> dict[str, dict[str, float]]:
    return mean_by_slice([("questions", dict.fromkeys(METRICS, float(index < count))) for index in range(total)])


def test_first_version_is_rejected_only_by_a_minimum() -> None:
    assert gate(Gate(), means(all=0.01), {}) == []
    assert gate(Gate(minimum={"recall@5": 0.6}), means(all=0.59), {}) == [
        "recall@5 is 0.590, less than the 0.600 required"
    ]
    assert gate(Gate(minimum={"recall@5": 0.6}), means(all=0.6), {}) == []


def test_version_that_finds_no_evidence_is_always_rejected() -> None:
    for live in ({}, means(all=0.0)):
        assert [reason.split(":")[0] for reason in gate(Gate(), means(all=0.0), live)] == [
            "no evidence of the golden set was found"
        ]


def test_metric_that_fell_by_more_than_its_margin_is_reported_with_both_values() -> None:
    rules = Gate(margins={"recall@5": 0.02, "mrr": 0.1})
    assert gate(rules, means(all=0.75), means(all=0.8)) == [
        "recall@5 fell from 0.800 to 0.750, by more than the 0.020 allowed"
    ]


def test_every_broken_rule_is_reported() -> None:
    rules = Gate(margins={"recall@5": 0.02, "mrr": 0.02}, minimum={"ndcg@10": 0.6})
    assert [reason.split()[0] for reason in gate(rules, means(all=0.5), means(all=0.9))] == [
        "recall@5",
        "mrr",
        "ndcg@10",
    ]


def test_metric_without_margin_may_fall() -> None:
    assert gate(Gate(margins={}), means(all=0.01), means(all=1.0)) == []


@given(st.floats(0.001, 1), st.floats(0, 1))
def test_version_that_is_not_worse_passes(before: float, gain: float) -> None:
    rules = Gate(margins=dict.fromkeys(("recall@5", "mrr", "ndcg@10"), 0.0))
    assert gate(rules, means(all=min(1.0, before + gain)), means(all=before)) == []


@pytest.mark.parametrize(("questions", "margin"), [(50, 0.02), (100, 0.03), (100, 0.1)])
def test_drop_of_exactly_the_margin_is_allowed_but_one_question_more_is_not(questions: int, margin: float) -> None:
    rules = Gate(margins={"recall@5": margin})
    drop = round(questions * margin)
    for count in range(drop + 1, questions + 1):
        assert gate(rules, hits(count - drop, questions), hits(count, questions)) == []
        assert gate(rules, hits(count - drop - 1, questions), hits(count, questions)) != []


def test_exactly_the_minimum_passes_despite_rounding() -> None:
    measured = mean_by_slice([("questions", dict.fromkeys(METRICS, value)) for value in (0.4, 1.0, 0.7, 0.3)])
    assert gate(Gate(minimum={"recall@5": 0.6}), measured, {}) == []


def test_worse_slice_does_not_reject_a_version() -> None:
    assert gate(Gate(), means(all=0.8, howto=0.1), means(all=0.8, howto=0.9)) == []
