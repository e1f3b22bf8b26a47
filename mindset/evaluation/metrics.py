"""Metrics of a ranking against evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mindset.evaluation.evidence import Span, supports
from mindset.retrieval.passage import Passage

DEPTH = 10
"""Passages looked at per question."""

METRICS = ("recall@5", "mrr", "ndcg@10")


def rank_of_evidence(passages: Sequence[Passage], spans: Sequence[Span | None]) -> dict[int, int]:
    """{number of an evidence: rank of the first passage that supports it}; evidence that was not found is left out."""
    ranks: dict[int, int] = {}
    for number, span in enumerate(spans):
        found = next((p.rank for p in passages if span and supports(p, span)), None)
        if found is not None:
            ranks[number] = found
    return ranks


def question_metrics(evidence: Mapping[str, tuple[int, Mapping[int, int]]]) -> dict[str, dict[str, float]]:
    """{question: {metric: value}} from {question: (number of evidence, its ranks)}.

    Each evidence is one relevant item of its question; a rank that supports none is an irrelevant one. Recall is counted
    here: a ranking has no place for two items at one rank, and one passage may support several evidences."""
    import ir_measures  # 1 s with pandas: only where versions are judged

    measures = {"mrr": ir_measures.RR, "ndcg@10": ir_measures.nDCG @ 10}
    qrels = {question: {f"e{n}": 1 for n in range(count)} for question, (count, _) in evidence.items()}
    run = {question: _ranking(ranks) for question, (_, ranks) in evidence.items()}
    found: dict[str, dict[str, float]] = {
        question: {**dict.fromkeys(METRICS, 0.0), "recall@5": sum(rank <= 5 for rank in ranks.values()) / count}
        for question, (count, ranks) in evidence.items()
    }
    names = {str(measure): name for name, measure in measures.items()}
    for each in ir_measures.iter_calc(list(measures.values()), qrels, run):
        found[each.query_id][names[str(each.measure)]] = float(each.value)
    return found


def mean_by_slice(questions: Iterable[tuple[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """{slice: {metric: mean}} from (slice, metrics) pairs, with the slice `all` first."""
    slices: dict[str, list[Mapping[str, float]]] = {"all": []}
    for name, metrics in questions:
        slices["all"].append(metrics)
        slices.setdefault(name, []).append(metrics)
    return {
        name: {metric: sum(each[metric] for each in members) / len(members) for metric in METRICS}
        for name, members in slices.items()
        if members
    }


def _ranking(ranks: Mapping[int, int]) -> dict[str, float]:
    run = {f"p{rank}": float(-rank) for rank in range(1, DEPTH + 1) if rank not in ranks.values()}
    for number, rank in ranks.items():
        # Two evidences in one passage share its rank; the fraction keeps their order stable.
        run[f"e{number}"] = -rank + 0.001 * (1 - number / 1000)
    return run
