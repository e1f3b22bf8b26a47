"""Retrieval metrics of a ranking, given the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mindset.evaluation.evidence import Span, supports
from mindset.retrieval.passage import Passage

DEPTH = 10
"""Number of passages considered per question."""

METRICS = ("recall@5", "mrr", "ndcg@10")


def rank_of_evidence(passages: Sequence[Passage], spans: Sequence[Span | None]) -> dict[int, int]:
    """Return {index of an evidence: rank of the first passage that supports it}, without evidence that was not found."""
    ranks: dict[int, int] = {}
    for number, span in enumerate(spans):
        rank = next((passage.rank for passage in passages if span and supports(passage, span)), None)
        if rank is not None:
            ranks[number] = rank
    return ranks


def question_metrics(evidence: Mapping[str, tuple[int, Mapping[int, int]]]) -> dict[str, dict[str, float]]:
    """Return {question: {metric: value}} for {question: (number of evidences, their ranks)}.

    Each evidence is a relevant item of its question; a rank that supports none is an irrelevant item. Recall is computed
    here, since ir_measures has no two items at one rank, but one passage may support several evidences."""
    import ir_measures  # takes 1 s to import, with pandas

    measures = {"mrr": ir_measures.RR, "ndcg@10": ir_measures.nDCG @ 10}
    qrels = {question: {f"e{n}": 1 for n in range(count)} for question, (count, _) in evidence.items()}
    run = {question: _ranking(ranks) for question, (_, ranks) in evidence.items()}
    metrics: dict[str, dict[str, float]] = {
        question: {**dict.fromkeys(METRICS, 0.0), "recall@5": sum(rank <= 5 for rank in ranks.values()) / count}
        for question, (count, ranks) in evidence.items()
    }
    names = {str(measure): name for name, measure in measures.items()}
    for result in ir_measures.iter_calc(list(measures.values()), qrels, run):
        metrics[result.query_id][names[str(result.measure)]] = float(result.value)
    return metrics


def mean_by_slice(questions: Iterable[tuple[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Return {slice: {metric: mean}} of (slice, metrics) pairs, with the slice `all` first."""
    slices: dict[str, list[Mapping[str, float]]] = {"all": []}
    for name, metrics in questions:
        slices["all"].append(metrics)
        slices.setdefault(name, []).append(metrics)
    return {
        name: {metric: sum(member[metric] for member in members) / len(members) for metric in METRICS}
        for name, members in slices.items()
        if members
    }


def _ranking(ranks: Mapping[int, int]) -> dict[str, float]:
    run = {f"p{rank}": float(-rank) for rank in range(1, DEPTH + 1) if rank not in ranks.values()}
    for number, rank in ranks.items():
        # Evidences in the same passage share its rank; the fraction makes their order deterministic.
        run[f"e{number}"] = -rank + 0.001 * (1 - number / 1000)
    return run
